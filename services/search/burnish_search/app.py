"""Wires the search service: algorithms from plug-ins, studies in memory, one servicer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import cast

from grpc import aio

from burnish.api.search import v1 as search_v1
from burnish_runtime import plugins, server
from burnish_runtime.settings import ServiceSettings
from burnish_search.algorithms.base import Algorithm
from burnish_search.servicer import SearchServicer
from burnish_search.studies import Studies

_GROUP = "burnish.search_algorithms"


class SearchApp:
    """The search service. It stores nothing: the controller's ledger is the truth.

    Attributes:
        name: Name of the service.
        http_address: It has no data plane.
    """

    name = "search"
    http_address: str | None = None

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    async def start(self, server: aio.Server) -> Sequence[str]:
        """Loads the algorithms and adds the servicer."""
        loaded = plugins.load(_GROUP, accepts=_is_algorithm)
        algorithms = {name: cast(type[Algorithm], plugin) for name, plugin in loaded.items()}
        studies: Studies[search_v1.Study] = Studies(algorithms)
        search_v1.add_SearchServiceServicer_to_server(SearchServicer(studies), server)
        return [search_v1.DESCRIPTOR.services_by_name["SearchService"].full_name]

    async def drain(self) -> None:
        """Has nothing to flush."""

    async def stop(self) -> None:
        """Has nothing to close."""


def main() -> int:
    """Runs the service until it is told to stop."""
    return server.main(SearchApp, service="search")


def _is_algorithm(plugin: object) -> bool:
    return inspect.isclass(plugin) and all(
        hasattr(plugin, member) for member in ("description", "suggest", "rank")
    )

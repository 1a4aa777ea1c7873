"""Wires the verifier together and runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from grpc import aio

from burnish.api.verifier import v1 as verifier_v1
from burnish_runtime import server
from burnish_runtime.settings import ServiceSettings
from burnish_verifier.checks.registry import with_plugins
from burnish_verifier.engine import Verifier
from burnish_verifier.guarded import GuardedRunner
from burnish_verifier.servicer import VerifierServicer
from burnish_verifier.store import GraphStore

_FILE = "verifier.sqlite3"


class VerifierApp:
    """The verifier as a service.

    Attributes:
        name: Name of the service.
        http_address: It has no data plane.
    """

    http_address: str | None = None

    def __init__(self, settings: ServiceSettings) -> None:
        self.name = "verifier"
        self._settings = settings
        self._guarded = GuardedRunner()
        self._store: GraphStore | None = None

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Opens the store and adds the servicer."""
        kinds = with_plugins()
        self._store = await asyncio.to_thread(GraphStore, self._settings.state_dir / _FILE)
        verifier = Verifier(store=self._store, kinds=kinds, guarded=self._guarded)
        verifier_v1.add_VerifierServiceServicer_to_server(VerifierServicer(verifier), grpc_server)
        return ["burnish.api.verifier.v1.VerifierService"]

    async def drain(self) -> None:
        """Has nothing to flush: graphs are durable when they are answered."""

    async def stop(self) -> None:
        """Closes the store and ends the guarded process."""
        await self._guarded.close()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)


def main() -> int:
    """Runs the service until it is told to stop; returns the exit code."""
    return server.main(VerifierApp, service="verifier")

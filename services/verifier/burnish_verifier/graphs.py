"""Versions of graphs: registering them, finding them, and keeping them ready to be evaluated."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from burnish.errors import AlreadyExists, InvalidArgument, NotFound
from burnish.resources import VerifierGraphName, VerifierGraphVersionName
from burnish_verifier.graph import Graph, from_json, graph_id, to_json
from burnish_verifier.plan import Plan
from burnish_verifier.store import GraphStore, StoredGraph
from burnish_verifier.validate import Abilities, validate

_DEFAULT_PAGE = 50
_MAX_PAGE = 1000
_MAX_PLANS = 128


class GraphExists(AlreadyExists):
    """The name is taken by another graph. Do not retry."""

    default_reason = "VERIFIER_GRAPH_EXISTS"


class GraphNotFound(NotFound):
    """No graph has the name."""

    default_reason = "VERIFIER_GRAPH_NOT_FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a graph, as it was registered.

    Attributes:
        name: Resource name of the version; empty for a graph that was only checked.
        version: From 1; 0 for a graph that was only checked.
        create_time: Seconds since the epoch.
        shipped: Whether it came with Burnish.
    """

    name: str
    graph: Graph
    version: int = 0
    create_time: float = 0.0
    shipped: bool = False


class Graphs:
    """The graphs that a verifier knows."""

    def __init__(self, *, store: GraphStore, able: Abilities, clock: Callable[[], float]) -> None:
        """Takes the store.

        Args:
            store: Keeps versions.
            able: What may be in a graph.
            clock: Seconds since the epoch.
        """
        self._store = store
        self._able = able
        self._clock = clock
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    def check(self, graph: Graph) -> Version:
        """Checks a graph, and stores nothing.

        Raises:
            GraphInvalid: The graph has faults.
        """
        validate(graph, self._able)
        return Version(name="", graph=graph)

    async def create(self, graph: Graph, *, name: str) -> Version:
        """Registers a graph as the next version of its name, or finds it registered already.

        Args:
            graph: The graph.
            name: Resource name of a graph or of a version; empty takes a hash for its id.

        Raises:
            GraphInvalid: The graph has faults.
            GraphExists: The version is another graph, or the name is one of a shipped graph.
            GraphNotFound: There is no such version.
        """
        validate(graph, self._able)
        key, version = _parsed(name) if name else (graph_id(graph), None)
        content = graph_id(graph)
        if version is not None:
            stored = await self._stored(name)
        else:
            stored = await asyncio.to_thread(self._store.add, self._new(key, graph, shipped=False))
        if stored.content_hash != content:
            why = "comes with Burnish" if stored.shipped else "is another graph"
            raise GraphExists(
                f"`{_name(stored)}` {why}, and a version never changes; choose another name",
                metadata={"name": _name(stored)},
            )
        return _version(stored)

    async def ship(self, graphs: Mapping[str, Graph]) -> None:
        """Registers the graphs that come with Burnish, by id; one that changed gets a version."""
        for key, graph in graphs.items():
            validate(graph, self._able)
            await asyncio.to_thread(self._store.add, self._new(key, graph, shipped=True))

    async def get(self, name: str) -> Version:
        """Returns a version of a graph; the latest when the name says none.

        Raises:
            GraphNotFound: There is none.
        """
        return _version(await self._stored(name))

    async def load(self, name: str) -> Plan:
        """Returns a version of a graph, ready to be evaluated.

        Raises:
            GraphNotFound: There is none.
            GraphInvalid: It was valid once, and needs what this verifier has no more.
        """
        if name in self._plans:
            self._plans.move_to_end(name)
            return self._plans[name]
        version = await self.get(name)
        if version.name not in self._plans:
            validate(version.graph, self._able)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.popitem(last=False)
            self._plans[version.name] = Plan.of(version.name, version.graph, self._able.kinds)
        return self._plans[version.name]

    async def page(self, *, size: int, token: str, graph: str) -> tuple[list[Version], str]:
        """Returns a page of graphs in order of name, and the token of the next page.

        Args:
            size: Most graphs; 0 means 50, and at most 1,000 are returned.
            token: From the previous page; empty for the first one.
            graph: Resource name of the graph whose versions are listed, oldest first; empty lists
                the latest version of each.

        Raises:
            InvalidArgument: The size is negative, or the token is none.
        """
        if size < 0:
            raise InvalidArgument(
                f"`page_size` is {size}; give a number from 0",
                reason="PAGE_SIZE_INVALID",
                metadata={"page_size": str(size)},
            )
        count = min(size or _DEFAULT_PAGE, _MAX_PAGE)
        if graph:
            rows = await self._versions(graph, token=token, count=count + 1)
        else:
            rows = await asyncio.to_thread(self._store.page, after=token, count=count + 1)
        more = len(rows) > count
        last = rows[count - 1] if more else None
        following = "" if last is None else (str(last.version) if graph else last.graph_id)
        return [_version(row) for row in rows[:count]], following

    async def _versions(self, graph: str, *, token: str, count: int) -> list[StoredGraph]:
        if token and not token.isdecimal():
            raise InvalidArgument(
                "`page_token` is none that was answered; leave it empty for the first page",
                reason="PAGE_TOKEN_INVALID",
            )
        key = VerifierGraphName.parse(graph).id
        return await asyncio.to_thread(
            self._store.versions, key, after=int(token or "0"), count=count
        )

    async def _stored(self, name: str) -> StoredGraph:
        key, version = _parsed(name)
        found = await asyncio.to_thread(self._store.get, key, version)
        if found is None:
            raise GraphNotFound(f"there is no `{name}`; create it first", metadata={"name": name})
        return found

    def _new(self, key: str, graph: Graph, *, shipped: bool) -> StoredGraph:
        return StoredGraph(
            graph_id=key,
            version=0,
            content_hash=graph_id(graph),
            body=to_json(graph),
            shipped=shipped,
            create_time=self._clock(),
        )


def _parsed(name: str) -> tuple[str, int | None]:
    if "/versions/" in name:
        version = VerifierGraphVersionName.parse(name)
        return version.graph, version.version
    return VerifierGraphName.parse(name).id, None


def _name(stored: StoredGraph) -> str:
    return str(VerifierGraphVersionName(stored.graph_id, stored.version))


def _version(stored: StoredGraph) -> Version:
    return Version(
        name=_name(stored),
        graph=from_json(stored.body),
        version=stored.version,
        create_time=stored.create_time,
        shipped=stored.shipped,
    )

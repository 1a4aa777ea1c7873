"""The verifier: keeps graphs, and scores rollouts with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from burnish.errors import AlreadyExists, InvalidArgument, NotFound
from burnish.resources import VerifierGraphName
from burnish_verifier.checks.base import CheckKind
from burnish_verifier.evaluate import Compiled, Evidence, Judgement
from burnish_verifier.fuse import Failed, Parts, Weights, fuse
from burnish_verifier.graph import Graph, from_json, graph_id, to_json, validate
from burnish_verifier.guarded import GuardedRunner
from burnish_verifier.store import GraphStore

MAX_ROLLOUTS = 256
_DEFAULT_PAGE = 50
_MAX_PAGE = 1000
_ROLLOUTS_PER_TURN = 8
_MAX_COMPILED = 128


class GraphExists(AlreadyExists):
    """Another graph has the name. Do not retry."""

    default_reason = "VERIFIER_GRAPH_EXISTS"


class GraphNotFound(NotFound):
    """No graph has the name."""

    default_reason = "VERIFIER_GRAPH_NOT_FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A finished rollout.

    Attributes:
        rollout_id: Which one.
        environment: The app's own reward, in [0, 1]; None when it gave none.
        evidence: Output and reference.
        failure: Why it has no result; None when it has one.
    """

    rollout_id: str
    environment: float | None = None
    evidence: Evidence = field(default_factory=Evidence)
    failure: Failed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The reward of one rollout, with its parts."""

    fused: float
    environment: float | None = None
    outcome: float | None = None
    criteria: Mapping[str, float]
    feedback: str = ""


class Verifier:
    """Scores rollouts."""

    def __init__(
        self, *, store: GraphStore, kinds: Mapping[str, CheckKind], guarded: GuardedRunner
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._guarded = guarded
        self._compiled: dict[str, tuple[Graph, Compiled]] = {}

    async def create(self, graph: Graph, *, name: str) -> tuple[str, Graph]:
        """Registers a graph, or returns it when it is registered already.

        Args:
            graph: The graph.
            name: Resource name; empty takes a hash of the graph for its id.

        Returns:
            Resource name and graph.

        Raises:
            GraphInvalid: The graph has faults.
            NodeUnavailable: The graph needs what this build does not evaluate.
            GraphExists: Another graph has the name.
        """
        validate(graph, self._kinds)
        key = VerifierGraphName.parse(name) if name else VerifierGraphName(graph_id(graph))
        kept = from_json(await asyncio.to_thread(self._store.put, key.id, to_json(graph)))
        if graph_id(kept) != graph_id(graph):
            raise GraphExists(
                f"`{key}` is another graph, and graphs never change; choose another name",
                metadata={"name": str(key)},
            )
        return str(key), kept

    async def get(self, name: str) -> Graph:
        """Returns a graph.

        Raises:
            GraphNotFound: No graph has the name.
        """
        return (await self._load(name))[0]

    async def page(self, *, size: int, token: str) -> tuple[list[tuple[str, Graph]], str]:
        """Returns a page of graphs in order of name, and the token of the next page.

        Args:
            size: Most graphs; 0 means 50, and at most 1,000 are returned.
            token: From the previous page; empty for the first one.

        Raises:
            InvalidArgument: The size is negative.
        """
        if size < 0:
            raise InvalidArgument(
                f"`page_size` is {size}; give a number from 0",
                reason="PAGE_SIZE_INVALID",
                metadata={"page_size": str(size)},
            )
        count = min(size or _DEFAULT_PAGE, _MAX_PAGE)
        rows = await asyncio.to_thread(self._store.page, after=token, count=count + 1)
        page = [(str(VerifierGraphName(key)), from_json(body)) for key, body in rows[:count]]
        return page, rows[count - 1][0] if len(rows) > count else ""

    async def score(
        self, rollouts: Sequence[Rollout], *, graph: str, weights: Weights
    ) -> list[Scored | Failed]:
        """Scores rollouts, in order. One bad rollout fails only itself.

        Args:
            rollouts: At most 256.
            graph: Resource name of the graph; empty scores by the app's own reward alone.
            weights: How the parts are fused.

        Raises:
            InvalidArgument: There are too many rollouts.
            GraphNotFound: No graph has the name.
        """
        if len(rollouts) > MAX_ROLLOUTS:
            raise InvalidArgument(
                f"{len(rollouts)} rollouts in one call; send at most {MAX_ROLLOUTS}",
                reason="TOO_MANY_ROLLOUTS",
                metadata={"rollouts": str(len(rollouts)), "limit": str(MAX_ROLLOUTS)},
            )
        weights = weights.resolved(has_graph=bool(graph))
        judgements: dict[int, Judgement | Failed] = {}
        if graph and weights.outcome > 0:
            places = [place for place, rollout in enumerate(rollouts) if rollout.failure is None]
            evidence = [rollouts[place].evidence for place in places]
            judged = await self._judged(evidence, *await self._load(graph))
            judgements = dict(zip(places, judged, strict=True))
        return [
            _scored(rollout, judgement=judgements.get(place), weights=weights)
            for place, rollout in enumerate(rollouts)
        ]

    async def _judged(
        self, evidence: Sequence[Evidence], graph: Graph, compiled: Compiled
    ) -> list[Judgement | Failed]:
        if compiled.guarded:
            return await self._guarded.evaluate(graph, evidence) if evidence else []
        found = []
        for place, item in enumerate(evidence):
            if place % _ROLLOUTS_PER_TURN == _ROLLOUTS_PER_TURN - 1:
                await asyncio.sleep(0)
            found.append(compiled.evaluate(item))
        return found

    async def _load(self, name: str) -> tuple[Graph, Compiled]:
        key = VerifierGraphName.parse(name)
        if key.id in self._compiled:
            return self._compiled[key.id]
        body = await asyncio.to_thread(self._store.get, key.id)
        if body is None:
            raise GraphNotFound(
                f"there is no `{key}`; create it first", metadata={"name": str(key)}
            )
        graph = from_json(body)
        validate(graph, self._kinds)
        if len(self._compiled) >= _MAX_COMPILED:
            self._compiled.pop(next(iter(self._compiled)))
        self._compiled[key.id] = (graph, Compiled.of(graph, self._kinds))
        return self._compiled[key.id]


def _scored(
    rollout: Rollout, *, judgement: Judgement | Failed | None, weights: Weights
) -> Scored | Failed:
    if rollout.failure is not None:
        return rollout.failure
    if isinstance(judgement, Failed):
        return judgement
    outcome = None if judgement is None else judgement.outcome
    fused = fuse(Parts(environment=rollout.environment, outcome=outcome), weights)
    if isinstance(fused, Failed):
        return fused
    return Scored(
        fused=fused,
        environment=rollout.environment,
        outcome=outcome,
        criteria={} if judgement is None else judgement.criteria,
        feedback="" if judgement is None else judgement.feedback,
    )

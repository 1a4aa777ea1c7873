"""The verifier: scores rollouts with versions of graphs, and fuses the parts of their rewards."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from burnish.errors import BurnishError, InvalidArgument
from burnish_verifier.fuse import Failed, Parts, Weights, fuse
from burnish_verifier.graphs import Graphs
from burnish_verifier.guarded import Answers
from burnish_verifier.nodes.base import NOTHING, Evidence, NodeFailed, NodeResult, Spending
from burnish_verifier.plan import Plan
from burnish_verifier.runner import Asking, GraphRunner
from burnish_verifier.sources import TraceSource
from burnish_verifier.steps import BuiltinCheck

MAX_ROLLOUTS = 256
_TRACES_AT_ONCE = 16
_NO_ANSWERS: Answers = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A finished rollout.

    Attributes:
        rollout_id: Which one.
        environment: The app's own reward, in [0, 1]; None when it gave none.
        evidence: Output and reference, and the trace when the request gave it.
        failure: Why it has no result; None when it has one.
    """

    rollout_id: str
    environment: float | None = None
    evidence: Evidence = field(default_factory=Evidence)
    failure: Failed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """The reward of one rollout, with its parts.

    Attributes:
        criteria: Score of each check by node, and of each criterion as `node.criterion`.
        feedback: Why, a line per node that has something to say.
    """

    fused: float
    environment: float | None = None
    event: float | None = None
    outcome: float | None = None
    criteria: Mapping[str, float] = field(default_factory=dict)
    feedback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one rollout came to.

    Attributes:
        result: Its reward, or why there is none.
        nodes: Results of single nodes, in the order they were asked.
        spent: What judges spent on it.
        simulated: Whether a simulated judge had a part in it.
    """

    result: Reward | Failed
    nodes: Mapping[str, NodeResult | Failed] = field(default_factory=dict)
    spent: Spending = NOTHING
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A request to score rollouts.

    Attributes:
        rollouts: At most 256.
        graph: Resource name of a graph or of a version; empty scores by the app's reward alone.
        weights: How the parts are fused.
        asking: What judges are told, and who pays.
        every_node: Whether the graph is evaluated even when no weight asks for it.
    """

    rollouts: Sequence[Rollout]
    graph: str = ""
    weights: Weights = field(default_factory=Weights)
    asking: Asking = field(default_factory=Asking)
    every_node: bool = False


class Verifier:
    """Scores rollouts."""

    def __init__(self, *, graphs: Graphs, runner: GraphRunner, traces: TraceSource) -> None:
        """Takes where graphs are, who evaluates them, and where traces are."""
        self._graphs = graphs
        self._runner = runner
        self._traces = traces

    async def score(self, request: ScoreRequest) -> tuple[list[Scored], str]:
        """Scores rollouts, in order. One bad rollout fails only itself.

        Returns:
            What each came to, and the resource name of the version that scored.

        Raises:
            InvalidArgument: There are too many rollouts.
            GraphNotFound: No graph has the name.
        """
        rollouts = request.rollouts
        if len(rollouts) > MAX_ROLLOUTS:
            raise InvalidArgument(
                f"{len(rollouts)} rollouts in one call; send at most {MAX_ROLLOUTS}",
                reason="TOO_MANY_ROLLOUTS",
                metadata={"rollouts": str(len(rollouts)), "limit": str(MAX_ROLLOUTS)},
            )
        weights = request.weights.resolved(has_graph=bool(request.graph))
        if not request.graph:
            return [_scored(each, None, _NO_ANSWERS, weights) for each in rollouts], ""
        plan = await self._graphs.load(request.graph)
        answers: dict[int, Answers | Failed] = {}
        if request.every_node or weights.outcome > 0 or weights.event > 0:
            answers = await self._evaluated(plan, rollouts, request.asking)
        scored = [
            _scored(rollout, plan, answers.get(place, _NO_ANSWERS), weights)
            for place, rollout in enumerate(rollouts)
        ]
        return scored, plan.name

    async def _evaluated(
        self, plan: Plan, rollouts: Sequence[Rollout], asking: Asking
    ) -> dict[int, Answers | Failed]:
        limit = asyncio.Semaphore(_TRACES_AT_ONCE)
        given = await asyncio.gather(*(self._evidence(each, plan, limit) for each in rollouts))
        found: dict[int, Answers | Failed] = {
            place: item for place, item in enumerate(given) if isinstance(item, Failed)
        }
        evidence = {place: item for place, item in enumerate(given) if isinstance(item, Evidence)}
        named = [(rollouts[place].rollout_id, item) for place, item in evidence.items()]
        found.update(zip(evidence, await self._runner.run(plan, named, asking), strict=True))
        return found

    async def _evidence(
        self, rollout: Rollout, plan: Plan, limit: asyncio.Semaphore
    ) -> Evidence | Failed:
        given = rollout.evidence
        if rollout.failure is not None:
            return rollout.failure
        if not plan.reads_trace or given.session_trace:
            return given
        try:
            async with limit:
                trace = await self._traces.trace(rollout.rollout_id)
        except BurnishError as error:
            return Failed(
                reason=error.reason,
                message=error.message,
                retryable=error.retryable,
                metadata=error.metadata,
            )
        return replace(given, session_trace=trace)


def _scored(
    rollout: Rollout, plan: Plan | None, answers: Answers | Failed, weights: Weights
) -> Scored:
    if rollout.failure is not None:
        return Scored(result=rollout.failure)
    if isinstance(answers, Failed):
        return Scored(result=answers)
    failed = next((found for found in answers.values() if isinstance(found, Failed)), None)
    results = {name: found for name, found in answers.items() if isinstance(found, NodeResult)}
    result = _reward(rollout, plan, results, weights) if failed is None else failed
    return Scored(
        result=result,
        nodes=answers,
        spent=_spent(answers),
        simulated=any(found.simulated for found in results.values()),
    )


def _reward(
    rollout: Rollout, plan: Plan | None, results: Mapping[str, NodeResult], weights: Weights
) -> Reward | Failed:
    outcome, event = None, None
    if plan is not None and results:
        output = results.get(plan.graph.output_node)
        events = results.get(plan.graph.event_node)
        outcome = None if output is None else output.score
        event = None if events is None else events.event_score
    parts = Parts(environment=rollout.environment, event=event, outcome=outcome)
    fused = fuse(parts, weights)
    if isinstance(fused, Failed):
        return fused
    return Reward(
        fused=fused,
        environment=rollout.environment,
        event=event,
        outcome=outcome,
        criteria={} if plan is None else _criteria(plan, results),
        feedback="" if plan is None else _feedback(plan, results),
    )


def _criteria(plan: Plan, results: Mapping[str, NodeResult]) -> dict[str, float]:
    found: dict[str, float] = {}
    for node in plan.order:
        result = results.get(node.node_id)
        if result is None:
            continue
        if isinstance(node.step, BuiltinCheck) and result.score is not None:
            found[node.node_id] = result.score
        for criterion in result.criteria:
            found[f"{node.node_id}.{criterion.criterion_id}"] = criterion.score
    return found


def _feedback(plan: Plan, results: Mapping[str, NodeResult]) -> str:
    lines = [
        f"{node.node_id}: {results[node.node_id].reason}"
        for node in plan.order
        if node.node_id in results and results[node.node_id].reason
    ]
    return "\n".join(lines)


def _spent(answers: Answers) -> Spending:
    spent = NOTHING
    for found in answers.values():
        if isinstance(found, NodeResult | NodeFailed) and found.spent is not NOTHING:
            spent = spent.plus(found.spent)
    return spent

"""Verifier graphs over a channel: check, register, look at, and score rollouts with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from burnish import rpc
from burnish.api.types.v1 import rollout_pb2
from burnish.api.verifier.v1 import node_result_pb2, rubric_pb2, verifier_service_pb2
from burnish.api.verifier.v1.verifier_service_pb2_grpc import VerifierServiceStub
from burnish.errors import BurnishError, FailedPrecondition, ResourceExhausted
from burnish.namespace import Namespace
from burnish.plain import Plain, to_plain
from burnish.rollouts import reward_parts
from burnish.usages import Usage, usage

SCORE_SECONDS = 900.0
_BATCH = 64
_SET_UP = frozenset(
    {
        "BUDGET_EXHAUSTED",
        "JUDGE_EXAMPLES_INVALID",
        "JUDGE_EXAMPLES_MISSING",
        "JUDGE_MODEL_MISSING",
        "JUDGE_MODEL_REFUSED",
        "JUDGE_RUBRIC_MISSING",
        "PRICE_UNKNOWN",
        "PROVIDER_NOT_CONFIGURED",
        "RUBRIC_INVALID",
    }
)
_COLLECTION = "verifierGraphs/"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSnapshot:
    """A version of a graph.

    Attributes:
        name: Resource name of the version; empty for a graph that was only checked.
        version: From 1; 0 for a graph that was only checked.
        nodes: Id and kind of each node, in order.
        shipped: Whether it came with Burnish.
        description: What it is for.
        plain: Everything, as plain JSON values.
    """

    name: str
    version: int
    nodes: tuple[tuple[str, str], ...]
    shipped: bool
    description: str
    plain: Plain

    @property
    def graph_id(self) -> str:
        """Id of the graph, without its version."""
        return self.name.removeprefix(_COLLECTION).partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPage:
    """One page of graphs.

    Attributes:
        graphs: The graphs.
        next_page_token: Empty on the last page.
    """

    graphs: tuple[GraphSnapshot, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeScore:
    """What one node said of one rollout.

    Attributes:
        node_id: The node.
        score: In [0, 1]; None when it has none.
        reason: Why, in prose.
        criteria: Sub-scores by name, as (score, reason).
        failure: Why there is no score, as (reason, message); None when nothing failed.
        cached: Whether it was kept from an earlier request.
        simulated: Whether a simulated judge gave it.
        usage: What it cost.
        plain: Everything, as plain JSON values.
    """

    node_id: str
    score: float | None
    reason: str
    criteria: tuple[tuple[str, float, str], ...]
    failure: tuple[str, str] | None
    cached: bool
    simulated: bool
    usage: Usage
    plain: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphScore:
    """What a graph said of one rollout.

    Attributes:
        rollout_id: The rollout.
        reward: The fused reward, in [0, 1]; None when it was not scored.
        parts: The parts that it was fused of, by name.
        nodes: Every node, in the order of the graph.
        failure: Why there is no reward, as (reason, message); None when there is one.
        retryable: Whether a failure may pass.
        simulated: Whether a simulated judge had a part in it.
        usage: What judges cost.
        feedback: Why, in prose.
        plain: Everything, as plain JSON values.
    """

    rollout_id: str
    reward: float | None
    parts: dict[str, float]
    nodes: tuple[NodeScore, ...]
    failure: tuple[str, str] | None
    retryable: bool
    simulated: bool
    usage: Usage
    feedback: str
    plain: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """How rollouts are scored.

    Attributes:
        weights: How the parts are fused; empty takes the graph's outcome alone.
        session_traces: Trace of each rollout as JSON, by id, for nodes that read more than the
            output; those of a job's rollouts need not be given.
        judge_options: What judges are told beyond the graph.
        max_cost_usd: Most US dollars that judges may cost together; None allows only free models.
        repeat: Which repeat of the same judgement, from 0: each is judged and paid for once.
    """

    weights: rollout_pb2.RewardWeights | None = None
    session_traces: dict[str, bytes] = field(default_factory=dict)
    judge_options: rubric_pb2.JudgeOptions | None = None
    max_cost_usd: float | None = None
    repeat: int = 0


class AsyncGraphs(Namespace):
    """The verifier graphs of a suite."""

    @property
    def _stub(self) -> VerifierServiceStub:
        return VerifierServiceStub(self._channel())

    async def check(self, graph: verifier_service_pb2.VerifierGraph) -> GraphSnapshot:
        """Checks a graph and stores nothing.

        Raises:
            InvalidArgument: It has faults; the message names every one.
        """
        return await self._create(graph, validate_only=True)

    async def register(
        self, graph: verifier_service_pb2.VerifierGraph, *, name: str = ""
    ) -> GraphSnapshot:
        """Registers a graph and returns its version; an equal latest version is returned as it is.

        Args:
            graph: The graph.
            name: Name or id that it is registered under; empty takes the graph's own, else a hash.

        Raises:
            InvalidArgument: It has faults; the message names every one.
            AlreadyExists: The name is that of a shipped graph.
        """
        kept = verifier_service_pb2.VerifierGraph()
        kept.CopyFrom(graph)
        if name:
            kept.name = graph_name(name)
        return await self._create(kept, validate_only=False)

    async def get(self, name: str) -> GraphSnapshot:
        """Gets a graph by id or name, its latest version unless the name tells one.

        Raises:
            NotFound: There is no such graph.
        """
        request = verifier_service_pb2.GetVerifierGraphRequest(name=graph_name(name))
        async with rpc.translated():
            response = await self._stub.GetVerifierGraph(request, timeout=self._timeout)
        return snapshot(response.verifier_graph)

    async def list(self, *, graph: str = "", page_size: int = 0, page_token: str = "") -> GraphPage:
        """Lists the latest version of each graph by name, or every version of one graph."""
        request = verifier_service_pb2.ListVerifierGraphsRequest(
            page_size=page_size,
            page_token=page_token,
            verifier_graph=graph_name(graph) if graph else "",
        )
        async with rpc.translated():
            response = await self._stub.ListVerifierGraphs(request, timeout=self._timeout)
        return GraphPage(
            graphs=tuple(snapshot(one) for one in response.verifier_graphs),
            next_page_token=response.next_page_token,
        )

    async def score(
        self,
        graph: str,
        rollouts: Sequence[rollout_pb2.RolloutResult],
        *,
        options: ScoreOptions | None = None,
    ) -> tuple[GraphScore, ...]:
        """Scores rollouts with a registered graph, however many.

        Args:
            graph: Name or id; its latest version unless it tells one.
            rollouts: Each with an id of its own.
            options: Weights, traces, and what judges may cost.

        Returns:
            One score per rollout, in order. One bad rollout fails only itself.

        Raises:
            NotFound: There is no such graph.
        """
        chosen = options or ScoreOptions()
        left = chosen.max_cost_usd
        found: list[GraphScore] = []
        for start in range(0, len(rollouts), _BATCH):
            request = _request(graph, rollouts[start : start + _BATCH], chosen)
            if left is not None:
                request.max_cost_usd = left
            async with rpc.translated():
                response = await self._stub.ScoreRollouts(request, timeout=SCORE_SECONDS)
            found += [graph_score(one) for one in response.scored_rollouts]
            if left is not None:
                left = max(0.0, left - response.usage.cost_usd)
        return tuple(found)

    async def _create(
        self, graph: verifier_service_pb2.VerifierGraph, *, validate_only: bool
    ) -> GraphSnapshot:
        request = verifier_service_pb2.CreateVerifierGraphRequest(
            verifier_graph=graph, validate_only=validate_only
        )
        async with rpc.translated():
            response = await self._stub.CreateVerifierGraph(request, timeout=self._timeout)
        return snapshot(response.verifier_graph)


def _request(
    graph: str, rollouts: Sequence[rollout_pb2.RolloutResult], options: ScoreOptions
) -> verifier_service_pb2.ScoreRolloutsRequest:
    ids = {one.rollout_id for one in rollouts}
    traces = options.session_traces
    return verifier_service_pb2.ScoreRolloutsRequest(
        verifier_graph=graph_name(graph),
        rollouts=rollouts,
        weights=options.weights,
        session_traces={name: trace for name, trace in traces.items() if name in ids},
        judge_options=options.judge_options,
        include_node_results=True,
        repeat=options.repeat,
    )


def graph_name(text: str) -> str:
    """Returns the resource name for a graph's id, `id@version` or name.

    What it holds is checked where it is used.
    """
    if text.startswith(_COLLECTION):
        return text
    graph_id, at, version = text.rpartition("@")
    if at and version.isdecimal():
        return f"{_COLLECTION}{graph_id}/versions/{version}"
    return f"{_COLLECTION}{text}"


def snapshot(graph: verifier_service_pb2.VerifierGraph) -> GraphSnapshot:
    """Returns a graph as a typed value."""
    return GraphSnapshot(
        name=graph.name,
        version=graph.version,
        nodes=tuple((node.node_id, node.WhichOneof("kind") or "") for node in graph.nodes),
        shipped=graph.shipped,
        description=graph.description,
        plain=to_plain(graph),
    )


def graph_score(scored: verifier_service_pb2.ScoredRollout) -> GraphScore:
    """Returns what a graph said of a rollout as a typed value."""
    failure = scored.failure
    failed = scored.HasField("failure")
    return GraphScore(
        rollout_id=scored.rollout_id,
        reward=scored.reward.fused if scored.HasField("reward") else None,
        parts=reward_parts(scored.reward),
        nodes=tuple(_node(one) for one in scored.node_results),
        failure=(failure.reason, failure.message) if failed else None,
        retryable=failed and failure.retryable,
        simulated=scored.simulated,
        usage=usage(scored.usage),
        feedback=scored.reward.feedback,
        plain=to_plain(scored),
    )


def require_set_up(score: GraphScore) -> None:
    """Raises what would leave every rollout unscored: a model, a key or money that is missing.

    Raises:
        ResourceExhausted: The money that judges may cost is not enough for one.
        FailedPrecondition: Anything else of the kind.
    """
    if score.failure is None or score.failure[0] not in _SET_UP:
        return
    reason, message = score.failure
    kind: type[BurnishError] = (
        ResourceExhausted if reason == "BUDGET_EXHAUSTED" else FailedPrecondition
    )
    raise kind(message, reason=reason)


def _node(result: node_result_pb2.NodeResult) -> NodeScore:
    failure = result.failure
    return NodeScore(
        node_id=result.node_id,
        score=result.score if result.HasField("score") else None,
        reason=result.reason,
        criteria=tuple((one.criterion_id, one.score, one.reason) for one in result.criteria),
        failure=(failure.reason, failure.message) if result.HasField("failure") else None,
        cached=result.cached,
        simulated=result.simulated,
        usage=usage(result.usage),
        plain=to_plain(result),
    )

"""Protobuf to engine and back; no other module of the verifier sees both."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier.engine import Rollout, Scored
from burnish_verifier.evaluate import Evidence
from burnish_verifier.fuse import Failed, Weights
from burnish_verifier.graph import BuiltinCheck, Graph, Node, Scope, Unavailable, WeightedMean

_SCOPES: dict[int, Scope] = {
    verifier_v1.NODE_SCOPE_FINAL: "final",
    verifier_v1.NODE_SCOPE_TRANSCRIPT: "transcript",
}


def graph_of(message: verifier_v1.VerifierGraph) -> Graph:
    """Reads a graph."""
    return Graph(
        nodes=tuple(_node_of(node) for node in message.nodes), output_node=message.output_node
    )


def graph_message(name: str, graph: Graph) -> verifier_v1.VerifierGraph:
    """Writes a graph."""
    return verifier_v1.VerifierGraph(
        name=name,
        nodes=[_node_message(node) for node in graph.nodes],
        output_node=graph.output_node,
    )


def rollout_of(message: types_v1.RolloutResult) -> Rollout:
    """Reads a rollout."""
    failure = None
    if message.HasField("failure"):
        failure = Failed(
            reason=message.failure.reason,
            message=message.failure.message,
            retryable=message.failure.retryable,
            metadata=dict(message.failure.metadata),
        )
    return Rollout(
        rollout_id=message.rollout_id,
        environment=message.environment_reward if message.HasField("environment_reward") else None,
        evidence=Evidence(output=message.output, reference=message.reference),
        failure=failure,
    )


def weights_of(message: types_v1.RewardWeights) -> Weights:
    """Reads weights."""
    return Weights(environment=message.environment, event=message.event, outcome=message.outcome)


def scored_message(rollout: Rollout, scored: Scored | Failed) -> verifier_v1.ScoredRollout:
    """Writes what one rollout came to."""
    if isinstance(scored, Failed):
        failure = types_v1.Failure(
            reason=scored.reason,
            message=scored.message,
            retryable=scored.retryable,
            metadata=scored.metadata,
        )
        return verifier_v1.ScoredRollout(rollout_id=rollout.rollout_id, failure=failure)
    reward = types_v1.Reward(
        fused=scored.fused,
        environment=scored.environment,
        outcome=scored.outcome,
        criteria=scored.criteria,
        feedback=scored.feedback,
    )
    return verifier_v1.ScoredRollout(rollout_id=rollout.rollout_id, reward=reward)


def _node_of(message: verifier_v1.VerifierNode) -> Node:
    kind = message.WhichOneof("kind")
    step: BuiltinCheck | WeightedMean | Unavailable | None = None
    if kind == "builtin":
        settings = _whole(MessageToDict(message.builtin.settings))
        step = BuiltinCheck(check=message.builtin.check, settings=settings)
    elif kind == "weighted_mean":
        step = WeightedMean(weights=dict(message.weighted_mean.weights))
    elif kind is not None:
        step = Unavailable(kind=kind)
    return Node(
        node_id=message.node_id,
        step=step,
        inputs=tuple(message.inputs),
        scope=_SCOPES.get(message.scope, "output"),
    )


def _node_message(node: Node) -> verifier_v1.VerifierNode:
    message = verifier_v1.VerifierNode(
        node_id=node.node_id, inputs=node.inputs, scope=verifier_v1.NODE_SCOPE_OUTPUT
    )
    if isinstance(node.step, BuiltinCheck):
        settings = struct_pb2.Struct()
        settings.update(dict(node.step.settings))
        message.builtin.CopyFrom(verifier_v1.BuiltinCheck(check=node.step.check, settings=settings))
    elif isinstance(node.step, WeightedMean):
        message.weighted_mean.CopyFrom(verifier_v1.WeightedMean(weights=node.step.weights))
    return message


def _whole(value: Any) -> Any:  # noqa: ANN401
    """Gives back the whole numbers that a Struct turned into floats."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value

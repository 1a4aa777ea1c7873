"""Graphs from protobuf to the engine's values and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier.convert_judge import (
    judge_message,
    judge_of,
    model_message,
    model_of,
    named,
)
from burnish_verifier.graph import Graph, Node, Scope, kind_of
from burnish_verifier.graphs import Version
from burnish_verifier.steps import (
    BuiltinCheck,
    Gate,
    Majority,
    Minimum,
    PythonCode,
    RemoteNode,
    RubricJudge,
    Similarity,
    SimilarityMethod,
    Step,
    WeightedMean,
)

_SCOPES: dict[Scope, verifier_v1.NodeScope.ValueType] = {
    "output": verifier_v1.NODE_SCOPE_OUTPUT,
    "final": verifier_v1.NODE_SCOPE_FINAL,
    "transcript": verifier_v1.NODE_SCOPE_TRANSCRIPT,
}
_METHODS: dict[SimilarityMethod, verifier_v1.SimilarityMethod.ValueType] = {
    "exact": verifier_v1.SIMILARITY_METHOD_EXACT,
    "embedding": verifier_v1.SIMILARITY_METHOD_EMBEDDING,
}


def graph_of(message: verifier_v1.VerifierGraph) -> Graph:
    """Reads a graph."""
    return Graph(
        nodes=tuple(_node_of(node) for node in message.nodes),
        output_node=message.output_node,
        event_node=message.event_node,
        description=message.description,
    )


def version_message(version: Version) -> verifier_v1.VerifierGraph:
    """Writes a version of a graph."""
    message = verifier_v1.VerifierGraph(
        name=version.name,
        nodes=[node_message(node) for node in version.graph.nodes],
        output_node=version.graph.output_node,
        event_node=version.graph.event_node,
        description=version.graph.description,
        version=version.version,
        shipped=version.shipped,
    )
    if version.create_time:
        message.create_time.CopyFrom(_timestamp(version.create_time))
    return message


def node_message(node: Node) -> verifier_v1.VerifierNode:
    """Writes a node that has a step."""
    message = verifier_v1.VerifierNode(
        node_id=node.node_id, inputs=node.inputs, scope=_SCOPES[node.scope]
    )
    if node.step is not None:
        getattr(message, kind_of(node.step)).CopyFrom(_step_message(node.step))
    return message


def struct(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """Writes settings."""
    message = struct_pb2.Struct()
    message.update(dict(value))
    return message


def _node_of(message: verifier_v1.VerifierNode) -> Node:
    return Node(
        node_id=message.node_id,
        step=_step_of(message),
        inputs=tuple(message.inputs),
        scope=named(_SCOPES, message.scope, "output"),
    )


def _step_of(message: verifier_v1.VerifierNode) -> Step | None:
    match message.WhichOneof("kind"):
        case "builtin":
            settings = _whole(MessageToDict(message.builtin.settings))
            return BuiltinCheck(check=message.builtin.check, settings=settings)
        case "rubric":
            return judge_of(message.rubric)
        case "python":
            return _code_of(message.python)
        case "similarity":
            return Similarity(
                method=named(_METHODS, message.similarity.method, "exact"),
                answer_path=message.similarity.field,
                wanted_path=message.similarity.reference_field,
                model=(
                    model_of(message.similarity.model)
                    if message.similarity.HasField("model")
                    else None
                ),
                floor=message.similarity.floor,
            )
        case "remote":
            remote = message.remote
            return RemoteNode(
                target=remote.target,
                timeout=_seconds(remote.timeout, 30.0) if remote.HasField("timeout") else 30.0,
                attempts=remote.attempt_count or 3,
                settings=_whole(MessageToDict(remote.settings)),
            )
        case "weighted_mean":
            return WeightedMean(weights=dict(message.weighted_mean.weights))
        case "minimum":
            return Minimum()
        case "gate":
            threshold = message.gate.threshold if message.gate.HasField("threshold") else 1.0
            return Gate(gates=tuple(message.gate.gates), threshold=threshold)
        case "majority":
            voted = message.majority
            return Majority(threshold=voted.threshold if voted.HasField("threshold") else 0.5)
    return None


def _code_of(message: verifier_v1.PythonCode) -> PythonCode:
    default = PythonCode(source="")
    return PythonCode(
        source=message.source,
        function=message.function or default.function,
        time_limit=(
            _seconds(message.time_limit, 0.0)
            if message.HasField("time_limit")
            else default.time_limit
        ),
        memory_limit=message.memory_limit_bytes or default.memory_limit,
    )


def _step_message(step: Step) -> Any:  # noqa: ANN401 - a case each, a message each
    match step:
        case BuiltinCheck():
            return verifier_v1.BuiltinCheck(check=step.check, settings=struct(step.settings))
        case RubricJudge():
            return judge_message(step)
        case PythonCode():
            return verifier_v1.PythonCode(
                source=step.source,
                function=step.function,
                time_limit=_duration(step.time_limit),
                memory_limit_bytes=step.memory_limit,
            )
        case Similarity():
            return verifier_v1.Similarity(
                method=_METHODS[step.method],
                field=step.answer_path,
                reference_field=step.wanted_path,
                model=None if step.model is None else model_message(step.model),
                floor=step.floor,
            )
        case RemoteNode():
            return verifier_v1.RemoteNode(
                target=step.target,
                timeout=_duration(step.timeout),
                attempt_count=step.attempts,
                settings=struct(step.settings),
            )
        case WeightedMean():
            return verifier_v1.WeightedMean(weights=step.weights)
        case Minimum():
            return verifier_v1.Minimum()
        case Gate():
            return verifier_v1.Gate(gates=step.gates, threshold=step.threshold)
        case Majority():
            return verifier_v1.Majority(threshold=step.threshold)


def _seconds(message: Duration, default: float) -> float:
    return message.ToNanoseconds() / 1e9 or default


def _duration(seconds: float) -> Duration:
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def _timestamp(seconds: float) -> Timestamp:
    message = Timestamp()
    message.FromNanoseconds(round(seconds * 1e9))
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

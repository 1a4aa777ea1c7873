"""Verifier graphs: their nodes and edges, the order to evaluate them in, and their ids.

A graph is a directed acyclic graph of scoring steps. Its canonical form is what is stored, hashed
and handed to other processes; what a field is by default is left out of it, so a field that is
added later changes no id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from graphlib import TopologicalSorter
from typing import Any, Literal

from burnish.errors import InvalidArgument
from burnish.identity import content_hash
from burnish.rubrics import Criterion, Rubric
from burnish_verifier.steps import (
    BuiltinCheck,
    CalibrationExample,
    Gate,
    GoldExample,
    Majority,
    Minimum,
    ModelRef,
    PythonCode,
    RemoteNode,
    RubricJudge,
    Similarity,
    Step,
    WeightedMean,
)

MAX_NODES = 64
Scope = Literal["output", "final", "transcript"]
STEP_KINDS: Mapping[str, type[Step]] = {
    "builtin": BuiltinCheck,
    "rubric": RubricJudge,
    "remote": RemoteNode,
    "weighted_mean": WeightedMean,
    "python": PythonCode,
    "similarity": Similarity,
    "minimum": Minimum,
    "gate": Gate,
    "majority": Majority,
}
_KIND_OF = {step: kind for kind, step in STEP_KINDS.items()}
# What is nested in steps, by the name of the field.
_NESTED: Mapping[str, type[Any]] = {
    "rubric": Rubric,
    "model": ModelRef,
    "criteria": Criterion,
    "event_criteria": Criterion,
    "calibration_examples": CalibrationExample,
    "gold_examples": GoldExample,
}


class GraphInvalid(InvalidArgument):
    """A verifier graph with faults; the message names every one. Do not retry."""

    default_reason = "VERIFIER_GRAPH_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step.

    Attributes:
        node_id: Unique in its graph.
        inputs: Nodes whose results it reads.
        scope: What of the rollout it reads.
        step: What it does; None when the graph does not say.
    """

    node_id: str
    step: Step | None
    inputs: tuple[str, ...] = ()
    scope: Scope = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph.

    Attributes:
        nodes: Its steps.
        output_node: Node whose score is the graph's outcome.
        event_node: Node whose mean over events is the graph's event reward; empty for none.
        description: For people.
    """

    nodes: tuple[Node, ...]
    output_node: str
    event_node: str = ""
    description: str = ""


def kind_of(step: Step) -> str:
    """Returns the name of a step's kind, as the contract has it."""
    return _KIND_OF[type(step)]


def to_json(graph: Graph) -> dict[str, Any]:
    """Returns the canonical form of a graph whose nodes all have a step."""
    return dict(_set_fields(graph))


def from_json(value: Mapping[str, Any]) -> Graph:
    """Reads the canonical form."""
    nodes = tuple(_node_of(node) for node in value["nodes"])
    return Graph(**{**value, "nodes": nodes})


def graph_id(graph: Graph) -> str:
    """Returns the hash of a graph: the id of one that was given no name."""
    return content_hash(to_json(graph))


def evaluation_order(graph: Graph) -> list[Node]:
    """Returns the nodes, each after its inputs, those without a wait between them in given order.

    Raises:
        graphlib.CycleError: The graph has a cycle.
    """
    by_id = {node.node_id: node for node in graph.nodes}
    order = TopologicalSorter({node.node_id: node.inputs for node in graph.nodes}).static_order()
    return [by_id[node_id] for node_id in order]


def feeding(graph: Graph) -> set[str]:
    """Returns the ids of the nodes that the results of the graph depend on."""
    inputs = {node.node_id: node.inputs for node in graph.nodes}
    reached, waiting = set[str](), [graph.output_node, graph.event_node]
    while waiting:
        node_id = waiting.pop()
        if node_id in inputs and node_id not in reached:
            reached.add(node_id)
            waiting.extend(inputs[node_id])
    return reached


def _value(item: object) -> Any:  # noqa: ANN401
    if isinstance(item, tuple | list):
        return [_value(each) for each in item]
    if isinstance(item, Mapping):
        return {key: _value(each) for key, each in item.items()}
    if isinstance(item, Node):
        step = {} if item.step is None else {"kind": kind_of(item.step), **_value(item.step)}
        return {**dict(_set_fields(item, but="step")), "step": step}
    if hasattr(item, "__dataclass_fields__"):
        return dict(_set_fields(item))
    return item


def _set_fields(item: Any, *, but: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    for each in fields(item):
        found = getattr(item, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if each.name != but and (default is MISSING or found != default):
            yield each.name, _value(found)


def _node_of(value: Mapping[str, Any]) -> Node:
    step = dict(value["step"])
    kind = STEP_KINDS[step.pop("kind")]
    rest = {key: item for key, item in value.items() if key != "step"}
    return Node(**{**rest, "inputs": tuple(value.get("inputs", ()))}, step=_built(kind, step))


def _built(kind: type[Any], value: Mapping[str, Any]) -> Any:  # noqa: ANN401
    found: dict[str, Any] = {}
    for key, item in value.items():
        nested = _NESTED.get(key)
        if isinstance(item, list) and kind is not BuiltinCheck:
            found[key] = tuple(item if nested is None else (_built(nested, each) for each in item))
        elif nested is not None and isinstance(item, Mapping) and kind is not BuiltinCheck:
            found[key] = _built(nested, item)
        else:
            found[key] = item
    return kind(**found)

"""Verifier graphs: what they consist of, and every fault that one can have.

A graph is a directed acyclic graph of scoring steps. Its canonical JSON form is what is stored,
hashed and handed to the guarded process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from burnish.errors import InvalidArgument, Unimplemented
from burnish.identity import content_hash
from burnish_verifier.checks.base import CheckKind, Settings

MAX_NODES = 64
Scope = Literal["output", "final", "transcript"]


class GraphInvalid(InvalidArgument):
    """A verifier graph with faults; the message names every one. Do not retry."""

    default_reason = "VERIFIER_GRAPH_INVALID"


class NodeUnavailable(Unimplemented):
    """A node of a kind or scope that this build does not evaluate."""

    default_reason = "VERIFIER_NODE_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinCheck:
    """A named check with its settings."""

    check: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedMean:
    """A weighted mean of the node's inputs; an input without a weight weighs 1."""

    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A node kind that the contract carries and this build does not evaluate."""

    kind: str


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
    step: BuiltinCheck | WeightedMean | Unavailable | None
    inputs: tuple[str, ...] = ()
    scope: Scope = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph.

    Attributes:
        nodes: Its steps.
        output_node: Node whose score is the graph's.
    """

    nodes: tuple[Node, ...]
    output_node: str


def to_json(graph: Graph) -> dict[str, Any]:
    """Returns the canonical JSON form of a valid graph."""
    return {
        "nodes": [_node_json(node) for node in graph.nodes],
        "output_node": graph.output_node,
    }


def from_json(value: Mapping[str, Any]) -> Graph:
    """Reads the canonical JSON form."""
    return Graph(
        nodes=tuple(_node_of(node) for node in value["nodes"]), output_node=value["output_node"]
    )


def graph_id(graph: Graph) -> str:
    """Returns the id of a graph that was given none: a hash of its canonical form."""
    return content_hash(to_json(graph))


def evaluation_order(graph: Graph) -> list[Node]:
    """Returns the nodes, each after its inputs.

    Raises:
        graphlib.CycleError: The graph has a cycle.
    """
    by_id = {node.node_id: node for node in graph.nodes}
    order = TopologicalSorter({node.node_id: node.inputs for node in graph.nodes}).static_order()
    return [by_id[node_id] for node_id in order]


def validate(graph: Graph, kinds: Mapping[str, CheckKind]) -> None:
    """Checks a graph.

    Args:
        graph: The graph.
        kinds: Checks that it may name.

    Raises:
        GraphInvalid: It has faults; the message names every one, with a fix.
        NodeUnavailable: It is sound, and needs what this build does not evaluate.
    """
    problems = _shape_problems(graph)
    for node in graph.nodes:
        problems += [f"node `{node.node_id}`: {text}" for text in _node_problems(node, kinds)]
    if problems:
        raise GraphInvalid(
            "verifier graph: " + "; ".join(problems), metadata={"problems": str(len(problems))}
        )
    _refuse_unavailable(graph, kinds)


def _shape_problems(graph: Graph) -> list[str]:
    ids = [node.node_id for node in graph.nodes]
    problems = []
    if not ids:
        return ["it has no nodes; give at least one"]
    if len(ids) > MAX_NODES:
        return [f"it has {len(ids)} nodes; give at most {MAX_NODES}"]
    repeated = sorted({node_id for node_id in ids if ids.count(node_id) > 1})
    if repeated:
        problems.append(f"node ids {_listed(repeated)} are used twice; make them unique")
    if "" in ids:
        problems.append("a node has no `node_id`; name it")
    for node in graph.nodes:
        unknown = sorted(set(node.inputs) - set(ids))
        if unknown:
            problems.append(f"node `{node.node_id}` reads {_listed(unknown)}, which do not exist")
        if len(set(node.inputs)) != len(node.inputs):
            problems.append(f"node `{node.node_id}` reads an input twice; name it once")
    if graph.output_node not in ids:
        problems.append(f"`output_node` is {graph.output_node!r}; give the id of a node")
    if problems:
        return problems
    try:
        evaluation_order(graph)
    except CycleError as error:
        return [f"nodes {' -> '.join(error.args[1])} read each other in a circle; break it"]
    unused = sorted(set(ids) - _feeding(graph))
    if unused:
        problems.append(f"nodes {_listed(unused)} do not feed `output_node`; use or remove them")
    return problems


def _feeding(graph: Graph) -> set[str]:
    inputs = {node.node_id: node.inputs for node in graph.nodes}
    reached, waiting = set[str](), [graph.output_node]
    while waiting:
        node_id = waiting.pop()
        if node_id not in reached:
            reached.add(node_id)
            waiting.extend(inputs[node_id])
    return reached


def _node_problems(node: Node, kinds: Mapping[str, CheckKind]) -> list[str]:
    step = node.step
    if step is None:
        return ["it says not what it does; give one of builtin, weighted_mean, rubric, remote"]
    if isinstance(step, WeightedMean):
        return _mean_problems(node, step)
    if isinstance(step, Unavailable):
        return []
    kind = kinds.get(step.check)
    if kind is None:
        return [f"check `{step.check}` is not known; known: {', '.join(sorted(kinds))}"]
    problems = ["a check reads no inputs; remove them"] if node.inputs else []
    settings = Settings(step.settings)
    kind.build(settings)
    return problems + [f"`{step.check}`: {problem}" for problem in settings.finish()]


def _mean_problems(node: Node, step: WeightedMean) -> list[str]:
    problems = []
    if not node.inputs:
        problems.append("a weighted mean needs inputs; name at least one")
    strangers = sorted(set(step.weights) - set(node.inputs))
    if strangers:
        problems.append(f"weights for {_listed(strangers)}, which are no inputs; remove them")
    for name, weight in sorted(step.weights.items()):
        if not (math.isfinite(weight) and weight > 0):
            problems.append(f"weight of `{name}` is {weight!r}; give a finite number above 0")
    return problems


def _refuse_unavailable(graph: Graph, kinds: Mapping[str, CheckKind]) -> None:
    wanted = [
        f"node `{node.node_id}` is of kind {node.step.kind}"
        for node in graph.nodes
        if isinstance(node.step, Unavailable)
    ]
    wanted += [
        f"node `{node.node_id}` reads the {node.scope} of the rollout"
        for node in graph.nodes
        if node.scope != "output" and not isinstance(node.step, Unavailable | WeightedMean)
    ]
    if wanted:
        raise NodeUnavailable(
            f"verifier graph: {'; '.join(wanted)}; this build evaluates weighted means, and the "
            f"checks {', '.join(sorted(kinds))} on the output",
            metadata={"nodes": str(len(wanted))},
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _node_json(node: Node) -> dict[str, Any]:
    step: dict[str, Any] = {}
    if isinstance(node.step, BuiltinCheck):
        step = {"check": node.step.check, "settings": dict(node.step.settings)}
    elif isinstance(node.step, WeightedMean):
        step = {"weights": dict(node.step.weights)}
    return {"node_id": node.node_id, "inputs": list(node.inputs), "step": step}


def _node_of(value: Mapping[str, Any]) -> Node:
    step = value["step"]
    return Node(
        node_id=value["node_id"],
        inputs=tuple(value["inputs"]),
        step=(
            BuiltinCheck(check=step["check"], settings=step["settings"])
            if "check" in step
            else WeightedMean(weights=step["weights"])
        ),
    )

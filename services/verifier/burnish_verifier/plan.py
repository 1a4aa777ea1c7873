"""A graph that is ready to be evaluated: its order, its checks, and what its nodes need."""

from __future__ import annotations

from dataclasses import dataclass

from burnish_verifier.checks.base import CheckKind, Kinds, SandboxedKind
from burnish_verifier.evaluate import CheckSet
from burnish_verifier.graph import Graph, Node, evaluation_order, graph_id
from burnish_verifier.steps import Aggregate, BuiltinCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A valid version of a graph.

    Attributes:
        name: Resource name of the version.
        graph: The graph.
        content_hash: Of its canonical form.
        order: Its nodes, each after its inputs.
        open_checks: Checks that are asked in place.
        guarded_checks: Checks that are asked in the guarded process.
        reads_trace: Whether a node reads more than the output.
        only_checks: Whether nothing is in it but aggregations, and checks that run nothing.
    """

    name: str
    graph: Graph
    content_hash: str
    order: tuple[Node, ...]
    open_checks: CheckSet
    guarded_checks: CheckSet
    reads_trace: bool
    only_checks: bool

    @classmethod
    def of(cls, name: str, graph: Graph, kinds: Kinds) -> Plan:
        """Prepares a valid graph."""
        order = tuple(evaluation_order(graph))
        guarded: list[Node] = []
        opened: list[Node] = []
        others = False
        for node in order:
            if not isinstance(node.step, BuiltinCheck):
                others = others or not isinstance(node.step, Aggregate)
                continue
            kind = kinds[node.step.check]
            if isinstance(kind, SandboxedKind):
                others = True
            elif isinstance(kind, CheckKind):
                (guarded if kind.guarded else opened).append(node)
        return cls(
            name=name,
            graph=graph,
            content_hash=graph_id(graph),
            order=order,
            open_checks=CheckSet.of(opened, kinds),
            guarded_checks=CheckSet.of(guarded, kinds),
            reads_trace=any(node.scope != "output" for node in order),
            only_checks=not others,
        )

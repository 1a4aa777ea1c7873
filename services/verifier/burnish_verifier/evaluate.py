"""Evaluates a graph on one rollout: pure, so it runs in the service or in the guarded process."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from burnish.errors import BurnishError
from burnish_verifier.checks.base import Check, CheckKind, Settings, Subject
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import BuiltinCheck, Graph, Node, WeightedMean, evaluation_order

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a rollout gives to a graph, as JSON text; empty when it gives none."""

    output: bytes = b""
    reference: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a graph says of one rollout.

    Attributes:
        outcome: Score of the output node, in [0, 1].
        criteria: Score of each check, by node id.
        feedback: Why, a line per check that did not give full marks.
    """

    outcome: float
    criteria: Mapping[str, float] = field(default_factory=dict)
    feedback: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A valid graph, ready to be evaluated again and again.

    Attributes:
        guarded: Whether one of its checks has to run under a limit of CPU time.
    """

    order: tuple[Node, ...]
    checks: Mapping[str, Check]
    output_node: str
    guarded: bool

    @classmethod
    def of(cls, graph: Graph, kinds: Mapping[str, CheckKind]) -> Compiled:
        """Makes the checks of a valid graph."""
        steps = {node.node_id: node.step for node in graph.nodes}
        builtin = {name: step for name, step in steps.items() if isinstance(step, BuiltinCheck)}
        return cls(
            tuple(evaluation_order(graph)),
            {
                name: kinds[step.check].build(Settings(step.settings))
                for name, step in builtin.items()
            },
            graph.output_node,
            any(kinds[step.check].guarded for step in builtin.values()),
        )

    def evaluate(self, evidence: Evidence) -> Judgement | Failed:
        """Judges one rollout. A check that cannot judge fails this rollout, and only it."""
        try:
            subject = _subject(evidence)
            return self._judge(subject)
        except BurnishError as error:
            return Failed(reason=error.reason, message=error.message, metadata=error.metadata)
        except Exception as error:
            # A plug-in may raise anything; it fails this rollout and nothing else.
            return Failed(
                reason="CHECK_FAILED", message=f"a check raised {type(error).__name__}; correct it"
            )

    def _judge(self, subject: Subject) -> Judgement:
        scores: dict[str, float] = {}
        criteria: dict[str, float] = {}
        lines: list[str] = []
        for node in self.order:
            if isinstance(node.step, WeightedMean):
                scores[node.node_id] = _mean(node, node.step, scores)
                continue
            verdict = self.checks[node.node_id].score(subject)
            if not 0 <= verdict.score <= 1:
                raise _OutOfRange(
                    f"node `{node.node_id}` scored {verdict.score!r}; a check's score is in [0, 1]",
                    metadata={"node": node.node_id, "score": repr(verdict.score)},
                )
            scores[node.node_id] = criteria[node.node_id] = verdict.score
            if verdict.feedback:
                lines.append(f"{node.node_id}: {verdict.feedback}")
        return Judgement(
            outcome=scores[self.output_node], criteria=criteria, feedback="\n".join(lines)
        )


class _OutOfRange(BurnishError):
    default_reason = "CHECK_SCORE_INVALID"


class EvidenceInvalid(BurnishError):
    """An output or a reference that is not the JSON it should be."""

    default_reason = "OUTPUT_INVALID"


def _mean(node: Node, step: WeightedMean, scores: Mapping[str, float]) -> float:
    weights = [step.weights.get(name, 1.0) for name in node.inputs]
    heaviest = max(weights)
    total = math.fsum(weight / heaviest for weight in weights)
    parts = (
        scores[name] * (weight / heaviest)
        for name, weight in zip(node.inputs, weights, strict=True)
    )
    return min(max(math.fsum(parts) / total, 0.0), 1.0)


def _subject(evidence: Evidence) -> Subject:
    return Subject(
        output=_parsed(evidence.output, what="output"),
        reference=_parsed(evidence.reference, what="reference"),
        has_output=bool(evidence.output),
        has_reference=bool(evidence.reference),
    )


def _parsed(data: bytes, *, what: str) -> Any:  # noqa: ANN401
    if not data:
        return None
    reason = f"{what.upper()}_INVALID"
    if len(data) > MAX_BYTES:
        raise EvidenceInvalid(
            f"the {what} has {len(data)} bytes; return at most {MAX_BYTES}", reason=reason
        )
    try:
        value = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise EvidenceInvalid(
            f"the {what} is no JSON; let the task app return RFC 8259 JSON", reason=reason
        ) from None
    if _deeper_than(value, _MAX_DEPTH):
        raise EvidenceInvalid(
            f"the {what} is nested deeper than {_MAX_DEPTH}; flatten it", reason=reason
        )
    return value


def _refuse(name: str) -> float:
    raise ValueError(name)


def _deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True

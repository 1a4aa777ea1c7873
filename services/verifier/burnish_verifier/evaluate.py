"""Asks the checks of a graph about one rollout: pure, for here and for the guarded process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from burnish.errors import BurnishError
from burnish.json_depth import deeper_than
from burnish_verifier.checks.base import Check, CheckKind, Kinds, Settings, Subject
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Node, Scope
from burnish_verifier.nodes.base import Evidence, NodeResult
from burnish_verifier.steps import BuiltinCheck
from burnish_verifier.traces import final_message

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class CheckSet:
    """Checks that are ready to be asked again and again, by node."""

    nodes: tuple[Node, ...]
    checks: Mapping[str, Check]

    @classmethod
    def of(cls, nodes: Iterable[Node], kinds: Kinds) -> CheckSet:
        """Makes the checks of valid nodes; nodes that are no checks of this kind are left out."""
        kept, checks = [], {}
        for node in nodes:
            kind = kinds[node.step.check] if isinstance(node.step, BuiltinCheck) else None
            if isinstance(kind, CheckKind) and isinstance(node.step, BuiltinCheck):
                kept.append(node)
                checks[node.node_id] = kind.build(Settings(node.step.settings))
        return cls(tuple(kept), checks)

    def evaluate(self, evidence: Evidence) -> dict[str, NodeResult | Failed]:
        """Asks every check about one rollout. A check that cannot judge fails, and only it."""
        subjects: dict[Scope, Subject | Failed] = {}
        found: dict[str, NodeResult | Failed] = {}
        for node in self.nodes:
            if node.scope not in subjects:
                subjects[node.scope] = subject_of(evidence, node.scope)
            subject = subjects[node.scope]
            if isinstance(subject, Failed):
                found[node.node_id] = subject
            else:
                found[node.node_id] = _asked(self.checks[node.node_id], node.node_id, subject)
        return found


class EvidenceInvalid(BurnishError):
    """An output or a reference that is not the JSON it should be."""

    default_reason = "OUTPUT_INVALID"


def subject_of(evidence: Evidence, scope: Scope) -> Subject | Failed:
    """Reads what a check may look at, or says why it cannot be read."""
    try:
        reference = _parsed(evidence.reference, what="reference")
        if scope == "output":
            output, there = _parsed(evidence.output, what="output"), bool(evidence.output)
        else:
            output = final_message(evidence.session_trace)
            there = output is not None
    except BurnishError as error:
        return failed_by(error)
    return Subject(
        output=output,
        reference=reference,
        has_output=there,
        has_reference=bool(evidence.reference),
    )


def failed_by(error: BurnishError) -> Failed:
    """Returns an error as the failure of a node."""
    return Failed(reason=error.reason, message=error.message, metadata=error.metadata)


def _asked(check: Check, node_id: str, subject: Subject) -> NodeResult | Failed:
    try:
        verdict = check.score(subject)
    except BurnishError as error:
        return failed_by(error)
    except Exception as error:
        # A plug-in may raise anything; it fails this rollout and nothing else.
        return Failed(
            reason="CHECK_FAILED", message=f"a check raised {type(error).__name__}; correct it"
        )
    return scored(node_id, verdict.score, verdict.feedback)


def scored(node_id: str, score: float, reason: str) -> NodeResult | Failed:
    """Returns a check's score as a result, or a failure when it is no score."""
    if not 0 <= score <= 1:
        return Failed(
            reason="CHECK_SCORE_INVALID",
            message=f"node `{node_id}` scored {score!r}; a check's score is in [0, 1]",
            metadata={"node": node_id, "score": repr(score)},
        )
    return NodeResult(score=score, reason=reason)


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
    if isinstance(value, dict | list) and deeper_than(value, _MAX_DEPTH):
        raise EvidenceInvalid(
            f"the {what} is nested deeper than {_MAX_DEPTH}; flatten it", reason=reason
        )
    return value


def _refuse(name: str) -> float:
    raise ValueError(name)

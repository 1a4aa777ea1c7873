"""Nodes that run code in the sandbox: the user's own scoring, and checks that run the answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from burnish.errors import BurnishError
from burnish_verifier.checks.base import Kinds, SandboxedCheck, SandboxedKind, Settings
from burnish_verifier.evaluate import failed_by, scored, subject_of
from burnish_verifier.fuse import Failed
from burnish_verifier.nodes.base import CriterionScore, EventReview, NodeResult, NodeTask
from burnish_verifier.sandbox.pool import Sandbox
from burnish_verifier.sandbox.work import Outcome, SandboxLost, Work
from burnish_verifier.steps import BuiltinCheck, PythonCode
from burnish_verifier.traces import final_message

_MAX_REASON = 2000
_MAX_CRITERIA = 64
_MAX_EVENTS = 10_000


class CodeEvaluator:
    """Evaluates code nodes and sandboxed checks."""

    def __init__(self, sandbox: Sandbox, kinds: Kinds) -> None:
        self._sandbox = sandbox
        self._kinds = kinds

    async def evaluate(self, task: NodeTask) -> NodeResult | Failed:
        """Runs the node's code on one rollout."""
        step = task.node.step
        try:
            if isinstance(step, PythonCode):
                return await self._own_code(task, step)
            if isinstance(step, BuiltinCheck):
                return await self._check(task, step)
        except SandboxLost as error:
            return Failed(
                reason="SANDBOX_LOST",
                message=f"the sandbox failed with {error}; try again",
                retryable=True,
            )
        except BurnishError as error:
            failed = failed_by(error)
            waited = error.metadata.get("retryable") == "true"
            return Failed(
                reason=failed.reason,
                message=failed.message,
                retryable=waited,
                metadata=failed.metadata,
            )
        raise TypeError(f"node {task.node.node_id} runs no code")

    async def close(self) -> None:
        """Ends the sandbox."""
        await self._sandbox.close()

    async def _check(self, task: NodeTask, step: BuiltinCheck) -> NodeResult | Failed:
        kind = self._kinds[step.check]
        if not isinstance(kind, SandboxedKind):
            raise TypeError(f"check {step.check} needs no sandbox")
        check: SandboxedCheck = kind.build(Settings(step.settings))
        subject = subject_of(task.evidence, task.node.scope)
        if isinstance(subject, Failed):
            return subject
        verdict = check.verdict(subject, await self._sandbox.run(check.work(subject)))
        return scored(task.node.node_id, verdict.score, verdict.feedback)

    async def _own_code(self, task: NodeTask, step: PythonCode) -> NodeResult | Failed:
        argument = _argument(task)
        if isinstance(argument, Failed):
            return argument
        work = Work(
            kind="function",
            payload={"source": step.source, "function": step.function, "argument": argument},
            time_limit=step.time_limit,
            memory_limit=step.memory_limit,
        )
        found = await self._sandbox.run(work)
        if found.kind != "value":
            return _not_ended(task, work, found)
        return _read(task.node.node_id, found.value)


def _argument(task: NodeTask) -> dict[str, Any] | Failed:
    subject = subject_of(task.evidence, "output")
    if isinstance(subject, Failed):
        return subject
    argument: dict[str, Any] = {
        "rollout_id": task.rollout_id,
        "output": subject.output,
        "reference": subject.reference,
        "inputs": {
            name: {
                "score": found.score,
                "reason": found.reason,
                "criteria": {each.criterion_id: each.score for each in found.criteria},
                "event": found.event_score,
            }
            for name, found in task.inputs.items()
        },
    }
    if task.node.scope == "final":
        argument["final"] = final_message(task.evidence.session_trace)
    elif task.node.scope == "transcript":
        try:
            argument["trace"] = json.loads(task.evidence.session_trace or b"null")
        except (ValueError, RecursionError):
            return Failed(
                reason="TRACE_INVALID", message="the session trace is no JSON; give trace format 3"
            )
    return argument


def _not_ended(task: NodeTask, work: Work, found: Outcome) -> Failed:
    node = task.node.node_id
    said = {
        "starved": ("CODE_STARVED", f"had the CPU for {found.cpu_seconds:.2g} s only; try again"),
        "timeout": ("CODE_TIMEOUT", f"took over {work.time_limit:g} s; make it faster"),
        "memory": ("CODE_MEMORY", f"needed over {work.memory_limit} bytes; let it use less"),
        "died": ("CODE_DIED", "ended its process; let it return a score"),
        "too_large": ("CODE_RESULT_INVALID", "returned too much; return a score"),
        "raised": ("CODE_FAILED", f"raised {found.detail}; correct it"),
    }
    reason, words = said[found.kind]
    return Failed(
        reason=reason,
        message=f"node `{node}`: the code {words}",
        retryable=found.kind == "starved",
        metadata={"node": node},
    )


def _read(node_id: str, value: object) -> NodeResult | Failed:
    whole: Mapping[str, Any] = value if isinstance(value, Mapping) else {"score": value}
    criteria = whole.get("criteria", {})
    events = whole.get("events", [])
    if (
        _is_score(whole.get("score"))
        and isinstance(criteria, Mapping)
        and len(criteria) <= _MAX_CRITERIA
        and all(map(_is_score, criteria.values()))
        and isinstance(events, list)
        and len(events) <= _MAX_EVENTS
        and all(map(_is_score, events))
    ):
        return NodeResult(
            score=float(whole["score"]),
            reason=str(whole.get("reason") or "")[:_MAX_REASON],
            criteria=tuple(
                CriterionScore(criterion_id=name, score=float(score))
                for name, score in sorted(criteria.items())
            ),
            event_reviews=tuple(
                EventReview(event_index=place, total=float(score))
                for place, score in enumerate(events)
            ),
        )
    return Failed(
        reason="CODE_RESULT_INVALID",
        message=f"node `{node_id}`: the code returned no score; return a number in [0, 1], or a "
        "mapping with `score` and, if you like, `reason`, `criteria` and `events`",
        metadata={"node": node_id},
    )


def _is_score(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= 1
    )

"""The check that runs the answer's Python code, by calls or by tests of the row.

Calls are the safer form: the code is given arguments, and what it returns is compared outside of
its process, so it cannot know or forge what was wanted. Tests, assertions in Python, share a
process with the code that they test: code that is out to cheat can end them early in a way that
looks like success, which an answer that is merely wrong does not.

Settings:
    field: Where the code is in the output; default `answer`, or the whole.
    function: Function that is called; default the reference's `function`.
    calls_field: Where the calls are in the reference, each with `args`, `kwargs` and `expected`;
        default `calls`.
    tests_field: Where the tests are in the reference, as text; default `tests`.
    partial: Whether the score is the share of calls that are right; default false: all or nothing.
    tolerance: Largest relative difference of two equal numbers; default 1e-9.
    time_limit: Seconds for all of it; default 5.
    memory_limit_bytes: Bytes of address space; default 512 MiB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish_verifier.checks.base import CannotJudge, SandboxedKind, Settings, Subject, Verdict
from burnish_verifier.checks.runnable import (
    ended_early,
    memory_of,
    referred,
    runnable,
    seconds_of,
)
from burnish_verifier.sandbox.work import Outcome, Work

Call = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonTests:
    """1 when the answer's code does what the row wants of it."""

    path: str
    function: str
    calls_path: str
    tests_path: str
    partial: bool
    tolerance: float
    seconds: float
    memory: int

    def work(self, subject: Subject) -> Work:
        """Returns what is to be run."""
        payload: dict[str, Any] = {"source": runnable(subject, self.path) or "raise ValueError"}
        calls = self._calls(subject)
        if calls is not None:
            function = self.function or referred(subject, "function")
            if not isinstance(function, str) or not function:
                raise CannotJudge(
                    "the reference names no `function`; return one, or set `function`",
                    reason="REFERENCE_INVALID",
                )
            payload["function"] = function
            # What is expected stays here.
            payload["calls"] = [
                {"args": call.get("args", []), "kwargs": call.get("kwargs", {})} for call in calls
            ]
        else:
            payload["tests"] = self._tests(subject)
        return Work(
            kind="tests" if calls is None else "calls",
            payload=payload,
            time_limit=self.seconds,
            memory_limit=self.memory,
        )

    def verdict(self, subject: Subject, found: Outcome) -> Verdict:
        """Judges what came of it."""
        early = ended_early(self.work(subject), found)
        if early is not None:
            return early
        if found.kind == "raised":
            return Verdict(score=0.0, feedback=f"the code fails with {found.detail}")
        calls = self._calls(subject)
        if calls is None:
            return Verdict(score=float(found.value is True))
        results = found.value
        if not isinstance(results, list) or len(results) != len(calls):
            return Verdict(score=0.0, feedback="the code did not let its calls end")
        right = [self._right(call, each) for call, each in zip(calls, results, strict=True)]
        share = sum(right) / len(right)
        score = share if self.partial else float(share == 1.0)
        if share == 1.0:
            return Verdict(score=1.0)
        return Verdict(score=score, feedback=f"{sum(right)} of {len(right)} calls are right")

    def _calls(self, subject: Subject) -> Sequence[Call] | None:
        calls = referred(subject, self.calls_path)
        if calls is None:
            return None
        if not isinstance(calls, list) or not calls or not all(_is_call(call) for call in calls):
            raise CannotJudge(
                f"`{self.calls_path}` of the reference is no list of calls, each with `expected` "
                "and `args` or `kwargs`; correct it",
                reason="REFERENCE_INVALID",
            )
        return calls

    def _tests(self, subject: Subject) -> str:
        tests = referred(subject, self.tests_path)
        if not isinstance(tests, str) or not tests.strip():
            raise CannotJudge(
                f"the reference has neither `{self.calls_path}` nor `{self.tests_path}`; return "
                "one of them",
                reason="REFERENCE_INVALID",
            )
        return tests

    def _right(self, call: Call, result: object) -> bool:
        return (
            isinstance(result, dict)
            and "value" in result
            and self._same(result["value"], call["expected"])
        )

    def _same(self, one: object, other: object) -> bool:
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, int | float) and isinstance(other, int | float):
            return math.isclose(one, other, rel_tol=self.tolerance)
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self._same, one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(
                self._same(value, other[key]) for key, value in one.items()
            )
        return type(one) is type(other) and one == other


def _is_call(call: object) -> bool:
    return (
        isinstance(call, dict)
        and "expected" in call
        and isinstance(call.get("args", []), list)
        and isinstance(call.get("kwargs", {}), dict)
    )


def _python_tests(settings: Settings) -> PythonTests:
    return PythonTests(
        path=settings.text("field"),
        function=settings.text("function"),
        calls_path=settings.text("calls_field", "calls"),
        tests_path=settings.text("tests_field", "tests"),
        partial=settings.flag("partial", default=False),
        tolerance=settings.number("tolerance", 1e-9),
        seconds=seconds_of(settings),
        memory=memory_of(settings),
    )


KINDS = (SandboxedKind(name="python_tests", build=_python_tests),)

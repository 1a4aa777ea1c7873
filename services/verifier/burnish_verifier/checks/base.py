"""What a check is, what it is given, and how it reads its settings.

A plug-in check is a `CheckKind` offered under the entry-point group `burnish.verifier_checks`. Its
`build` reads the settings once, when a graph is created; `Check.score` is then called per rollout.
A check that cannot judge raises `CannotJudge`: the rollout stays unscored. A wrong answer is a
score.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from burnish.errors import BurnishError, Code
from burnish_verifier.sandbox.work import Outcome, Work

_MAX_SHOWN = 200
_MISSING = object()


class CannotJudge(BurnishError):
    """A check has nothing to judge by; the rollout is left unscored."""

    code = Code.FAILED_PRECONDITION
    default_reason = "CHECK_CANNOT_JUDGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check says.

    Attributes:
        score: In [0, 1]; higher is better.
        feedback: Why, in one line; empty for a full score.
    """

    score: float
    feedback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a check may look at.

    Attributes:
        output: The app's output, as a JSON value.
        reference: What was wanted, as a JSON value.
        has_output: Whether there is an output at all.
        has_reference: Whether there is a reference at all.
    """

    output: Any = None
    reference: Any = None
    has_output: bool = True
    has_reference: bool = True


class Check(Protocol):
    """A check with its settings."""

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout.

        Raises:
            CannotJudge: There is nothing to judge by.
        """


class SandboxedCheck(Protocol):
    """A check that has what the rollout gave run in the sandbox, and judges what came of it."""

    def work(self, subject: Subject) -> Work:
        """Returns what is to be run.

        Raises:
            CannotJudge: There is nothing to judge by.
        """

    def verdict(self, subject: Subject, found: Outcome) -> Verdict:
        """Judges what came of it.

        Raises:
            CannotJudge: It tells nothing of the answer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckKind:
    """A named kind of check.

    Attributes:
        name: Name that graphs use.
        build: Makes the check from its settings, and tells the reader of every problem.
        guarded: Whether it has to run under a limit of CPU time, because some input makes it slow.
    """

    name: str
    build: Callable[[Settings], Check]
    guarded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxedKind:
    """A named kind of check that runs what the rollout gave.

    Attributes:
        name: Name that graphs use.
        build: Makes the check from its settings, and tells the reader of every problem.
    """

    name: str
    build: Callable[[Settings], SandboxedCheck]


Kinds = Mapping[str, CheckKind | SandboxedKind]


@dataclass(slots=True)
class Settings:
    """Settings of a check, read by name; every problem is kept, not just the first.

    Attributes:
        values: The settings.
        problems: What is wrong with them, with a fix each.
    """

    values: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def text(self, name: str, default: str = "") -> str:
        """Reads a text."""
        return str(self._typed(name, default, kinds=(str,), what="a text"))

    def flag(self, name: str, *, default: bool) -> bool:
        """Reads true or false."""
        return bool(self._typed(name, default, kinds=(bool,), what="true or false"))

    def number(self, name: str, default: float) -> float:
        """Reads a finite number that is at least 0."""
        value = self._typed(name, default, kinds=(int, float), what="a number")
        if isinstance(value, bool) or not math.isfinite(value) or value < 0:
            self.problems.append(f"`{name}` is {value!r}; give a finite number from 0")
            return default
        return float(value)

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """Reads one of some texts."""
        value = self.text(name, default)
        if value not in allowed:
            self.problems.append(f"`{name}` is {value!r}; give one of {', '.join(allowed)}")
            return default
        return value

    def value(self, name: str) -> tuple[bool, Any]:
        """Reads any value; tells whether it is there."""
        self._known.add(name)
        found = self.values.get(name, _MISSING)
        return (False, None) if found is _MISSING else (True, found)

    def finish(self) -> list[str]:
        """Returns every problem, settings that nothing reads among them."""
        for name in sorted(set(self.values) - self._known):
            near = difflib.get_close_matches(name, sorted(self._known), n=1)
            hint = (
                f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(self._known))}"
            )
            self.problems.append(f"`{name}` is no setting of this check; {hint}")
        return self.problems

    def _typed(self, name: str, default: Any, *, kinds: tuple[type, ...], what: str) -> Any:  # noqa: ANN401
        there, value = self.value(name)
        if not there:
            return default
        if not isinstance(value, kinds):
            self.problems.append(f"`{name}` is {type(value).__name__}; give {what}")
            return default
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a check finds the answer and what was wanted.

    Attributes:
        answer_path: Dotted path in the output; empty takes `answer` of an object, else the whole.
        wanted_path: The same for the reference.
        constant: Wanted value given in the settings, in a one-element tuple; empty when it comes
            from the reference.
        any_of: Whether the wanted value is a list of which any element will do.
    """

    answer_path: str = ""
    wanted_path: str = ""
    constant: tuple[Any, ...] = ()
    any_of: bool = False

    @classmethod
    def read(cls, settings: Settings) -> Sources:
        """Reads `field`, `reference_field`, `expected` and `any_of`."""
        there, expected = settings.value("expected")
        any_of = settings.flag("any_of", default=False)
        if any_of and there and not (isinstance(expected, list) and expected):
            settings.problems.append("`expected` is no list; with `any_of` give a list of answers")
        return cls(
            answer_path=settings.text("field"),
            wanted_path=settings.text("reference_field"),
            constant=(expected,) if there else (),
            any_of=any_of,
        )

    def answer(self, subject: Subject) -> Any:  # noqa: ANN401
        """Returns the app's answer; None when it gave none.

        Raises:
            CannotJudge: The output or the field of it is missing.
        """
        if not subject.has_output:
            raise CannotJudge(
                "the rollout has no output; let the task app return one", reason="OUTPUT_MISSING"
            )
        return at(subject.output, self.answer_path, what="output")

    def wanted(self, subject: Subject) -> list[Any]:
        """Returns the answers that will do, at least one.

        Raises:
            CannotJudge: There is no reference, or the field of it is missing.
        """
        if self.constant:
            value = self.constant[0]
        elif subject.has_reference:
            value = at(subject.reference, self.wanted_path, what="reference")
        else:
            raise CannotJudge(
                "the rollout has no reference; let the task app return one, or set `expected`",
                reason="REFERENCE_MISSING",
            )
        if not self.any_of:
            return [value]
        if not isinstance(value, list) or not value:
            raise CannotJudge(
                "the reference is no list of answers; return one, or leave `any_of` out",
                reason="REFERENCE_INVALID",
            )
        return value


def as_text(value: object) -> str | None:
    """Returns a value as text: a text as it is, anything else as JSON, None as None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def shown(value: object) -> str:
    """Returns a value for feedback: one line, not long."""
    text = " ".join((as_text(value) or "nothing").split())
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def compared(score: float, *, answer: object, wanted: Sequence[object]) -> Verdict:
    """Returns a verdict whose feedback names what was wanted and what came."""
    if score >= 1.0:
        return Verdict(score=1.0)
    options = " or ".join(f"`{shown(option)}`" for option in wanted[:5])
    return Verdict(score=score, feedback=f"wanted {options}, got `{shown(answer)}`")


def at(value: Any, path: str, *, what: str) -> Any:  # noqa: ANN401
    """Returns what a dotted path leads to; without one, `answer` of an object, else the whole.

    Raises:
        CannotJudge: There is no such field.
    """
    if not path:
        return value["answer"] if isinstance(value, dict) and "answer" in value else value
    found = value
    for step in path.split("."):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise CannotJudge(
                f"the {what} has no field `{path}`; correct the path, or let the app return it",
                reason="FIELD_MISSING",
                metadata={"what": what, "field": path},
            )
    return found

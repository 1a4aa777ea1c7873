"""What checks that run the answer have in common: the text to run, and what ended it."""

from __future__ import annotations

import re
from typing import Any

from burnish_verifier.checks.base import CannotJudge, Settings, Subject, Verdict, as_text, at
from burnish_verifier.sandbox.work import DEFAULT_MEMORY, DEFAULT_SECONDS, Outcome, Work

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_MAX_TEXT = 100_000
_MOST_SECONDS = 60.0
_LEAST_MEMORY = 64 * 1024 * 1024


def seconds_of(settings: Settings) -> float:
    """Reads `time_limit` in seconds."""
    seconds = settings.number("time_limit", DEFAULT_SECONDS)
    if not 0 < seconds <= _MOST_SECONDS:
        settings.problems.append(
            f"`time_limit` is {seconds:g} s; give a time in (0 s, {_MOST_SECONDS:g} s]"
        )
    return seconds


def memory_of(settings: Settings) -> int:
    """Reads `memory_limit_bytes`."""
    memory = settings.number("memory_limit_bytes", DEFAULT_MEMORY)
    if memory < _LEAST_MEMORY:
        settings.problems.append(
            f"`memory_limit_bytes` is {memory:g}; give at least {_LEAST_MEMORY}"
        )
    return int(memory)


def runnable(subject: Subject, path: str) -> str | None:
    """Returns the text that the app answered, out of a fenced block when there is one.

    Raises:
        CannotJudge: There is no output, or no such field in it.
    """
    if not subject.has_output:
        raise CannotJudge(
            "the rollout has no output; let the task app return one", reason="OUTPUT_MISSING"
        )
    text = as_text(at(subject.output, path, what="output"))
    if text is None or len(text) > _MAX_TEXT:
        return None
    found = _FENCE.search(text)
    return text if found is None else found[1]


def referred(subject: Subject, path: str) -> Any:  # noqa: ANN401
    """Returns a field of the reference; None when it has none.

    Raises:
        CannotJudge: There is no reference.
    """
    if not subject.has_reference:
        raise CannotJudge(
            "the rollout has no reference; let the task app return one", reason="REFERENCE_MISSING"
        )
    found = subject.reference
    for step in path.split("."):
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    return found


def ended_early(work: Work, found: Outcome) -> Verdict | None:
    """Returns the verdict on an answer that did not come to an end; None when it did.

    Raises:
        CannotJudge: The machine, and not the answer, used up the time. May be retried.
    """
    if found.kind == "starved":
        raise CannotJudge(
            f"the answer has {work.time_limit:g} s and the machine gave it "
            f"{found.cpu_seconds:.2g} s of them; try again",
            reason="ANSWER_STARVED",
            metadata={"retryable": "true"},
        )
    said = {
        "timeout": f"took over {work.time_limit:g} s",
        "memory": f"needed over {work.memory_limit} bytes of memory",
        "died": "ended its process",
        "too_large": "gave too much",
    }.get(found.kind)
    return None if said is None else Verdict(score=0.0, feedback=f"the answer {said}")

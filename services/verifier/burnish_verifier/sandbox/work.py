"""What is run in the sandbox, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

WorkKind = Literal["function", "calls", "tests", "sql"]
OutcomeKind = Literal["value", "raised", "timeout", "starved", "memory", "died", "too_large"]

DEFAULT_SECONDS = 5.0
DEFAULT_MEMORY = 512 * 1024 * 1024
_STARVED_TIMES = 5.0
_STARVED_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One run, in a process of its own.

    Attributes:
        kind: `function` calls a function of the source with the payload; `calls` calls it with
            each of several arguments; `tests` runs the source and then tests in its names; `sql`
            runs a statement on a database in memory.
        payload: What it needs, as JSON.
        time_limit: Seconds, of the CPU and of the clock alike.
        memory_limit: Bytes of address space.
    """

    kind: WorkKind
    payload: Mapping[str, Any] = field(repr=False)
    time_limit: float = DEFAULT_SECONDS
    memory_limit: int = DEFAULT_MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        kind: `value` when it ended as it should; `starved` when the machine, and not the code, used
            up the time.
        value: What it gave, as JSON.
        detail: Name and place of what was raised; nothing of the text that was run.
        cpu_seconds: Time of the CPU that it took.
    """

    kind: OutcomeKind
    value: Any = field(default=None, repr=False)
    detail: str = ""
    cpu_seconds: float = 0.0


def longest(limit: float) -> float:
    """Returns the seconds by the clock that a run with a limit may take on a busy machine."""
    return _STARVED_TIMES * limit + _STARVED_SECONDS


class SandboxLost(Exception):
    """The sandbox itself failed; the same run may succeed later."""

"""How long each table of a run may take, and what is told of it meanwhile.

A table is measured repetition by repetition, one world of every matrix in each, until all are done
or its part of the time is over: so a run ends within the minutes given, with as many worlds as they
sufficed for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_TOLD_EVERY = 15.0
# What is left for the worlds that are under way when the time of a table is over.
_USED = 0.95


@dataclass(slots=True, kw_only=True)
class Pace:
    """The time that is left, in seconds of a clock.

    Attributes:
        seconds: What the whole run may take; None is no limit.
        clock: The clock.
        say: Gets a line of progress now and then.
    """

    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    _began: float = field(init=False)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._until = self._end

    @property
    def _end(self) -> float:
        return float("inf") if self.seconds is None else self._began + _USED * self.seconds

    def chapter(self, part: float) -> None:
        """Begins a chapter, which may take that part of the time that is left."""
        self._until = self._by(part, self._end)

    def repetitions(self, name: str, count: int, *, least: int, part: float) -> Iterator[int]:
        """Yields repetitions while there is time for another.

        Args:
            name: What is measured.
            count: Most of them.
            least: How many there are however long they take.
            part: Part of the time left of its chapter that they may take.
        """
        began = told = self.clock()
        until = self._by(part, self._until)
        for done in range(count):
            now = self.clock()
            each = (now - began) / max(done, 1)
            if done >= least and now + each > until:
                self.say(f"  {name}: {done} of {count} repetitions, for want of time")
                return
            if now - told > _TOLD_EVERY:
                told = now
                left = max(min(each * (count - done), until - now), 0.0)
                spent = (now - self._began) / 60.0
                self.say(
                    f"  {name}: {done} of {count} repetitions, about {left:.0f} s to go; "
                    f"{spent:.1f} minutes in all"
                )
            yield done

    def _by(self, part: float, until: float) -> float:
        now = self.clock()
        return now + part * max(until - now, 0.0)

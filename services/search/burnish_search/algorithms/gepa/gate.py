"""The gate: whether a child is better than its parent on a minibatch, for as few cells as can be.

The parent's rewards are those already stored, so a look at a child costs the child's cells alone.
Rows where the parent leaves most to be gained come first, in small blocks: a child that could not
pass whatever the rest of its minibatch gave gets no more of them. What is decided is the same as
after the whole minibatch.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.gepa_plan import BLOCK
from burnish_search.algorithms.gepa.rows import Rows
from burnish_search.algorithms.gepa.scores import Scores
from burnish_search.algorithms.minibatches import RowKey

_DIGITS = 9
# A minibatch that the parent has mastered, where no child can do better, is replaced by the next:
# once, or until so many rows were tried.
_GROUNDS = 2
_GROUND_ROWS = 8


class Standing(enum.Enum):
    """Where a child stands before the gate.

    Attributes:
        OPEN: It is worth more rows.
        WAITING: Rows that it was asked on are not answered yet, or its parent leaves it no room.
        PASSED: It is better on the rows that both were measured on.
        FAILED: It is not, or was measured on none of them.
    """

    OPEN = enum.auto()
    WAITING = enum.auto()
    PASSED = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a child is to be asked next.

    Attributes:
        standing: Where it stands.
        rows: Rows for the child.
        parent_rows: Rows for its parent, which it was never asked on.
    """

    standing: Standing
    rows: tuple[RowKey, ...] = ()
    parent_rows: tuple[RowKey, ...] = ()


class Gate:
    """Decides on children by what was measured of them and of their parents."""

    def __init__(self, rows: Rows, scores: Scores, *, size: int, whole: bool = False) -> None:
        """Takes what is known.

        Args:
            rows: The rows of the study.
            scores: What was measured.
            size: Rows of a minibatch.
            whole: Whether a child is asked all that it lacks of it at once, not in blocks.
        """
        self._rows = rows
        self._scores = scores
        self._size = size
        self._whole = whole
        self._grounds = max(_GROUNDS, -(-_GROUND_ROWS // size))
        self._least = rows.batches.settings.min_local_improvement

    def ground(self, parent: str, generation: int) -> tuple[RowKey, ...]:
        """Returns the rows that children of a parent are tried on; none when it mastered them."""
        for place in range(self._grounds):
            rows = self._rows.minibatch(generation + place, self._size)
            if not self._mastered(parent, rows):
                return rows
        return ()

    def look(
        self, child: str, parent: str, generation: int, *, first: RowKey | None = None
    ) -> Look:
        """Returns where a child stands, and what to ask next.

        Args:
            child: Id of the child.
            parent: Id of the parent that it is compared with.
            generation: Generation that it was first tried in, or is to be.
            first: The first row that it was tried on; None when it was not yet.
        """
        rows = self._ground_of(first, parent, generation)
        scores = self._scores
        theirs, asked = scores.of(parent), scores.asked(child)
        open_rows = scores.pending(parent)
        mine = {row: reward for row, reward in scores.of(child).items() if row in theirs}
        parent_rows = tuple(row for row in rows if row not in scores.asked(parent))
        usable = [row for row in rows if row in theirs or row in open_rows or row in parent_rows]
        left = sorted(
            (row for row in usable if row not in asked), key=lambda row: theirs.get(row, 0.0)
        )
        waiting = scores.pending(child)
        gained = math.fsum(reward - theirs[row] - self._least for row, reward in mine.items())
        hope = math.fsum(self._room(parent, row) for row in [*left, *waiting])
        if not rows or (not mine and not waiting and not left and not asked):
            return Look(standing=Standing.WAITING)
        unsettled = bool(left or waiting) or any(row in open_rows for row in usable)
        if not unsettled and 2 * len(mine) < len(rows):
            more = self._further(child, parent, generation, rows, count=len(rows) - len(mine))
            if more:
                unasked = tuple(row for row in more if row not in scores.asked(parent))
                return Look(standing=Standing.OPEN, rows=more, parent_rows=unasked)
        if round(gained + hope, _DIGITS) <= 0 and (mine or left):
            return Look(standing=Standing.FAILED if asked else Standing.WAITING)
        if left:
            hopeful = [row for row in left if self._room(parent, row) > 0]
            block = tuple(left if self._whole else (hopeful or left)[:BLOCK])
            return Look(standing=Standing.OPEN, rows=block, parent_rows=parent_rows)
        if unsettled:
            return Look(standing=Standing.WAITING)
        passed = self._rows.batches.keeps(mine, theirs)
        return Look(standing=Standing.PASSED if passed else Standing.FAILED)

    def _ground_of(self, first: RowKey | None, parent: str, generation: int) -> tuple[RowKey, ...]:
        """Returns the rows that a child was first tried on, or is to be tried on.

        By its very first row: minibatches may share rows, but what comes first is a row that the
        parent leaves something to gain on, which no minibatch that was passed over has.
        """
        for place in range(self._grounds):
            rows = self._rows.minibatch(generation + place, self._size)
            if first in rows:
                return rows
        return self.ground(parent, generation)

    def _further(
        self, child: str, parent: str, generation: int, rows: Sequence[RowKey], *, count: int
    ) -> tuple[RowKey, ...]:
        """Returns rows after a minibatch of which too little was measured; none the second time."""
        asked = self._scores.asked(child)
        own = {row for row in self._rows.feedback if row in asked}
        if own - set(rows):
            return ()
        line = [
            row
            for place in range(1, self._grounds + 1)
            for row in self._rows.minibatch(generation + place, self._size)
            if row not in asked
        ]
        theirs = self._scores.of(parent)
        missing = self._scores.asked(parent) - theirs.keys()
        useful = sorted(
            (row for row in dict.fromkeys(line) if row not in missing),
            key=lambda row: row not in theirs,
        )
        return tuple(useful[:count])

    def _mastered(self, parent: str, rows: Sequence[RowKey]) -> bool:
        """Whether everything was told of a parent on these rows, and it leaves nothing to gain."""
        asked, waiting = self._scores.asked(parent), self._scores.pending(parent)
        if any(row not in asked or row in waiting for row in rows):
            return False
        measured = [row for row in rows if row in self._scores.of(parent)]
        return not any(self._room(parent, row) > 0 for row in measured)

    def _room(self, parent: str, row: RowKey) -> float:
        """Returns the most that a child can gain on a row."""
        theirs = self._scores.of(parent).get(row, 0.0)
        return max(round(1.0 - theirs - self._least, _DIGITS), 0.0)

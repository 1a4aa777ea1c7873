"""The measured cells as numbers: which arm, which row, which reward.

Rows are numbered in the order that all arms walk, which is drawn once per study; rows that were
told of but are not raced on come after them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """Measured cells.

    Attributes:
        arms: Arm of each cell.
        rows: Row of each cell.
        rewards: Reward of each cell.
        row_count: How many rows there are, measured or not.
    """

    arms: Ints
    rows: Ints
    rewards: Floats
    row_count: int

    def first(self, count: int) -> Cells:
        """Returns the first `count` cells."""
        return Cells(self.arms[:count], self.rows[:count], self.rewards[:count], self.row_count)


class Evidence:
    """Follows a history as it grows; what it keeps is only a cache.

    Attributes:
        rows: Rows that are raced on, in the order that all arms walk.
        places: Number of every row, of those raced on first.
    """

    def __init__(self, rows: Sequence[RowKey]) -> None:
        self.rows = tuple(rows)
        self.places: dict[RowKey, int] = {row: place for place, row in enumerate(self.rows)}
        self._consumed = 0
        self._arms = array("q")
        self._where = array("q")
        self._rewards = array("d")

    def cells(self, history: History, arm_of: dict[str, int]) -> Cells:
        """Returns every measured cell.

        Args:
            history: What was measured; always the same one, later.
            arm_of: Arm of every candidate by id.
        """
        for row in history.rows[self._consumed :]:
            self._arms.append(arm_of[row.candidate_id])
            key = (row.pool, row.seed)
            self._where.append(self.places.setdefault(key, len(self.places)))
            self._rewards.append(row.reward)
        self._consumed = len(history.rows)
        return Cells(
            np.array(self._arms, dtype=np.int64),
            np.array(self._where, dtype=np.int64),
            np.array(self._rewards, dtype=np.float64),
            len(self.places),
        )

    def places_of(self, rows: Iterable[RowKey]) -> Ints:
        """Returns the numbers of rows, those apart that no cell was raced on or measured on."""
        known = (self.places.get(row) for row in rows)
        return np.array(sorted(one for one in known if one is not None), dtype=np.int64)

    def kept(self, history: History, candidate_id: str) -> npt.NDArray[np.bool_]:
        """Returns on which of the rows raced on a candidate was measured or soon is.

        What was asked and failed is not among them.
        """
        mask = np.zeros(len(self.rows), dtype=bool)
        known = history.codes.candidate_ids
        if candidate_id in known:
            measured = self.cells(history, {one: arm for arm, one in enumerate(known)})
            own = measured.rows[measured.arms == known.index(candidate_id)]
            mask[own[own < len(mask)]] = True
        soon = self.places_of(history.pending.get(candidate_id, ()))
        mask[soon[soon < len(mask)]] = True
        return mask

    def asked(self, history: History, candidate_id: str) -> npt.NDArray[np.bool_]:
        """Returns which of the rows raced on a candidate was ever asked."""
        mask = np.zeros(len(self.rows), dtype=bool)
        places, count = self.places, len(self.rows)
        mask[
            [p for row in history.asked(candidate_id) if (p := places.get(row, count)) < count]
        ] = 1
        return mask

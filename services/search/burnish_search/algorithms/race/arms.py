"""The candidates that a race may look at, as columns of numbers.

Column 0 is what all candidates share; then comes one column per option of every slot. Arms that
were measured come first, in the order they were first measured, then those that were not, so that
the same history gives the same numbers in any process. A small space is listed whole; of a large
one only the baseline is, and what draws of effects point to joins it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from burnish_search.algorithms.race.evidence import Ints
from burnish_search.history import History
from burnish_search.model import Candidate
from burnish_search.space import Space

MOST_LISTED = 4096


class Arms:
    """The arms as of one point of a history.

    Attributes:
        columns: Columns of each arm: 0, then its option of every slot.
        offered: Whether each arm may be looked at.
        measured_count: How many were measured; they are the first.
        measured_ids: Ids of their candidates.
        column_count: How many columns there are.
        slots: First column of every slot, and how many it has.
    """

    def __init__(
        self, layout: Layout, columns: Ints, offered: npt.NDArray[np.bool_], measured: Sequence[str]
    ) -> None:
        self._layout = layout
        self.measured_ids = list(measured)
        self.columns = columns
        self.offered = offered
        self.measured_count = len(measured)
        self.column_count = layout.column_count
        self.slots = layout.slots

    def __len__(self) -> int:
        """Returns how many arms there are."""
        return len(self.columns)

    def candidate(self, arm: int) -> Candidate:
        """Returns the candidate of an arm."""
        return self._layout.candidate(tuple(int(one) for one in self.columns[arm, 1:]))

    def place(self, candidate: Candidate) -> int | None:
        """Returns the arm of a candidate that was measured; None when it was not."""
        known = candidate.candidate_id
        return self.measured_ids.index(known) if known in self.measured_ids else None

    def places(self, columns: Ints) -> Ints:
        """Returns the arms that choose these columns, one per row; -1 where there is none."""
        known = {tuple(one): arm for arm, one in enumerate(self.columns.tolist())}
        return np.array([known.get(tuple(one), -1) for one in columns.tolist()], dtype=np.int64)

    def joined(self, more: Ints) -> Arms:
        """Returns the arms with others after them; those already there are left out."""
        known = {tuple(one) for one in self.columns.tolist()}
        fresh = [one for one in dict.fromkeys(map(tuple, more.tolist())) if one not in known]
        if not fresh:
            return self
        columns = np.concatenate([self.columns, np.array(fresh, dtype=np.int64)])
        offered = np.concatenate([self.offered, np.ones(len(fresh), dtype=bool)])
        return Arms(self._layout, columns, offered, self.measured_ids)


class Layout:
    """The columns of one state of a space, and the arms listed of it.

    Attributes:
        key: What it was made for.
        column_count: How many columns there are.
        slots: First column of every slot, and how many it has.
        whole: Whether every arm that is offered is listed.
        offered: Columns that are offered, slot by slot.
    """

    def __init__(self, history: History) -> None:
        space = history.space
        self.key = layout_key(space)
        self._space = space
        self._options = [option for options in space.options for option in options]
        starts = np.cumsum([1, *map(len, space.options)]).tolist()
        self.column_count = starts[-1]
        self.slots = tuple(
            (start, len(options)) for start, options in zip(starts, space.options, strict=False)
        )
        self._column = {
            (slot, option): start + place
            for slot, (start, options) in enumerate(zip(starts, space.options, strict=False))
            for place, option in enumerate(options)
        }
        self.offered = tuple(
            tuple(self._column[slot, option] for option in options)
            for slot, options in enumerate(space.offered)
        )
        self.whole = math.prod(map(len, self.offered)) <= MOST_LISTED
        self._listed = self._list()
        self._places = {tuple(one): place for place, one in enumerate(self._listed.tolist())}
        self._candidates: dict[tuple[int, ...], Candidate] = {}
        self._known: dict[str, tuple[int, ...]] = {}

    def arms(self, history: History) -> Arms:
        """Returns the arms as of now."""
        measured = history.codes.candidate_ids
        rows = [self.columns_of(history, one) for one in measured]
        fresh = np.ones(len(self._listed), dtype=bool)
        fresh[[self._places[row] for row in rows if row in self._places]] = False
        columns = np.concatenate(
            [
                np.array(rows, dtype=np.int64).reshape(len(rows), self._listed.shape[1]),
                self._listed[fresh],
            ]
        )
        offered = np.ones(len(columns), dtype=bool)
        for arm, candidate_id in enumerate(measured):
            offered[arm] = self._space.offers(history.candidates[candidate_id])
        return Arms(self, columns, offered, measured)

    def candidate(self, columns: tuple[int, ...]) -> Candidate:
        """Returns the candidate that chooses these columns."""
        if columns not in self._candidates:
            self._candidates[columns] = self._space.candidate(
                [self._options[column - 1] for column in columns]
            )
        return self._candidates[columns]

    def columns_of(self, history: History, candidate_id: str) -> tuple[int, ...]:
        """Returns the columns that a candidate of a history chooses."""
        found = self._known.get(candidate_id)
        if found is None:
            choices = history.candidates[candidate_id].choices
            found = (0, *(self._column[slot, one] for slot, one in enumerate(choices)))
            self._known[candidate_id] = found
        return found

    def _list(self) -> Ints:
        if self.whole:
            every = list(itertools.product((0,), *self.offered))  # The baseline comes first.
        else:
            every = [(0, *(one[0] for one in self.offered))]
        return np.array(every, dtype=np.int64)


def layout_key(space: Space) -> tuple[object, ...]:
    """Returns what a layout depends on."""
    return (space.revision, tuple(map(tuple, space.offered)))

"""What candidates cost per rollout, told with their rewards: means that rows do not distort.

Rows differ in length, so candidates that were looked at on different rows are compared by the two
together: cost = candidate + row. A candidate's cost is known only when that of all its scored cells
is, for the ones without a price may be the dear ones.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from burnish_search.model import Estimate, Pool

_MOST_SWEEPS = 50
_STILL = 1e-10  # Of the dearest cell: what is left to move after that is rounding.
_Z = 1.96
_DIGITS = 12  # Sums may differ in the last digits from machine to machine.


@dataclass(slots=True)
class _Column:
    """The cells of one objective, as numbers."""

    who: array[int] = field(default_factory=lambda: array("q"))
    where: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    cell_counts: dict[str, int] = field(default_factory=dict)


class Costs:
    """The costs of scored cells, kept up with while they are told."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self._candidates: dict[str, int] = {}
        self._rows: dict[tuple[Pool, int], int] = {}
        self._cell_counts: dict[str, int] = {}

    def add(
        self, candidate_id: str, row: tuple[Pool, int], costs: tuple[tuple[str, float], ...]
    ) -> None:
        """Adds a scored cell and what is known of its costs."""
        who = self._candidates.setdefault(candidate_id, len(self._candidates))
        where = self._rows.setdefault(row, len(self._rows))
        self._cell_counts[candidate_id] = self._cell_counts.get(candidate_id, 0) + 1
        for name, value in costs:
            column = self._columns.setdefault(name, _Column())
            column.who.append(who)
            column.where.append(where)
            column.values.append(value)
            column.cell_counts[candidate_id] = column.cell_counts.get(candidate_id, 0) + 1

    def means(self, objective: str, wanted: Iterable[str]) -> Mapping[str, Estimate]:
        """Returns the mean cost of those among some candidates that it is known of."""
        column = self._columns.get(objective)
        if column is None:
            return {}
        who, where = np.array(column.who), np.array(column.where)
        values = np.array(column.values, dtype=np.float64)
        counts = np.bincount(who, minlength=len(self._candidates))
        row_counts = np.bincount(where, minlength=len(self._rows))
        own = np.zeros(len(counts))
        of_row = np.zeros(len(row_counts))
        still = _STILL * float(np.abs(values).max())
        for _ in range(_MOST_SWEEPS):
            before, own = own, _mean(who, values - of_row[where], counts)
            of_row = _mean(where, values - own[who], row_counts)
            if float(np.abs(own - before).max()) <= still:
                break
        level = float(of_row[row_counts > 0].mean())
        left = values - own[who] - of_row[where]
        freedom = len(values) - int((counts > 0).sum()) - int((row_counts > 0).sum()) + 1
        spread = math.sqrt(float(left @ left) / max(freedom, 1))
        return {
            one: _estimate(float(own[self._candidates[one]]) + level, spread, count)
            for one in wanted
            if (count := column.cell_counts.get(one, 0)) and count == self._cell_counts[one]
        }


def _mean(
    groups: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    sums = np.bincount(groups, weights=values, minlength=len(counts))
    return np.asarray(sums / np.maximum(counts, 1), dtype=np.float64)


def _estimate(mean: float, spread: float, count: int) -> Estimate:
    half = _Z * spread / math.sqrt(count)
    return Estimate(
        mean=round(mean, _DIGITS),
        row_count=count,
        lower=round(max(mean - half, 0.0), _DIGITS),
        upper=round(mean + half, _DIGITS),
    )

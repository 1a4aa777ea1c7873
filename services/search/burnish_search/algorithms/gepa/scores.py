"""What was measured, by candidate and row, and what candidates are worth by the Pareto rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set

from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import History
from burnish_search.model import Pool

_NOTHING: Mapping[RowKey, float] = {}
_UNKNOWN = 0.0


class Scores:
    """Rewards of one history; what it keeps while the history grows is only a cache."""

    def __init__(self) -> None:
        self._history: History | None = None
        self._count = 0
        self._rewards: dict[str, dict[RowKey, float]] = {}
        self._compared: tuple[RowKey, ...] = ()
        self._levels: dict[str, float] = {}

    def read(self, history: History, compared: Sequence[RowKey]) -> None:
        """Takes in what was told since.

        Args:
            history: The history.
            compared: The Pareto rows in use.
        """
        if self._history is not history or self._count > len(history.rows):
            self._history, self._count, self._rewards = history, 0, {}
        for row in history.rows[self._count :]:
            if row.pool is Pool.ONLINE:
                rewards = self._rewards.setdefault(row.candidate_id, {})
                rewards.setdefault((row.pool, row.seed), row.reward)
        self._count = len(history.rows)
        self._compared = tuple(compared)
        self._levels = {}

    def of(self, name: str) -> Mapping[RowKey, float]:
        """Returns a candidate's rewards on the online pool."""
        return self._rewards.get(name, _NOTHING)

    def asked(self, name: str) -> Set[RowKey]:
        """Returns the rows that a candidate was ever asked on."""
        return frozenset() if self._history is None else self._history.asked(name)

    def pending(self, name: str) -> Set[RowKey]:
        """Returns the rows of open works that nothing was told of yet."""
        return frozenset() if self._history is None else self._history.pending.get(name, set())

    def compared(self, name: str) -> dict[RowKey, float]:
        """Returns a candidate's rewards on the Pareto rows in use."""
        own = self.of(name)
        return {row: own[row] for row in self._compared if row in own}

    def level(self, name: str) -> float:
        """Returns what a candidate is worth by the Pareto rows, in reward.

        Its gain over the baseline on the rows that both have, so that candidates measured on
        different rows compare; 0 when nothing is known.
        """
        if name not in self._levels:
            self._levels[name] = self._level(name)
        return self._levels[name]

    def _level(self, name: str) -> float:
        own = self.compared(name)
        if self._history is None or not own:
            return _UNKNOWN
        first = self._history.space.baseline().candidate_id
        control = self.compared(first)
        if name == first or not control:
            return _mean(own.values())
        shared = [row for row in own if row in control]
        if not shared:
            return _mean(own.values())
        return _mean(control.values()) + _mean([own[row] - control[row] for row in shared])


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)

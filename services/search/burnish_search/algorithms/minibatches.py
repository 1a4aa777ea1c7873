"""Which rows a trial is observed on: minibatches drawn without replacement, epoch by epoch.

The pool is shuffled once per epoch, and the epochs laid end to end; minibatch `b` is a stretch of
that line, so it depends on the seed and on `b` alone. A row that the candidate was asked before is
replaced by the next row of the line that it was not.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from burnish_search.algorithms import base
from burnish_search.model import Pool, StudySpec

RowKey = tuple[Pool, int]


class Minibatches:
    """Minibatches of one pool, of one size per call."""

    def __init__(self, spec: StudySpec, pool: Pool, seeds: Sequence[int]) -> None:
        self._spec = spec
        self._pool = pool
        self._seeds = tuple(seeds)
        self._rows = tuple((pool, seed) for seed in seeds)
        self._epochs: list[list[int]] = []

    def draw(self, number: int, size: int, *, asked: Set[RowKey]) -> tuple[RowKey, ...]:
        """Returns at most `size` rows of minibatch `number` that were not asked before.

        Fewer only when the candidate has no more rows in the pool.
        """
        size = min(size, len(self._seeds))
        start = number * size
        rows: dict[RowKey, None] = {}
        # One turn of the line from any start meets every seed within two epochs.
        for offset in range(2 * len(self._seeds)):
            row = (self._pool, self._at(start + offset))
            if row not in asked:
                rows.setdefault(row)
            if len(rows) == size:
                break
        return tuple(rows)

    def left(self, asked: Set[RowKey]) -> int:
        """Returns how many rows of the pool were not asked before."""
        return sum(row not in asked for row in self._rows)

    def has_left(self, asked: Set[RowKey]) -> bool:
        """Whether a row of the pool was not asked before."""
        return len(asked) < len(self._rows) or any(row not in asked for row in self._rows)

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, len(self._seeds))
        while len(self._epochs) <= epoch:
            order = list(self._seeds)
            base.generator(self._spec, "epoch", len(self._epochs)).shuffle(order)
            self._epochs.append(order)
        return self._epochs[epoch][place]

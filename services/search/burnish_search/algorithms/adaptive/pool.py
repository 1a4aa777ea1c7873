"""Which rows are worth a look: anchors that all candidates share, and the most informative others.

The pool of an iteration is a function of what was measured before the pool's last update, so that
the same history gives the same pool in any process. It is chosen in this order:

1. anchors: drawn at first; when the warm-up is over, rows that stand for groups of like rows;
2. rows by informativeness, the variance of their rewards over the best candidates, until they make
   up the share of it that is to be preserved;
3. rows by exploration: those least like the ones that are in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from burnish_search.algorithms import base
from burnish_search.algorithms.adaptive import likeness, schedule
from burnish_search.algorithms.adaptive.settings import PoolSettings
from burnish_search.algorithms.minibatches import Minibatches, RowKey
from burnish_search.algorithms.ranking import Ranking
from burnish_search.history import History, Row
from burnish_search.model import Pool, StudySpec, TrialKind, TrialState

# So many rows and no more are told apart, which bounds what an update takes in any search.
_MOST_ROWS = 10_000
_MOST_SPREAD = 200


class AdaptivePool:
    """The rows of every iteration; what it keeps is only a cache.

    Attributes:
        config: Its settings, fitted to the rows that there are.
        everything: Every row that it may ever hold, the reserve among them.
    """

    def __init__(
        self, spec: StudySpec, pool: Pool, seeds: Sequence[int], config: PoolSettings
    ) -> None:
        """Draws the rows that it starts with.

        Args:
            spec: The study.
            pool: Pool that its rows are of.
            seeds: Rows that there are; at least one.
            config: Settings; sizes that do not fit are clamped.
        """
        self.config = config.fitted(min(len(seeds), _MOST_ROWS))
        self._spec = spec
        order = [(pool, seed) for seed in seeds]
        base.generator(spec, "adaptive pool", 0).shuffle(order)
        self._first = tuple(order[: self.config.pool_init_size])
        given = self.config.heatup_reserve_pool
        self._reserve = (
            tuple(order) if given is None else tuple(dict.fromkeys((pool, seed) for seed in given))
        )
        self.everything = tuple(dict.fromkeys((*order, *self._reserve)))
        self._ranking = Ranking()
        self._chosen: dict[tuple[int, int], tuple[RowKey, ...]] = {}
        self._anchors: dict[int, tuple[RowKey, ...]] = {}

    def rows(self, history: History, iteration: int) -> tuple[tuple[RowKey, ...], int]:
        """Returns an iteration's rows, anchors first, and how many of them are anchors."""
        config = self.config
        update = schedule.update_before(config, iteration)
        size = schedule.size_at(config, update)
        if not update or size >= len(self._first):
            anchors = self._anchors_of(history, update)
            return _joined(anchors, self._first), len(anchors)
        known = _known_before(history, update)
        if (update, known) not in self._chosen:
            self._chosen[update, known] = self._choose(history, update, known, size)
        return self._chosen[update, known], len(self._anchors_of(history, update))

    def heated(self, trial: int, rows: Sequence[RowKey], *, trials_per_iteration: int) -> int:
        """Returns which heat-up a trial falls into, from 0; -1 for none or nothing to bring."""
        turn = schedule.heat_at(self.config, trial, trials_per_iteration=trials_per_iteration)
        return -1 if turn is None or not self._absent(rows) else turn

    def returning(self, turn: int, rows: Sequence[RowKey]) -> tuple[RowKey, ...]:
        """Returns the rows that come back in a heat-up beside those that are in."""
        absent = self._absent(rows)
        places = schedule.wave(len(absent), self.config.heatup_size, turn)
        return tuple(absent[place] for place in places)

    def _absent(self, rows: Sequence[RowKey]) -> list[RowKey]:
        inside = set(rows)
        return [row for row in self._reserve if row not in inside]

    def _anchors_of(self, history: History, update: int) -> tuple[RowKey, ...]:
        """Returns the anchors: those drawn first, or what stands for the rows after warm-up."""
        count = self.config.anchor_size
        drawn = self._first[:count]
        if self.config.anchor_selection_method == "random" or not update:
            return drawn
        known = _known_before(history, max(self.config.warmup_iters, 1))
        if known not in self._anchors:
            points = likeness.vectors(history.rows[:known], self._first)
            randomness = base.generator(self._spec, "anchors", 0)
            found = likeness.medoids(points, count, randomness)
            self._anchors[known] = tuple(self._first[place] for place in found)
        return self._anchors[known]

    def _choose(self, history: History, update: int, known: int, size: int) -> tuple[RowKey, ...]:
        config = self.config
        anchors = self._anchors_of(history, update)
        places = {row: place for place, row in enumerate(self._first)}
        inside = [places[row] for row in anchors]
        measured = history.rows[:known]
        told = informativeness(
            measured,
            self._ranking.leaders(history, row_count=known, count=config.k_info_prompts),
            least=min(config.min_evals_per_example, max(config.k_info_prompts, 1)),
        )
        worth = [told.get(row, 0.0) for row in self._first]
        wanted = config.info_buffer_factor * (sum(worth) + config.info_epsilon)
        kept = sum(worth[place] for place in inside)
        for place in sorted(set(range(len(worth))) - set(inside), key=lambda at: (-worth[at], at)):
            if len(inside) >= size or not worth[place] or kept >= wanted:
                break
            inside.append(place)
            kept += worth[place]
        inside += self._explored(measured, inside, size - len(inside), update)
        return _joined(anchors, [self._first[place] for place in inside])

    def _explored(
        self, measured: Sequence[Row], inside: Sequence[int], count: int, update: int
    ) -> list[int]:
        randomness = base.generator(self._spec, "exploration", update)
        found: list[int] = []
        if self.config.exploration_strategy == "diversity":
            points = likeness.vectors(measured, self._first)
            spread = min(count, _MOST_SPREAD)
            found = likeness.spread_out(points, inside, spread, randomness)
        outside = sorted(set(range(len(self._first))) - {*inside, *found})
        return found + randomness.sample(outside, min(count - len(found), len(outside)))


class AdaptiveMinibatches:
    """Minibatches of an adaptive pool: anchors first, the same for every candidate."""

    def __init__(self, pool: AdaptivePool, spec: StudySpec, *, trials_per_iteration: int) -> None:
        self._pool = pool
        self._spec = spec
        self._per_iteration = trials_per_iteration
        self._drawn_from: dict[tuple[RowKey, ...], Minibatches] = {}
        self._everything = _drawer(spec, pool.everything)

    def draw(
        self, history: History, number: int, size: int, *, asked: Set[RowKey]
    ) -> tuple[RowKey, ...]:
        """Returns at most `size` rows of minibatch `number` that were not asked before.

        Fewer when the pool of the iteration holds no more; rows from outside it only for a
        candidate that has seen all of it.
        """
        rows, anchor_count = self._pool.rows(history, number // self._per_iteration)
        turn = self._pool.heated(number, rows, trials_per_iteration=self._per_iteration)
        if turn >= 0:
            rows = (*rows, *self._pool.returning(turn, rows))
        first = [row for row in rows[:anchor_count] if row not in asked][:size]
        rest = rows[anchor_count:]
        if rest and len(first) < size:
            if rest not in self._drawn_from:
                self._drawn_from[rest] = _drawer(self._spec, rest)
            left = size - len(first)
            first += self._drawn_from[rest].draw(number, left, asked=asked)
        return tuple(first) or self._everything.draw(number, size, asked=asked)

    def has_left(self, asked: Set[RowKey]) -> bool:
        """Whether any row was not asked before."""
        return self._everything.has_left(asked)


def informativeness(
    measured: Sequence[Row], leaders: Sequence[str], *, least: int
) -> Mapping[RowKey, float]:
    """Returns the variance of the best candidates' rewards on each row.

    Args:
        measured: Measured cells.
        leaders: The best candidates.
        least: Rewards that a row needs for its variance to count.
    """
    wanted = set(leaders)
    rewards: dict[RowKey, list[float]] = {}
    for row in measured:
        if row.candidate_id in wanted:
            rewards.setdefault((row.pool, row.seed), []).append(row.reward)
    return {key: float(np.var(values)) for key, values in rewards.items() if len(values) >= least}


def _known_before(history: History, iteration: int) -> int:
    """Returns how many cells were measured when the first trial of an iteration was due."""
    known = len(history.prior_rows())
    for trial in history.trials:
        if trial.kind is TrialKind.MINIBATCH and trial.iteration >= iteration:
            break
        if trial.state is not TrialState.ACTIVE:
            known = max(known, trial.rows_at_close)
    return known


def _drawer(spec: StudySpec, rows: Sequence[RowKey]) -> Minibatches:
    return Minibatches(spec, rows[0][0], [seed for _, seed in rows])


def _joined(anchors: Sequence[RowKey], rows: Sequence[RowKey]) -> tuple[RowKey, ...]:
    return tuple(dict.fromkeys((*anchors, *rows)))

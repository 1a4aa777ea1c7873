"""The mixed model of a race: what the measured cells say of every arm, seen or unseen.

    reward = level + row + slope(row) * (sum of option effects + own effect of the arm) + noise

Every term is normal. A row's ease is integrated out exactly, one scalar per row (Woodbury). Its
slope is the linearised Rasch weight: a row that everybody gets right, or nobody, tells nothing.
Effects are the unknowns of a linear system with one column per option and one per arm of those
measured most; arms without a column of their own count their own effect as noise, so that the cost
is linear in arms and cells.

The scale of the effects, their split between options and arms, and the rows' share of the variance
are chosen by marginal likelihood, with a mild prior on the scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from burnish_search.algorithms.race.arms import Arms
from burnish_search.algorithms.race.evidence import Cells, Floats, Ints

_SCALES = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
_ROW_SHARES = (0.3, 0.5, 0.7, 0.85, 0.95, 0.99)
# Variance shares of instructions, demo sets and single candidates.
_PROFILES = ((0.30, 0.35, 0.35), (0.05, 0.05, 0.90))
_LEVEL_VARIANCE = 0.05
_LEAST_VARIANCE = 0.02
_USUAL_SCALE = 0.05
_SCALE_SPREAD = 1.5
_PSEUDO_COUNT = 4.0
_SLOPES = (0.05, 4.0)
_MOST_OWN = 256
_OWN_OF_MANY = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Which terms the model has.

    Attributes:
        factors: Effects of options.
        row_effects: Effects of rows.
        slopes: Slopes of rows.
    """

    factors: bool = True
    row_effects: bool = True
    slopes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """What the model takes for given.

    Attributes:
        scale: Standard deviation between candidates.
        row_share: Share of the other variance that is the rows'.
        profile: Which split between options and candidates.
    """

    scale: float = 0.04
    row_share: float = 0.5
    profile: int = 0


class Model:
    """The cells, summed up once; posteriors for any variances follow from that.

    Attributes:
        slopes: Slope of every row.
        mean: Mean reward.
    """

    def __init__(self, arms: Arms, cells: Cells, structure: Structure) -> None:
        self._arms = arms
        self._structure = structure
        self._cells = cells
        # Arms are numbered as they were first measured.
        self._measured_count = int(cells.arms.max()) + 1
        self.row_counts = np.bincount(cells.rows, minlength=cells.row_count).astype(float)
        self.mean = float(cells.rewards.mean())
        spread = float((cells.rewards**2).mean()) - self.mean**2
        self._variance = max(spread, _LEAST_VARIANCE)
        self.slopes = self._row_slopes() if structure.slopes else np.ones(cells.row_count)
        self.own = self._own_columns()

    def best(self) -> Variances:
        """Returns the variances under which the cells are most likely; the scale is a mean."""
        found = Variances()
        shares = _ROW_SHARES if self._structure.row_effects else (0.0,)
        profiles = range(len(_PROFILES)) if self._factored else (0,)
        found = replace(found, row_share=shares[len(shares) // 2])
        for _ in range(2):
            found = self._likeliest([replace(found, scale=scale) for scale in _SCALES])
            found = self._likeliest([replace(found, row_share=share) for share in shares])
            found = self._likeliest([replace(found, profile=one) for one in profiles])
        scores = np.array([self._score(replace(found, scale=scale)) for scale in _SCALES])
        weights = np.exp(scores - scores.max())
        return replace(found, scale=float(weights @ np.array(_SCALES) / weights.sum()))

    def posterior(self, variances: Variances) -> Posterior:
        """Returns the posterior under some variances."""
        return Posterior(self, self._arms, self._solved(variances))

    @property
    def _factored(self) -> bool:
        return self._structure.factors and sum(count > 1 for _, count in self._arms.slots) > 1

    def _likeliest(self, choices: Sequence[Variances]) -> Variances:
        return choices[0] if len(choices) == 1 else max(choices, key=self._score)

    def _score(self, variances: Variances) -> float:
        away = math.log(variances.scale / _USUAL_SCALE) / _SCALE_SPREAD
        return self._solved(variances).likelihood - 0.5 * away * away

    def _row_slopes(self) -> Floats:
        cells, counts = self._cells, self.row_counts
        sums = np.bincount(cells.rows, cells.rewards, minlength=cells.row_count)
        squares = np.bincount(cells.rows, cells.rewards**2, minlength=cells.row_count)
        shrunk = (sums + _PSEUDO_COUNT * self.mean) / (counts + _PSEUDO_COUNT)
        usual = float((cells.rewards**2).mean())
        second = (squares + _PSEUDO_COUNT * usual) / (counts + _PSEUDO_COUNT)
        spread = np.maximum(second - shrunk**2, 1e-6)
        return np.asarray(np.clip(spread / spread.mean(), *_SLOPES))

    def _own_columns(self) -> Ints:
        """Returns the arms that get a column of their own: those measured most."""
        counts = np.bincount(self._cells.arms, minlength=len(self._arms))
        measured = self._measured_count
        most = measured if measured <= _MOST_OWN else _OWN_OF_MANY
        return np.argsort(-counts, kind="stable")[:most]

    def prior(self, variances: Variances) -> tuple[Floats, float]:
        """Returns the prior variance of every column, and of an arm's own effect."""
        slots = [(start, count) for start, count in self._arms.slots if count > 1]
        square = variances.scale**2
        size = self._arms.column_count
        prior = np.full(size + len(self.own), 1e-12)
        prior[0] = _LEVEL_VARIANCE
        own = 1.0
        if self._factored:
            shares = _PROFILES[variances.profile]
            kinds = [place % 2 for place, (_, count) in enumerate(self._arms.slots) if count > 1]
            total = sum(shares[kind] for kind in set(kinds)) + shares[2]
            for (start, count), kind in zip(slots, kinds, strict=True):
                prior[start : start + count] = square * shares[kind] / kinds.count(kind) / total
            own = shares[2] / total
        prior[size:] = square * own
        return prior, square * own

    def columns(self) -> Ints:
        """Returns the columns of every arm; one past the last stands for no column."""
        own = np.full(len(self._arms), self._arms.column_count + len(self.own))
        own[self.own] = self._arms.column_count + np.arange(len(self.own))
        return np.column_stack([self._arms.columns, own])

    def _solved(self, variances: Variances) -> Solved:
        prior, own = self.prior(variances)
        row, noise = self._split(variances)
        sums = self._sums(own / noise)
        counts, slopes = sums.counts, self.slopes
        shrink = row / (noise * (noise * slopes + counts * row))
        gram = sums.gram / noise - (sums.spread * (shrink * slopes)) @ sums.spread.T
        right = sums.rewards / noise - sums.spread @ (shrink * sums.residuals)
        variance = noise * slopes
        square = float((sums.squares / variance).sum())
        square -= float((shrink / slopes * sums.residuals**2).sum())
        determinant = float(
            (counts * np.log(variance)).sum() + np.log1p(counts * row / variance).sum()
        )
        root = np.sqrt(prior)
        inner = np.eye(len(prior)) + root[:, None] * gram * root
        lower = np.linalg.cholesky(inner)
        half = np.linalg.solve(lower, root * right)
        likelihood = -0.5 * (
            determinant + 2.0 * float(np.log(np.diag(lower)).sum()) + square - float(half @ half)
        )
        return Solved(
            likelihood=likelihood,
            lower=np.asarray(lower, dtype=np.float64),
            half=half,
            root=root,
            own=own,
            row=row,
            noise=noise,
            sums=sums,
        )

    def _split(self, variances: Variances) -> tuple[float, float]:
        share = variances.row_share
        return self._variance * share, self._variance * (1.0 - share)

    def _sums(self, own_ratio: float) -> Sums:
        cells = self._cells
        slopes = self.slopes[cells.rows]
        columns = self.columns()
        size = self._arms.column_count + len(self.own)
        weights = np.ones(len(self._arms))
        if len(self.own) < self._measured_count:
            information = _totals(cells.arms, slopes, len(self._arms))
            weights = 1.0 / (1.0 + own_ratio * information)
            weights[self.own] = 1.0
        return Sums.of(columns, size, cells, weights, slopes, self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the system is made of.

    Attributes:
        counts: Weight of the cells of every row.
        residuals: Sum of the rewards of every row, less the mean.
        squares: Sum of their squares.
        spread: Weight of the cells by column and row.
        gram: Sums over cells of the products of columns, by slope.
        rewards: Rewards less the mean, by column.
    """

    counts: Floats
    residuals: Floats
    squares: Floats
    spread: Floats
    gram: Floats
    rewards: Floats

    @classmethod
    def of(
        cls, columns: Ints, size: int, cells: Cells, weights: Floats, slopes: Floats, mean: float
    ) -> Sums:
        """Sums up cells."""
        count = cells.row_count
        weight = weights[cells.arms]
        residual = (cells.rewards - mean) * weight
        spread = np.zeros((size + 1) * count)
        for place in range(columns.shape[1]):
            where = columns[cells.arms, place] * count + cells.rows
            spread += np.bincount(where, weight, minlength=len(spread))
        by_arm = np.bincount(cells.arms, slopes * weight, minlength=len(columns))
        totals = np.bincount(cells.arms, residual, minlength=len(columns))
        gram = np.zeros((size + 1) ** 2)
        rewards = np.zeros(size + 1)
        for left in columns.T:
            rewards += np.bincount(left, totals, minlength=size + 1)
            for right in columns.T:
                gram += np.bincount(left * (size + 1) + right, by_arm, minlength=len(gram))
        return cls(
            counts=_totals(cells.rows, weight, count),
            residuals=_totals(cells.rows, residual, count),
            squares=_totals(cells.rows, residual * (cells.rewards - mean), count),
            spread=spread.reshape(size + 1, count)[:size],
            gram=gram.reshape(size + 1, size + 1)[:size, :size],
            rewards=rewards[:size],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """The system, solved for some variances."""

    likelihood: float
    lower: Floats
    half: Floats
    root: Floats
    own: float
    row: float
    noise: float
    sums: Sums


def _totals(places: Ints, values: Floats, count: int) -> Floats:
    return np.asarray(np.bincount(places, values, minlength=count), dtype=np.float64)


class Posterior:
    """What is believed of every arm.

    Attributes:
        worth: Mean of every arm's worth, on the scale of the mean reward.
        levels: Mean reward that every arm is expected to have over all rows.
    """

    def __init__(self, model: Model, arms: Arms, solved: Solved) -> None:
        self._columns = model.columns()
        self._solved = solved
        inverse = np.linalg.inv(solved.lower)
        self._spread = solved.root[:, None] * inverse.T
        self._effects = self._spread @ solved.half
        self._without = np.ones(len(arms), dtype=bool)
        self._without[model.own] = False
        worth = self._worth(self._effects[:, None])[:, 0]
        self.worth = model.mean + worth
        self.levels = self._level(model, worth)

    def draws(self, count: int, rng: np.random.Generator) -> Floats:
        """Draws the worth of every arm; one column per draw."""
        noise = rng.standard_normal((len(self._effects), count))
        drawn = self._worth(self._effects[:, None] + self._spread @ noise)
        fresh = int(self._without.sum())
        if fresh:
            drawn[self._without] += math.sqrt(self._solved.own) * rng.standard_normal(
                (fresh, count)
            )
        return drawn

    def effects(self, count: int, rng: np.random.Generator) -> Floats:
        """Draws the effects of the columns; one column per draw."""
        noise = rng.standard_normal((len(self._effects), count))
        return np.asarray(self._effects[:, None] + self._spread @ noise)

    def deviations(self, arms: Ints) -> Floats:
        """Returns the posterior standard deviations of arms' mean rewards over other rows too."""
        padded = np.vstack([self._spread, np.zeros(self._spread.shape[1])])
        chosen = padded[self._columns[arms]].sum(axis=1)
        square = (chosen**2).sum(axis=1) + self._without[arms] * self._solved.own
        rows = max(int(np.count_nonzero(self._solved.sums.counts)), 1)
        return np.asarray(np.sqrt(square + self._solved.row / rows))

    def _worth(self, effects: Floats) -> Floats:
        padded = np.vstack([effects, np.zeros(effects.shape[1])])
        total = padded[self._columns[:, 0]]
        for column in self._columns.T[1:]:
            total += padded[column]
        return np.asarray(total)

    def _level(self, model: Model, worth: Floats) -> Floats:
        sums, solved = self._solved.sums, self._solved
        seen = sums.counts > 0
        counts, slopes = sums.counts[seen], model.slopes[seen]
        # What is left of every row's rewards once the arms seen on it are accounted for.
        left = sums.residuals[seen] - slopes * (self._effects @ sums.spread[:, seen])
        weights = 1.0 / (solved.row + solved.noise / counts)
        level = float((weights * left / counts).sum() / weights.sum())
        return np.asarray(model.mean + level + worth * float(slopes.mean()))

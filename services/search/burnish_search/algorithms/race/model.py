"""The mixed model of a race: what the measured cells say of every arm, seen or unseen.

    logit(reward) = level + ease of the row + sum of option effects + own effect of the arm

Every term is normal. On this scale a row that everybody gets right tells little of anybody, with
no weight of its own, and no arm can be better than right. Rewards between 0 and 1 count as shares,
with as much noise as they show. The posterior is the normal around its peak (Laplace), found by
Newton's method; rows are eliminated exactly, one scalar per row, so the linear system has one
column per option and one per arm of those measured most. Arms without a column of their own count
their own effect as noise: the cost is linear in arms and cells.

The scale of the effects, their split between options and arms, how far the baseline may be apart
and how much rows differ are chosen by marginal likelihood, with a mild prior on the scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from burnish_search.algorithms.race import triangular
from burnish_search.algorithms.race.arms import Arms
from burnish_search.algorithms.race.derivatives import Point, Step
from burnish_search.algorithms.race.evidence import Cells, Floats, Ints

_SCALES = (0.03, 0.08, 0.2, 0.4, 0.8, 1.6)
_EASES = (0.7, 1.2, 2.0, 3.2, 5.0, 8.0)
_NO_EASE = 1e-3
_LARGE_SCALE = 0.8
# Variance shares of instructions, demo sets and single candidates, and how many times as large the
# variance is of the baseline and its options: a prompt in use is not drawn from what was proposed.
_PROFILES = ((0.30, 0.35, 0.35, 1.0), (0.05, 0.05, 0.90, 1.0), (0.30, 0.35, 0.35, 9.0))
_EXCHANGEABLE = (0, 1, 0)
_LEVEL_VARIANCE = 4.0
_USUAL_SCALE = 0.4
_SCALE_SPREAD = 1.5
_LEAST_DISPERSION = 0.02
_EXTREME = 0.02
_LONGEST_STEP = 2.0
_FIRST_STEPS = 5
_STEPS = 2
_MOST_OWN = 256
_OWN_OF_MANY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Which terms the model has.

    Attributes:
        factors: Effects of options.
        row_effects: Effects of rows.
    """

    factors: bool = True
    row_effects: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """What the model takes for given.

    Attributes:
        scale: Standard deviation between candidates.
        ease: Standard deviation between rows.
        profile: Which split between options and candidates, and how far the baseline is apart.
    """

    scale: float = 0.3
    ease: float = 2.0
    profile: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Where a posterior has its peak.

    Attributes:
        options: Effect of every column but arms' own.
        own: Own effect of every arm, 0 for those without a column.
        ease: Ease of every row.
    """

    options: Floats
    own: Floats
    ease: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Variances that were chosen.

    Attributes:
        variances: The variances.
        peak: The peak under them.
    """

    variances: Variances
    peak: Peak


class Model:
    """The cells as a system of equations; posteriors for any variances follow from that."""

    def __init__(self, arms: Arms, cells: Cells, structure: Structure) -> None:
        self.arms = arms
        self.cells = cells
        self._structure = structure
        # Arms are numbered as they were first measured.
        self._measured_count = int(cells.arms.max()) + 1
        mean = float(cells.rewards.mean())
        within = min(max(mean, _EXTREME), 1.0 - _EXTREME)
        self.offset = math.log(within / (1.0 - within))
        spread = float(cells.rewards.var()) / (within * (1.0 - within))
        binary = bool(np.all((cells.rewards == 0.0) | (cells.rewards == 1.0)))
        self.dispersion = 1.0 if binary else min(max(spread, _LEAST_DISPERSION), 1.0)
        self.own = self._own_columns()
        self.columns = self._columns()
        self.size = arms.column_count + len(self.own)
        self._baseline = self._baseline_columns()
        taken = self.columns[cells.arms].T
        self._spread_places = (taken * cells.row_count + cells.rows).ravel()
        seen = self.columns[: self._measured_count].T
        self._gram_places = (seen[:, None] * (self.size + 1) + seen[None]).ravel()
        self._pull_places = seen.ravel()

    def best(self) -> Choice:
        """Returns the likeliest variances, the scale as a mean, and the peak under them."""
        eases: Sequence[float] = _EASES if self._structure.row_effects else (_NO_EASE,)
        found = Variances(ease=eases[len(eases) // 2])
        peak = self.fit(found, None, steps=_FIRST_STEPS).peak(self)
        if len(eases) > 1:
            found, peak = self._likeliest([replace(found, ease=one) for one in eases], peak)
        if self.factored:
            profiles = range(len(_PROFILES))
            found, peak = self._likeliest([replace(found, profile=one) for one in profiles], peak)
        fits = [self.fit(replace(found, scale=scale), peak, steps=1) for scale in _SCALES]
        scores = np.array([_score(one) for one in fits])
        weights = np.exp(scores - scores.max())
        mean = float(weights @ np.array(_SCALES) / weights.sum())
        chosen = replace(found, scale=mean)
        return Choice(variances=chosen, peak=self.fit(chosen, peak, steps=_FIRST_STEPS).peak(self))

    def strength(self, choice: Choice) -> float:
        """Returns how much likelier large differences between candidates are than none.

        Args:
            choice: Variances, but for the scale, and a peak that is not far.

        Returns:
            A logarithm: below 0 speaks against differences.
        """
        # A baseline that is to be far apart and is not would speak against the others, too.
        known = replace(choice.variances, profile=_EXCHANGEABLE[choice.variances.profile])
        large, none = (
            self.fit(replace(known, scale=scale), choice.peak).likelihood
            for scale in (_LARGE_SCALE, _SCALES[0])
        )
        return large - none

    def _likeliest(self, choices: Sequence[Variances], start: Peak) -> tuple[Variances, Peak]:
        fits = [self.fit(one, start, steps=1) for one in choices]
        best = max(fits, key=_score)
        return best.variances, best.peak(self)

    @property
    def factored(self) -> bool:
        """Whether options have effects that several candidates share."""
        return self._structure.factors and sum(count > 1 for _, count in self.arms.slots) > 1

    def _own_columns(self) -> Ints:
        """Returns the arms that get a column of their own: those measured most."""
        counts = np.bincount(self.cells.arms, minlength=len(self.arms))
        measured = self._measured_count
        most = measured if measured <= _MOST_OWN else _OWN_OF_MANY
        return np.argsort(-counts, kind="stable")[:most]

    def _columns(self) -> Ints:
        """Returns the columns of every arm; one past the last stands for no column."""
        own = np.full(len(self.arms), self.arms.column_count + len(self.own))
        own[self.own] = self.arms.column_count + np.arange(len(self.own))
        return np.column_stack([self.arms.columns, own])

    def _baseline_columns(self) -> Ints:
        """Returns the columns of the baseline but the first: every slot's first option is its."""
        options = np.array([start for start, _ in self.arms.slots], dtype=np.int64)
        own = np.flatnonzero((self.arms.columns[self.own, 1:] == options).all(axis=1))
        return np.concatenate([options, self.arms.column_count + own])

    def prior(self, variances: Variances) -> tuple[Floats, float]:
        """Returns the prior variance of every column, and of an arm's own effect."""
        kinds = [place % 2 for place, (_, count) in enumerate(self.arms.slots) if count > 1]
        slots = [(start, count) for start, count in self.arms.slots if count > 1]
        square = variances.scale**2
        prior = np.full(self.size, 1e-12)
        prior[0] = _LEVEL_VARIANCE
        own = 1.0
        if self.factored:
            shares = _PROFILES[variances.profile]
            total = sum(shares[kind] for kind in set(kinds)) + shares[2]
            for (start, count), kind in zip(slots, kinds, strict=True):
                prior[start : start + count] = square * shares[kind] / kinds.count(kind) / total
            own = shares[2] / total
        prior[self.arms.column_count :] = square * own
        if self.factored:
            prior[self._baseline] *= _PROFILES[variances.profile][3]
        return prior, square * own

    def fit(self, variances: Variances, start: Peak | None, *, steps: int = _STEPS) -> Fit:
        """Finds the peak of the posterior, from a start that is near it, or from none."""
        prior, own = self.prior(variances)
        root, stiff = np.sqrt(prior), variances.ease**-2
        effects, ease = self._started(start)
        point = self._point(effects, ease, own)
        for _ in range(steps):
            step = self._step(point)
            depth = point.rows + stiff
            told = step.spread / np.sqrt(depth)
            inner = root[:, None] * (step.gram - told @ told.T) * root
            inner[np.diag_indices(self.size)] += 1.0
            pull = step.row_pull - ease * stiff
            right = root * (step.pull - step.spread @ (pull / depth)) - effects / root
            # By the inverse of the root, as whoever asks for variances needs that anyway.
            lower = np.asarray(np.linalg.cholesky(inner), dtype=np.float64)
            inverse = triangular.inverse(lower)
            change = _short(root * ((inverse @ right) @ inverse))
            ease = ease + _short((pull - change @ step.spread) / depth)
            effects = effects + change
            point = self._point(effects, ease, own)
        likelihood = self._likelihood(point) - 0.5 * float(
            (effects**2 / prior).sum()
            + (ease**2).sum() * stiff
            - 2.0 * np.log(np.diag(inverse)).sum()
            + np.log(depth / stiff).sum()
        )
        return Fit(
            variances=variances,
            likelihood=likelihood,
            effects=effects,
            ease=ease,
            spread=root[:, None] * inverse.T,
            own=own,
            rows=point.rows,
        )

    def _started(self, start: Peak | None) -> tuple[Floats, Floats]:
        effects, ease = np.zeros(self.size), np.zeros(self.cells.row_count)
        if start is not None:
            effects[: self.arms.column_count] = start.options
            known = self.own < len(start.own)
            effects[self.arms.column_count :][known] = start.own[self.own[known]]
            ease[: len(start.ease)] = start.ease
        return effects, ease

    def worth(self, effects: Floats) -> Floats:
        """Returns the sum of every arm's columns, for every column of effects."""
        padded = np.vstack([effects, np.zeros(effects.shape[1])])
        total = padded[self.columns[:, 0]]
        for column in self.columns.T[1:]:
            total += padded[column]
        return np.asarray(total)

    def _point(self, effects: Floats, ease: Floats, own: float) -> Point:
        cells = self.cells
        worth = self.offset + self.worth(effects[:, None])[:, 0]
        share = 1.0 / (1.0 + np.exp(-(worth[cells.arms] + ease[cells.rows])))
        weight = np.maximum(share * (1.0 - share), 1e-9) / self.dispersion
        pull = (cells.rewards - share) / self.dispersion
        if len(self.own) < self._measured_count:
            known = np.ones(len(self.arms))
            known /= 1.0 + own * np.bincount(cells.arms, weight, minlength=len(known))
            known[self.own] = 1.0
            weight, pull = weight * known[cells.arms], pull * known[cells.arms]
        rows = np.bincount(cells.rows, weight, minlength=cells.row_count)
        return Point(share=share, weight=weight, pull=pull, rows=np.asarray(rows, dtype=np.float64))

    def _likelihood(self, point: Point) -> float:
        rewards, margin = self.cells.rewards, np.clip(point.share, 1e-9, 1.0 - 1e-9)
        logs = rewards * np.log(margin) + (1.0 - rewards) * np.log1p(-margin)
        return float(logs.sum()) / self.dispersion

    def _step(self, point: Point) -> Step:
        cells, count, weight = self.cells, self.cells.row_count, point.weight
        width, slots = self.size + 1, self.columns.shape[1]
        measured = self._measured_count
        by_arm = np.bincount(cells.arms, weight, minlength=measured)
        pulled = np.bincount(cells.arms, point.pull, minlength=measured)
        by_row = np.bincount(cells.rows, point.pull, minlength=count)
        spread = np.bincount(self._spread_places, np.tile(weight, slots), minlength=width * count)
        gram = np.bincount(self._gram_places, np.tile(by_arm, slots**2), minlength=width**2)
        total = np.bincount(self._pull_places, np.tile(pulled, slots), minlength=width)
        return Step(
            row_pull=np.asarray(by_row, dtype=np.float64),
            spread=np.asarray(spread, dtype=np.float64).reshape(width, count)[: self.size],
            gram=np.asarray(gram, dtype=np.float64).reshape(width, width)[: self.size, : self.size],
            pull=np.asarray(total[: self.size], dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A posterior: the normal around its peak.

    Attributes:
        variances: What was taken for given.
        likelihood: Logarithm of the marginal likelihood.
        effects: Effect of every column.
        ease: Ease of every row.
        spread: A root of the covariance of the effects.
        own: Prior variance of an arm's own effect.
        rows: Weight of the cells of every row.
    """

    variances: Variances
    likelihood: float
    effects: Floats
    ease: Floats
    spread: Floats
    own: float
    rows: Floats

    def peak(self, model: Model) -> Peak:
        """Returns the peak, to start from elsewhere."""
        count = model.arms.column_count
        own = np.zeros(len(model.arms))
        own[model.own] = self.effects[count:]
        return Peak(options=self.effects[:count], own=own, ease=self.ease)


def _short(step: Floats) -> Floats:
    return np.asarray(np.clip(step, -_LONGEST_STEP, _LONGEST_STEP))


def _score(fit: Fit) -> float:
    away = math.log(fit.variances.scale / _USUAL_SCALE) / _SCALE_SPREAD
    return fit.likelihood - 0.5 * away * away

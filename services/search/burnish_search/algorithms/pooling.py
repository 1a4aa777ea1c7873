"""The pooled estimate: what all trials together say of one candidate.

A minibatch of ten has a standard error of .15, so no trial is believed by itself. The model is

    reward = mean + row + sum over slots of (option) + candidate + noise

with every term but the mean drawn from a normal of its own variance: `row` is how easy the data
row is, shared by all candidates seen on it; an option's effect is shared by all candidates that
choose it; `candidate` is what the options do not explain. Shares of the candidate variance are
fixed (instructions .30, demo sets .35, rest .35, as measured on real factorial designs); its scale
and the rows' share of the remaining variance are chosen by restricted marginal likelihood
(empirical Bayes). With few rows everything shrinks toward the mean.

The rows are integrated out exactly (Woodbury, one scalar per row), so the linear algebra has the
size of the candidates seen, not of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from burnish_search.history import Codes, History
from burnish_search.model import Candidate

_INSTRUCTION_SHARE = 0.30
_DEMO_SET_SHARE = 0.35
_CANDIDATE_SHARE = 0.35
_SCALES = (0.01, 0.02, 0.04, 0.08, 0.16)
_ROW_SHARES = (0.1, 0.3, 0.5, 0.7, 0.85)
_LEAST_VARIANCE = 1e-4
_ALWAYS_BELOW = 64
_GROWTH = 1.2

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """The variances of the model.

    Attributes:
        scale: Standard deviation between candidates.
        row: Variance of the rows' ease.
        noise: Variance that nothing explains.
    """

    scale: float
    row: float
    noise: float


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The rows, summed up.

    Attributes:
        counts: Observations by candidate and row.
        sums: Rewards by candidate and row.
        squares: Sum of squared rewards.
    """

    counts: Array
    sums: Array
    squares: float


@dataclass(frozen=True, slots=True)
class _Fit:
    likelihood: float
    mean: float
    mean_variance: float
    weights: Array
    unit_weights: Array
    precision: Array
    mixed: Array


class Pooled:
    """Posterior of candidates' mean rewards.

    Attributes:
        candidates: Candidates with at least one row, in the order they were first measured.
        row_counts: How many rows each of them has, by id.
    """

    def __init__(
        self,
        codes: Codes,
        known: Mapping[str, Candidate],
        *,
        row_count: int,
        variances: Variances | None = None,
    ) -> None:
        """Fits the model.

        Args:
            codes: Measured cells.
            known: Candidates by id.
            row_count: How many of the cells to use, at least 1.
            variances: Variances to use; None finds them.
        """
        evidence = _evidence(codes, row_count)
        self.candidates = [known[one] for one in codes.candidate_ids[: len(evidence.counts)]]
        self.row_counts = {
            candidate.candidate_id: int(count)
            for candidate, count in zip(self.candidates, evidence.counts.sum(axis=1), strict=True)
        }
        kernel = _kernel(self.candidates, self.candidates)
        self.variances = variances if variances is not None else _best(evidence, kernel)
        self._fit = _fitted(evidence, kernel, self.variances)

    def means(self, candidates: Sequence[Candidate]) -> Array:
        """Returns the posterior mean of each candidate's mean reward, seen or unseen."""
        return self._fit.mean + self._cross(candidates) @ self._fit.weights

    def deviations(self, candidates: Sequence[Candidate]) -> Array:
        """Returns the posterior standard deviation of each candidate's mean reward."""
        fit, cross = self._fit, self._cross(candidates)
        information = np.linalg.solve(fit.mixed, fit.precision @ cross.T)
        explained = np.einsum("ij,ji->i", cross, information)
        level = fit.mean_variance * (1.0 - cross @ fit.unit_weights) ** 2
        spread = np.maximum(self.variances.scale**2 - explained + level, 0.0)
        return np.asarray(np.sqrt(spread), dtype=np.float64)

    def promising(self) -> Candidate:
        """Returns the candidate with the best option of every slot, which may be unseen."""
        first = self.candidates[0]
        choices = []
        for slot in range(len(first.choices)):
            effects: dict[str, float] = {}
            for candidate, weight in zip(self.candidates, self._fit.weights, strict=True):
                option = candidate.choices[slot]
                effects[option] = effects.get(option, 0.0) + float(weight)
            choices.append(max(effects, key=lambda option: effects[option]))
        return Candidate.of(first.stage_ids, tuple(choices))

    def _cross(self, candidates: Sequence[Candidate]) -> Array:
        return self.variances.scale**2 * _kernel(candidates, self.candidates)


class Pooling:
    """Fits the model to a history that grows.

    Finding the variances takes far longer than the rest, so they are found anew only when the rows
    have grown by a fifth, always from the rows there were at that point: the same for everyone who
    has the same history.
    """

    def __init__(self) -> None:
        self._variances: dict[tuple[bool, int], Variances] = {}

    def fit(
        self, history: History, *, row_count: int | None = None, measured: bool = False
    ) -> Pooled:
        """Fits the rows of a history; there must be at least one.

        Args:
            history: The history.
            row_count: How many of its first rows; None for all.
            measured: Whether rows that were predicted are left out.
        """
        codes = history.measured if measured else history.codes
        count = len(codes) if row_count is None else row_count
        point = _refit_point(count)
        key = (codes is not history.codes, point)
        if key not in self._variances:
            found = Pooled(codes, history.candidates, row_count=point)
            self._variances[key] = found.variances
            if point == count:
                return found
        return Pooled(codes, history.candidates, row_count=count, variances=self._variances[key])


def _refit_point(count: int) -> int:
    if count < _ALWAYS_BELOW:
        return count
    point = _ALWAYS_BELOW
    while (following := int(point * _GROWTH)) <= count:
        point = following
    return point


def _evidence(codes: Codes, row_count: int) -> _Evidence:
    coded_who, coded_where, coded_rewards = codes.first(row_count)
    who, where = np.array(coded_who), np.array(coded_where)
    rewards = np.array(coded_rewards, dtype=np.float64)
    shape = (int(who.max()) + 1, int(where.max()) + 1)
    cells = who * shape[1] + where
    size = shape[0] * shape[1]
    return _Evidence(
        counts=np.bincount(cells, minlength=size).reshape(shape).astype(np.float64),
        sums=np.asarray(
            np.bincount(cells, weights=rewards, minlength=size), dtype=np.float64
        ).reshape(shape),
        squares=float(rewards @ rewards),
    )


def _kernel(left: Sequence[Candidate], right: Sequence[Candidate]) -> Array:
    """Returns prior correlations: how much two candidates share."""
    if not left or not right:
        return np.zeros((len(left), len(right)))
    codes: dict[str, int] = {}
    encoded = [
        np.array([[codes.setdefault(c, len(codes)) for c in one.choices] for one in side])
        for side in (left, right)
    ]
    slots = encoded[0].shape[1]
    share = (_INSTRUCTION_SHARE / (slots / 2), _DEMO_SET_SHARE / (slots / 2))
    kernel = np.zeros((len(left), len(right)))
    same = np.ones(kernel.shape, dtype=bool)
    for slot in range(slots):
        equal = encoded[0][:, slot, None] == encoded[1][None, :, slot]
        kernel += share[slot % 2] * equal
        same &= equal
    return kernel + _CANDIDATE_SHARE * same


def _best(evidence: _Evidence, kernel: Array) -> Variances:
    count = float(evidence.counts.sum())
    mean = float(evidence.sums.sum()) / count
    variance = max(evidence.squares / count - mean * mean, _LEAST_VARIANCE)
    choices = [
        Variances(scale=scale, row=share * variance, noise=(1.0 - share) * variance)
        for scale in _SCALES
        for share in _ROW_SHARES
    ]
    return max(choices, key=lambda choice: _fitted(evidence, kernel, choice).likelihood)


def _fitted(evidence: _Evidence, kernel: Array, variances: Variances) -> _Fit:
    counts, sums, noise = evidence.counts, evidence.sums, variances.noise
    per_candidate, per_row = counts.sum(axis=1), counts.sum(axis=0)
    shrink = variances.row / (noise + per_row * variances.row)
    row_sums = sums.sum(axis=0)
    # Products with the inverse covariance of rows and noise alone.
    precision = (np.diag(per_candidate) - (counts * shrink) @ counts.T) / noise
    rewards = (sums.sum(axis=1) - counts @ (shrink * row_sums)) / noise
    units = (per_candidate - counts @ (shrink * per_row)) / noise
    rewards_rewards = (evidence.squares - float(shrink @ row_sums**2)) / noise
    rewards_units = float((row_sums - shrink * row_sums * per_row).sum()) / noise
    units_units = float((per_row - shrink * per_row**2).sum()) / noise
    # Candidates' effects come in by a second Woodbury step.
    prior = variances.scale**2 * kernel
    mixed = np.eye(len(kernel)) + precision @ prior
    solved = np.linalg.solve(mixed, np.column_stack([rewards, units]))
    reward_part, unit_part = solved[:, 0], solved[:, 1]
    rewards_rewards -= float(rewards @ prior @ reward_part)
    rewards_units -= float(units @ prior @ reward_part)
    units_units -= float(units @ prior @ unit_part)
    mean = rewards_units / units_units
    log_determinant = (
        float(((per_row - 1.0) * np.log(noise) + np.log(noise + per_row * variances.row)).sum())
        + float(np.linalg.slogdet(mixed)[1])
        + float(np.log(units_units))
    )
    return _Fit(
        likelihood=-0.5 * (log_determinant + rewards_rewards - mean * rewards_units),
        mean=mean,
        mean_variance=1.0 / units_units,
        weights=reward_part - mean * unit_part,
        unit_weights=unit_part,
        precision=precision,
        mixed=mixed,
    )

"""The pooled estimate: what all trials together say of one candidate.

A minibatch of ten has a standard error of .15, so no trial is believed by itself. The model is

    reward = mean + row + sum over slots of (option) + candidate + noise

with every term but the mean drawn from a normal of its own variance: `row` is how easy the data row
is, shared by all candidates seen on it; an option's effect is shared by all candidates that choose
it; `candidate` is what the options do not explain. Shares of the candidate variance are fixed
(instructions .30, demo sets .35, rest .35, as measured on real factorial designs); its scale and
the rows' share of the remaining variance are chosen by restricted marginal likelihood (empirical
Bayes). With few rows everything shrinks toward the mean.

The rows are integrated out exactly (Woodbury, one scalar per row), so the linear algebra has the
size of the candidates seen, not of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from burnish_search.history import Row
from burnish_search.model import Candidate

_INSTRUCTION_SHARE = 0.30
_DEMO_SET_SHARE = 0.35
_CANDIDATE_SHARE = 0.35
_SCALES = (0.01, 0.02, 0.04, 0.08, 0.16)
_ROW_SHARES = (0.1, 0.3, 0.5, 0.7, 0.85)
_LEAST_VARIANCE = 1e-4

Array = npt.NDArray[np.float64]


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
    scale: float
    weights: Array
    unit_weights: Array
    information: Array


class Pooled:
    """Posterior of candidates' mean rewards.

    Attributes:
        candidates: Candidates with at least one row.
        row_counts: How many rows each of them has.
    """

    def __init__(self, rows: Sequence[Row], candidates: Sequence[Candidate]) -> None:
        """Fits the model.

        Args:
            rows: Measured cells, at least one.
            candidates: A candidate for every id among the rows.
        """
        by_id = {candidate.candidate_id: candidate for candidate in candidates}
        ids = list(dict.fromkeys(row.candidate_id for row in rows))
        self.candidates = [by_id[candidate_id] for candidate_id in ids]
        evidence = _evidence(rows, ids)
        self.row_counts = {
            candidate_id: int(count)
            for candidate_id, count in zip(ids, evidence.counts.sum(axis=1), strict=True)
        }
        self._kernel = _kernel(self.candidates, self.candidates)
        self._fit = _best_fit(evidence, self._kernel)

    def posterior(self, candidates: Sequence[Candidate]) -> tuple[Array, Array]:
        """Returns mean and standard deviation of each candidate's mean reward, seen or unseen."""
        fit = self._fit
        prior = fit.scale**2
        cross = prior * _kernel(candidates, self.candidates)
        means = fit.mean + cross @ fit.weights
        explained = np.einsum("ij,ij->i", cross @ fit.information, cross)
        level = fit.mean_variance * (1.0 - cross @ fit.unit_weights) ** 2
        deviations = np.sqrt(np.maximum(prior - explained + level, 0.0))
        return means, deviations

    def promising(self) -> Candidate:
        """Returns the candidate with the best option of every slot, which may be unseen."""
        fit = self._fit
        first = self.candidates[0]
        choices = []
        for slot in range(len(first.choices)):
            effects: dict[str, float] = {}
            for candidate, weight in zip(self.candidates, fit.weights, strict=True):
                option = candidate.choices[slot]
                effects[option] = effects.get(option, 0.0) + float(weight)
            choices.append(max(effects, key=lambda option: effects[option]))
        return Candidate.of(first.stage_ids, tuple(choices))


def _evidence(rows: Sequence[Row], ids: Sequence[str]) -> _Evidence:
    places = {candidate_id: place for place, candidate_id in enumerate(ids)}
    columns = {
        key: place for place, key in enumerate(dict.fromkeys((r.pool, r.seed) for r in rows))
    }
    who = np.fromiter((places[row.candidate_id] for row in rows), dtype=np.intp, count=len(rows))
    where = np.fromiter(
        (columns[row.pool, row.seed] for row in rows), dtype=np.intp, count=len(rows)
    )
    rewards = np.fromiter((row.reward for row in rows), dtype=np.float64, count=len(rows))
    counts = np.zeros((len(places), len(columns)))
    sums = np.zeros_like(counts)
    np.add.at(counts, (who, where), 1.0)
    np.add.at(sums, (who, where), rewards)
    return _Evidence(counts, sums, float(rewards @ rewards))


def _kernel(left: Sequence[Candidate], right: Sequence[Candidate]) -> Array:
    """Returns prior correlations: how much two candidates share."""
    if not left or not right:
        return np.zeros((len(left), len(right)))
    codes: dict[str, int] = {}
    encoded = [
        np.array(
            [[codes.setdefault(c, len(codes)) for c in candidate.choices] for candidate in side]
        )
        for side in (left, right)
    ]
    equal = encoded[0][:, None, :] == encoded[1][None, :, :]
    stages = equal.shape[2] // 2
    shares = np.tile([_INSTRUCTION_SHARE / stages, _DEMO_SET_SHARE / stages], stages)
    same = equal.all(axis=2).astype(np.float64)
    return np.asarray(equal @ shares + _CANDIDATE_SHARE * same, dtype=np.float64)


def _best_fit(evidence: _Evidence, kernel: Array) -> _Fit:
    count = float(evidence.counts.sum())
    mean = float(evidence.sums.sum()) / count
    variance = max(evidence.squares / count - mean * mean, _LEAST_VARIANCE)
    fits = (
        _fitted(evidence, kernel, scale=scale, row_variance=share * variance, noise=rest * variance)
        for scale in _SCALES
        for share in _ROW_SHARES
        for rest in (1.0 - share,)
    )
    return max(fits, key=lambda fit: fit.likelihood)


def _fitted(
    evidence: _Evidence, kernel: Array, *, scale: float, row_variance: float, noise: float
) -> _Fit:
    counts, sums = evidence.counts, evidence.sums
    per_row = counts.sum(axis=0)
    shrink = row_variance / (noise + per_row * row_variance)
    row_sums = sums.sum(axis=0)
    # Products with the inverse covariance of rows and noise alone.
    precision = (np.diag(counts.sum(axis=1)) - (counts * shrink) @ counts.T) / noise
    rewards = (sums.sum(axis=1) - counts @ (shrink * row_sums)) / noise
    units = (counts.sum(axis=1) - counts @ (shrink * per_row)) / noise
    rewards_rewards = (evidence.squares - float(shrink @ row_sums**2)) / noise
    rewards_units = float((row_sums - shrink * row_sums * per_row).sum()) / noise
    units_units = float((per_row - shrink * per_row**2).sum()) / noise
    # Candidates' effects come in by a second Woodbury step.
    prior = scale**2 * kernel
    mixed = np.eye(len(kernel)) + precision @ prior
    solved = np.linalg.solve(mixed, np.column_stack([rewards, units, precision]))
    reward_part, unit_part, information = solved[:, 0], solved[:, 1], solved[:, 2:]
    rewards_rewards -= float(rewards @ prior @ reward_part)
    rewards_units -= float(units @ prior @ reward_part)
    units_units -= float(units @ prior @ unit_part)
    mean = rewards_units / units_units
    log_determinant = (
        float(((per_row - 1.0) * np.log(noise) + np.log(noise + per_row * row_variance)).sum())
        + float(np.linalg.slogdet(mixed)[1])
        + float(np.log(units_units))
    )
    return _Fit(
        likelihood=-0.5 * (log_determinant + rewards_rewards - mean * rewards_units),
        mean=mean,
        mean_variance=1.0 / units_units,
        scale=scale,
        weights=reward_part - mean * unit_part,
        unit_weights=unit_part,
        information=information,
    )

"""Who is best: by the pooled estimate, never by a candidate's best minibatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish_search import estimate
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.algorithms.pooling import Array, Pooled
from burnish_search.history import History
from burnish_search.model import Candidate, Estimate, Pool, Ranked, TrialKind

# Linear algebra may differ in the last digits from machine to machine; a ranking must not.
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """The best candidate so far and its pooled mean."""

    candidate: Candidate
    mean: float


def incumbent(history: History, *, row_count: int | None = None) -> Incumbent | None:
    """Returns the best by the first `row_count` rows, or by all; None when there is no row.

    The baseline wins ties, then whoever was observed first.
    """
    rows = history.rows if row_count is None else history.rows[:row_count]
    if not rows:
        return None
    pooled = Pooled(rows, list(history.candidates.values()))
    means, _ = _posterior(pooled, pooled.candidates)
    baseline = history.space.baseline().candidate_id
    mean, _, candidate = max(
        (
            (float(mean), candidate.candidate_id == baseline, candidate)
            for mean, candidate in zip(means, pooled.candidates, strict=True)
        ),
        key=lambda entry: entry[:2],
    )
    return Incumbent(candidate=candidate, mean=mean)


def finalists(history: History, *, count: int) -> list[Candidate]:
    """Returns the best candidates for the final re-score, the baseline apart.

    The candidate of the best options is among those considered even when it was never tried.
    """
    if not history.rows:
        return []
    pooled = Pooled(history.rows, list(history.candidates.values()))
    known = {candidate.candidate_id: candidate for candidate in pooled.candidates}
    promising = pooled.promising()
    known.setdefault(promising.candidate_id, promising)
    known.pop(history.space.baseline().candidate_id, None)
    candidates = list(known.values())
    means, _ = _posterior(pooled, candidates)
    order = sorted(range(len(candidates)), key=lambda place: -float(means[place]))
    return [candidates[place] for place in order[:count]]


def ranked(history: History) -> list[Ranked]:
    """Returns the candidates that were observed and the baseline, best first.

    Once the final re-score has begun, those that took part in it and the baseline come before the
    rest: what was not re-scored was already found worse.
    """
    baseline = history.space.baseline()
    if not history.rows:
        return [Ranked(candidate=baseline, pooled=_UNKNOWN, validation=None, baseline=True)]
    pooled = Pooled(history.rows, list(history.candidates.values()))
    candidates = list({c.candidate_id: c for c in [baseline, *pooled.candidates]}.values())
    means, deviations = _posterior(pooled, candidates)
    final = {t.candidate.candidate_id for t in history.trials if t.kind is TrialKind.TOP_K}
    final |= {baseline.candidate_id} if final else set()
    validation: dict[str, list[float]] = {}
    for row in history.rows:
        if row.pool is Pool.VALIDATION:
            validation.setdefault(row.candidate_id, []).append(row.reward)
    entries = [
        Ranked(
            candidate=candidate,
            pooled=estimate.normal(
                float(mean),
                deviation=float(deviation),
                row_count=pooled.row_counts.get(candidate.candidate_id, 0),
            ),
            validation=(
                estimate.of_rewards(validation[candidate.candidate_id])
                if candidate.candidate_id in validation
                else None
            ),
            baseline=candidate.candidate_id == baseline.candidate_id,
        )
        for candidate, mean, deviation in zip(candidates, means, deviations, strict=True)
    ]
    # The baseline stands first in the list, and the sort is stable: it wins ties.
    return sorted(entries, key=lambda e: (e.candidate.candidate_id not in final, -e.pooled.mean))


def reached(history: History, target: float, *, rows: Sequence[RowKey]) -> bool:
    """Whether a candidate observed on all of these rows has at least this mean on them."""
    wanted = set(rows)
    rewards: dict[str, list[float]] = {}
    for row in history.rows:
        if (row.pool, row.seed) in wanted:
            rewards.setdefault(row.candidate_id, []).append(row.reward)
    return any(
        sum(values) / len(values) >= target
        for candidate_id, values in rewards.items()
        if wanted <= history.asked(candidate_id)
    )


def _posterior(pooled: Pooled, candidates: Sequence[Candidate]) -> tuple[Array, Array]:
    means, deviations = pooled.posterior(candidates)
    return np.round(means, _DIGITS), np.round(deviations, _DIGITS)


_UNKNOWN = Estimate(mean=0.5, row_count=0, lower=0.0, upper=1.0)

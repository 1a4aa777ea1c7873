"""Who is best of a search by generations: by pooled estimates, fair whatever rows were measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from burnish_search import estimate
from burnish_search.algorithms.pooling import Pooled, Pooling
from burnish_search.history import History
from burnish_search.model import Candidate, Estimate, Pool, Ranked, TrialKind

# Linear algebra may differ in the last digits from machine to machine; a ranking must not.
_DIGITS = 9
_UNKNOWN = Estimate(mean=0.5, row_count=0, lower=0.0, upper=1.0)


class Standings:
    """Ranks the candidates of one history; what it keeps is only a cache."""

    def __init__(self) -> None:
        self._pooling = Pooling()

    def finalists(self, history: History, *, count: int) -> list[Candidate]:
        """Returns the best of those that were accepted, the baseline apart."""
        if not history.rows or not count:
            return []
        accepted = _accepted(history)
        pooled = self._pooling.fit(history)
        candidates = [one for one in pooled.candidates if one.candidate_id in accepted]
        means = _means(pooled, candidates)
        order = sorted(range(len(candidates)), key=lambda place: -means[place])
        return [candidates[place] for place in order[:count]]

    def ranked(self, history: History, *, count: int) -> list[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first."""
        baseline = history.space.baseline()
        if not history.rows:
            return [Ranked(candidate=baseline, pooled=_UNKNOWN, validation=None, baseline=True)]
        accepted = _accepted(history)
        final = {t.candidate.candidate_id for t in history.trials if t.kind is TrialKind.TOP_K}
        pooled = self._pooling.fit(history)
        candidates = list({c.candidate_id: c for c in [baseline, *pooled.candidates]}.values())
        means = _means(pooled, candidates)
        first = baseline.candidate_id

        def turn(place: int) -> tuple[bool, bool, float]:
            name = candidates[place].candidate_id
            seen = name in final or name == first
            # The baseline stands first in the list, and the sort is stable: it wins ties.
            return (bool(final) and not seen, name not in accepted and name != first, -means[place])

        order = sorted(range(len(candidates)), key=turn)[:count]
        chosen = [candidates[place] for place in order]
        deviations = np.round(pooled.deviations(chosen), _DIGITS)
        return [
            Ranked(
                candidate=candidates[place],
                pooled=estimate.normal(
                    means[place],
                    deviation=float(deviation),
                    row_count=pooled.row_counts.get(candidates[place].candidate_id, 0),
                ),
                validation=_validation(history, candidates[place]),
                baseline=candidates[place].candidate_id == first,
            )
            for place, deviation in zip(order, deviations, strict=True)
        ]


def _accepted(history: History) -> set[str]:
    """Returns the ids of those that were compared on the Pareto rows."""
    return {
        trial.candidate.candidate_id
        for trial in history.trials
        if trial.kind is TrialKind.FULL and any(c.pool is Pool.ONLINE for c in trial.cells)
    } - {history.space.baseline().candidate_id}


def _validation(history: History, candidate: Candidate) -> Estimate | None:
    rewards = history.rewards(candidate.candidate_id, Pool.VALIDATION)
    return estimate.of_rewards(rewards) if rewards else None


def _means(pooled: Pooled, candidates: Sequence[Candidate]) -> list[float]:
    return [round(float(mean), _DIGITS) for mean in pooled.means(candidates)]

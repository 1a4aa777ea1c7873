"""Who is best: by the pooled estimate, never by a candidate's best minibatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burnish_search import estimate
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.algorithms.pooling import Pooled, Pooling
from burnish_search.history import History
from burnish_search.model import Candidate, Estimate, Pool, Ranked, TrialKind, TrialState

# Linear algebra may differ in the last digits from machine to machine; a ranking must not.
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """The best candidate so far and its pooled mean."""

    candidate: Candidate
    mean: float


class Ranking:
    """Ranks the candidates of one history; what it keeps is only a cache."""

    def __init__(self) -> None:
        self._pooling = Pooling()
        self._incumbent_after: dict[int, str | None] = {}

    def incumbent(self, history: History, *, row_count: int | None = None) -> Incumbent | None:
        """Returns the best by the first `row_count` rows, or by all; None when there is no row.

        The baseline wins ties, then whoever was observed first.
        """
        if not history.rows or row_count == 0:
            return None
        pooled = self._pooling.fit(history, row_count=row_count)
        baseline = history.space.baseline().candidate_id
        mean, _, candidate = max(
            (
                (mean, candidate.candidate_id == baseline, candidate)
                for mean, candidate in zip(
                    means_of(pooled, pooled.candidates), pooled.candidates, strict=True
                )
            ),
            key=lambda entry: entry[:2],
        )
        return Incumbent(candidate=candidate, mean=mean)

    def unchanged_for(self, history: History) -> int:
        """Returns for how many closed minibatch trials the incumbent has been the same.

        The incumbent after a trial is that of the rows told until the trial was closed.
        """
        names = []
        for trial in history.trials:
            if trial.kind is not TrialKind.MINIBATCH or trial.state is TrialState.ACTIVE:
                continue
            if trial.trial_index not in self._incumbent_after:
                found = self.incumbent(history, row_count=trial.rows_at_close)
                self._incumbent_after[trial.trial_index] = (
                    None if found is None else found.candidate.candidate_id
                )
            names.append(self._incumbent_after[trial.trial_index])
        unchanged = 0
        for earlier, later in zip(reversed(names[:-1]), reversed(names[1:]), strict=True):
            if earlier != later:
                break
            unchanged += 1
        return unchanged

    def leaders(self, history: History, *, row_count: int, count: int) -> list[str]:
        """Returns the ids of the best candidates by the first `row_count` rows, best first."""
        if not history.rows or not row_count or not count:
            return []
        pooled = self._pooling.fit(history, row_count=row_count)
        means = means_of(pooled, pooled.candidates)
        order = sorted(range(len(means)), key=lambda place: -means[place])
        return [pooled.candidates[place].candidate_id for place in order[:count]]

    def finalists(self, history: History, *, count: int) -> list[Candidate]:
        """Returns the best candidates for the final re-score, the baseline apart.

        The candidate of the best options is among those considered even when it was never tried.
        """
        if not history.rows:
            return []
        pooled = self._pooling.fit(history)
        known = {candidate.candidate_id: candidate for candidate in pooled.candidates}
        promising = pooled.promising()
        known.setdefault(promising.candidate_id, promising)
        known.pop(history.space.baseline().candidate_id, None)
        candidates = list(known.values())
        means = means_of(pooled, candidates)
        order = sorted(range(len(candidates)), key=lambda place: -means[place])
        return [candidates[place] for place in order[:count]]

    def ranked(self, history: History, *, count: int) -> list[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first.

        Once the final re-score has begun, those that took part in it and the baseline come before
        the rest: what was not re-scored was already found worse. From then on predictions no
        longer count: they have led here, and the choice is left to what was measured.
        """
        baseline = history.space.baseline()
        if not history.rows:
            return [unmeasured(baseline)]
        final = {t.candidate.candidate_id for t in history.trials if t.kind is TrialKind.TOP_K}
        pooled = self._pooling.fit(history, measured=bool(final) and len(history.measured) > 0)
        candidates = list({c.candidate_id: c for c in [baseline, *pooled.candidates]}.values())
        means = means_of(pooled, candidates)
        final |= {baseline.candidate_id} if final else set()
        # The baseline stands first in the list, and the sort is stable: it wins ties.
        order = sorted(
            range(len(candidates)),
            key=lambda place: (candidates[place].candidate_id not in final, -means[place]),
        )[:count]
        return estimated(
            history,
            pooled,
            [candidates[place] for place in order],
            means=[means[place] for place in order],
        )


def estimated(
    history: History, pooled: Pooled, candidates: Sequence[Candidate], *, means: Sequence[float]
) -> list[Ranked]:
    """Returns candidates with what is believed of them by a pooled fit, in their order."""
    if not candidates:
        return []
    first = history.space.baseline().candidate_id
    deviations = np.round(pooled.deviations(candidates), _DIGITS)
    return [
        Ranked(
            candidate=candidate,
            pooled=estimate.normal(
                mean,
                deviation=float(deviation),
                row_count=pooled.row_counts.get(candidate.candidate_id, 0),
            ),
            validation=_validation(history, candidate),
            baseline=candidate.candidate_id == first,
        )
        for candidate, mean, deviation in zip(candidates, means, deviations, strict=True)
    ]


def unmeasured(baseline: Candidate) -> Ranked:
    """Returns the baseline as it ranks before anything was measured."""
    return Ranked(candidate=baseline, pooled=estimate.UNKNOWN, validation=None, baseline=True)


def reached(history: History, target: float, *, rows: Sequence[RowKey]) -> bool:
    """Whether a candidate that was asked all of these rows has at least this mean.

    By its rewards in the pools of these rows, of which half at least have to be measured.
    """
    wanted = set(rows)
    pools = sorted({pool for pool, _ in wanted})
    for candidate_id in history.candidates:
        if wanted <= history.tried_on(candidate_id):
            rewards = [r for pool in pools for r in history.rewards(candidate_id, pool)]
            if rewards and 2 * len(rewards) >= len(wanted) and _mean(rewards) >= target:
                return True
    return False


def _mean(rewards: Sequence[float]) -> float:
    return sum(rewards) / len(rewards)


def _validation(history: History, candidate: Candidate) -> Estimate | None:
    rewards = history.rewards(candidate.candidate_id, Pool.VALIDATION)
    return estimate.of_rewards(rewards) if rewards else None


def means_of(pooled: Pooled, candidates: Sequence[Candidate]) -> list[float]:
    """Returns the pooled means of candidates, the same on every machine."""
    return [round(float(mean), _DIGITS) for mean in pooled.means(candidates)]

"""Who is best of a search by generations: by a pooled estimate on rows that nobody was chosen on.

Who was accepted did better than its parent on its minibatch, by luck in part: what was measured at
the gate speaks for children and against their parents. So the accepted and the baseline are ranked
by everything else: the Pareto rows, the final re-score, and minibatches that they were measured on
as parents.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish_search import estimate
from burnish_search.algorithms.pooling import Pooled, Pooling
from burnish_search.history import Codes, History
from burnish_search.model import Candidate, Estimate, Pool, Ranked, TrialKind

# Linear algebra may differ in the last digits from machine to machine; a ranking must not.
_DIGITS = 9
_UNKNOWN = Estimate(mean=0.5, row_count=0, lower=0.0, upper=1.0)


class Standings:
    """Ranks the candidates of one history; what it keeps is only a cache."""

    def __init__(self) -> None:
        self._pooling = Pooling()
        self._fair: tuple[History, int, Pooled] | None = None

    def finalists(self, history: History, *, count: int) -> list[Candidate]:
        """Returns the best of those that were accepted, the baseline apart."""
        pooled = self._fair_fit(history)
        if pooled is None or not count:
            return []
        accepted = _accepted(history)
        candidates = [one for one in pooled.candidates if one.candidate_id in accepted]
        means = _means(pooled, candidates)
        order = sorted(range(len(candidates)), key=lambda place: -means[place])
        return [candidates[place] for place in order[:count]]

    def ranked(self, history: History, *, count: int) -> list[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first."""
        baseline = history.space.baseline()
        if not history.rows:
            return [Ranked(candidate=baseline, pooled=_UNKNOWN, validation=None, baseline=True)]
        final = {t.candidate.candidate_id for t in history.trials if t.kind is TrialKind.TOP_K}
        final |= {baseline.candidate_id} if final else set()
        fair, accepted = self._fair_fit(history), _accepted(history)
        taken = [baseline]
        if fair is not None:
            taken += [one for one in fair.candidates if one.candidate_id in accepted]
        # The baseline stands first in the list, and the sort is stable: it wins ties.
        found = self._estimated(history, fair or self._pooling.fit(history), taken)
        found.sort(key=lambda one: one.candidate.candidate_id not in final)
        if len(found) < count:
            everyone = self._pooling.fit(history)
            known = {one.candidate_id for one in taken}
            others = [one for one in everyone.candidates if one.candidate_id not in known]
            found += self._estimated(history, everyone, others)
        return found[:count]

    def _fair_fit(self, history: History) -> Pooled | None:
        """Fits what was measured, the gate apart; None when there is nothing."""
        count = len(history.rows)
        if self._fair is None or self._fair[:2] != (history, count):
            accepted = _accepted(history)
            gate = {
                (name, cell.row)
                for trial in history.trials
                for name in [trial.candidate.candidate_id]
                if trial.kind is TrialKind.MINIBATCH
                and name != history.space.baseline().candidate_id
                and trial.trial_index < accepted.get(name, len(history.trials))
                for cell in trial.cells
            }
            codes = Codes()
            for row in history.rows:
                if (row.candidate_id, (row.pool, row.seed)) not in gate:
                    codes.append(row)
            if not len(codes):
                return None
            pooled = Pooled(codes, history.candidates, row_count=len(codes))
            self._fair = (history, count, pooled)
        return self._fair[2]

    @staticmethod
    def _estimated(
        history: History, pooled: Pooled, candidates: Sequence[Candidate]
    ) -> list[Ranked]:
        """Returns candidates with their estimates, best first."""
        if not candidates:
            return []
        first = history.space.baseline().candidate_id
        means, deviations = _means(pooled, candidates), pooled.deviations(candidates)
        found = [
            Ranked(
                candidate=candidate,
                pooled=estimate.normal(
                    mean,
                    deviation=round(float(deviation), _DIGITS),
                    row_count=pooled.row_counts.get(candidate.candidate_id, 0),
                ),
                validation=_validation(history, candidate),
                baseline=candidate.candidate_id == first,
            )
            for candidate, mean, deviation in zip(candidates, means, deviations, strict=True)
        ]
        order = sorted(range(len(found)), key=lambda place: -means[place])
        return [found[place] for place in order]


def _accepted(history: History) -> dict[str, int]:
    """Returns which trial first compared a candidate on the Pareto rows, the baseline apart."""
    found: dict[str, int] = {}
    for trial in history.trials:
        if trial.kind is TrialKind.FULL and any(c.pool is Pool.ONLINE for c in trial.cells):
            found.setdefault(trial.candidate.candidate_id, trial.trial_index)
    found.pop(history.space.baseline().candidate_id, None)
    return found


def _validation(history: History, candidate: Candidate) -> Estimate | None:
    rewards = history.rewards(candidate.candidate_id, Pool.VALIDATION)
    return estimate.of_rewards(rewards) if rewards else None


def _means(pooled: Pooled, candidates: Sequence[Candidate]) -> list[float]:
    return [round(float(mean), _DIGITS) for mean in pooled.means(candidates)]

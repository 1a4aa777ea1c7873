"""Who is best of a search by generations: by a pooled estimate on rows that nobody was chosen on.

Who was accepted did better than its parent on its minibatch, by luck in part: what was measured at
the gate speaks for children and against their parents. So the accepted and the baseline are ranked
by everything else: the Pareto rows, the final re-score, and minibatches that they were measured on
as parents.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish_search.algorithms import ranking
from burnish_search.algorithms.gepa.lines import acceptances
from burnish_search.algorithms.pooling import Pooled, Pooling
from burnish_search.history import Codes, History
from burnish_search.model import Candidate, Ranked, TrialKind


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
        accepted = acceptances(history)
        candidates = [one for one in pooled.candidates if one.candidate_id in accepted]
        return [candidate for candidate, _ in _best_first(pooled, candidates)[:count]]

    def ranked(self, history: History, *, count: int) -> list[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first."""
        baseline = history.space.baseline()
        if not history.rows:
            return [ranking.unmeasured(baseline)]
        final = {t.candidate.candidate_id for t in history.trials if t.kind is TrialKind.TOP_K}
        final |= {baseline.candidate_id} if final else set()
        fair, accepted = self._fair_fit(history), acceptances(history)
        taken = [baseline]
        if fair is not None:
            taken += [one for one in fair.candidates if one.candidate_id in accepted]
        # The baseline stands first in the list, and the sort is stable: it wins ties.
        found = _estimated(history, fair or self._pooling.fit(history), taken)
        found.sort(key=lambda one: one.candidate.candidate_id not in final)
        if len(found) < count:
            everyone = self._pooling.fit(history)
            known = {one.candidate_id for one in taken}
            others = [one for one in everyone.candidates if one.candidate_id not in known]
            found += _estimated(history, everyone, others)
        return found[:count]

    def _fair_fit(self, history: History) -> Pooled | None:
        """Fits what was measured, the gate apart; None when there is nothing."""
        count = len(history.rows)
        if self._fair is None or self._fair[:2] != (history, count):
            since = {name: one.trial_index for name, one in acceptances(history).items()}
            gate = {
                (name, cell.row)
                for trial in history.trials
                for name in [trial.candidate.candidate_id]
                if trial.kind is TrialKind.MINIBATCH
                and name != history.space.baseline().candidate_id
                and trial.trial_index < since.get(name, len(history.trials))
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


def _estimated(history: History, pooled: Pooled, candidates: Sequence[Candidate]) -> list[Ranked]:
    """Returns candidates with their estimates, best first."""
    found = _best_first(pooled, candidates)
    return ranking.estimated(
        history, pooled, [one for one, _ in found], means=[mean for _, mean in found]
    )


def _best_first(pooled: Pooled, candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
    """Returns candidates with their means, the best first and equals as they stood."""
    if not candidates:
        return []
    found = zip(candidates, ranking.means_of(pooled, candidates), strict=True)
    return sorted(found, key=lambda one: -one[1])

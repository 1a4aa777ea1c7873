"""Who was the incumbent after each minibatch trial, for a search that ends when nobody beats it."""

from __future__ import annotations

from burnish_search.algorithms import ranking
from burnish_search.history import History
from burnish_search.model import TrialKind, TrialState


class Incumbents:
    """A cache of incumbents; each is a function of the rows told until its trial was closed."""

    def __init__(self) -> None:
        self._after: dict[int, str | None] = {}

    def now(self, history: History) -> ranking.Incumbent | None:
        """Returns the incumbent by everything told."""
        return ranking.incumbent(history)

    def unchanged_for(self, history: History) -> int:
        """Returns for how many closed minibatch trials the incumbent has been the same."""
        closed = [
            trial
            for trial in history.trials
            if trial.kind is TrialKind.MINIBATCH and trial.state is not TrialState.ACTIVE
        ]
        names = []
        for trial in closed:
            if trial.trial_index not in self._after:
                found = ranking.incumbent(history, row_count=trial.rows_at_close)
                name = None if found is None else found.candidate.candidate_id
                self._after[trial.trial_index] = name
            names.append(self._after[trial.trial_index])
        unchanged = 0
        for earlier, later in zip(reversed(names[:-1]), reversed(names[1:]), strict=True):
            if earlier != later:
                break
            unchanged += 1
        return unchanged

"""GEPA: generations of children, written by reflection or made by merges, and a gate of few rows.

A study's life: the baseline on the Pareto rows; then generations. Generation 0 are the components
that came before the first ask; every later one draws its parents from the archive, has instructions
written for them, and tries the children on a minibatch. Those that beat their parents there are
measured on the Pareto rows and join the archive. At the end the best are re-scored on validation.

Everything is a function of the history, the settings and the seed: who is a child of whom, and who
was accepted, is read out of the works that were suggested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from burnish_search.algorithms import budget
from burnish_search.algorithms.base import Ask
from burnish_search.algorithms.gepa import settings
from burnish_search.algorithms.gepa.purse import UNLIMITED, Purse
from burnish_search.algorithms.gepa.rows import Rows
from burnish_search.algorithms.gepa.scores import Scores
from burnish_search.algorithms.gepa.standings import Standings
from burnish_search.algorithms.gepa.turn import Known, Turn
from burnish_search.history import History
from burnish_search.model import (
    EvaluationPlan,
    FinishPlan,
    FinishReason,
    Plan,
    Ranked,
    StudySpec,
    TrialKind,
)
from burnish_search.problems import StudyInvalid


class Gepa:
    """Evolves instructions by reflection and merges."""

    description: ClassVar[str] = (
        "Generations of instructions, written by reflection on failures or merged, that have to "
        "beat their parents on a minibatch; parents are drawn from the front over rows."
    )

    def __init__(self, spec: StudySpec) -> None:
        """Checks the spec.

        Raises:
            StudyInvalid: Settings or pools cannot be used; lists every problem.
        """
        self.settings, problems = settings.parse(spec.settings)
        if not spec.online:
            problems.append("`online_pool` is empty; give the seeds that candidates are tried on")
        if problems:
            raise StudyInvalid(spec.name, problems)
        self.spec = spec
        self.warnings: Sequence[str] = ()
        self._rows = Rows(spec, self.settings)
        self._scores = Scores()
        self._standings = Standings()

    def suggest(self, history: History, ask: Ask) -> Plan:
        """Returns the next plan."""
        ended = history.kinds[TrialKind.TOP_K] > 0
        purse = Purse.of(
            self.settings,
            history,
            cell_count=ask.cell_count,
            validation_count=len(self._rows.validation),
        )
        known = Known(history=history, rows=self._rows, scores=self._scores)
        if not ended:
            turn = Turn(self.spec, self.settings, known, purse)
            found = turn.next()
            plan = found if not isinstance(found, FinishReason) else self._final(turn, history, ask)
            if plan is not None:
                return plan
        # Where there was more to do, a study that is over ended for want of means.
        rest = Turn(self.spec, self.settings, known, UNLIMITED).next()
        if isinstance(rest, FinishReason):
            return FinishPlan(reason=rest)
        # Without any limit, it is answers that came after the end that leave more to do.
        limited = (purse.cells, purse.trials) != (None, None)
        return FinishPlan(reason=FinishReason.BUDGET if limited else FinishReason.COMPLETED)

    def rank(self, history: History, count: int) -> Sequence[Ranked]:
        """Returns the best of the candidates that were observed and the baseline, best first.

        First those re-scored at the end, then those that were accepted, then the others.
        """
        return self._standings.ranked(history, count=count)

    def _final(self, turn: Turn, history: History, ask: Ask) -> Plan | None:
        """Plans the re-score of the best; None when there is nothing to pay for it, or nobody.

        On the validation rows; without any, for what is left over, on all rows of the search.
        """
        chosen = self._standings.finalists(history, count=turn.purse.finalists)
        unasked = {
            one: [row for row in self._rows.final if row not in history.asked(one.candidate_id)]
            for one in chosen
        }
        most = budget.rows_each([len(rows) for rows in unasked.values()], ask.cell_count)
        trials = tuple(
            turn.trial(candidate, TrialKind.TOP_K, rows[:most])
            for candidate, rows in unasked.items()
            if rows[:most]
        )
        return EvaluationPlan(trials=trials) if trials else None

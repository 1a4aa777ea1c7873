"""What a search by generations may still spend; the final re-score is reserved before all else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from burnish_search.algorithms import budget
from burnish_search.algorithms.gepa.settings import GepaSettings
from burnish_search.history import History
from burnish_search.model import TrialPlan

# Trials for each finalist: its own, and what it takes to find it.
_TRIALS_EACH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What is left.

    Attributes:
        cells: Cells left beside the reserve; None is no limit.
        trials: Trials left beside those of the finalists; None is no limit.
        finalists: Candidates that the final re-score may take.
        reserve: Cells kept for the final re-score.
        in_all: Cells left, the reserve among them; None is no limit.
    """

    cells: int | None
    trials: int | None
    finalists: int
    reserve: int
    in_all: int | None = None

    @classmethod
    def of(
        cls,
        settings: GepaSettings,
        history: History,
        *,
        cell_count: int | None,
        validation_count: int,
    ) -> Purse:
        """Counts what is left.

        Args:
            settings: Settings of the search.
            history: What was suggested so far.
            cell_count: Cells left; None is no limit.
            validation_count: Rows of the final re-score; 0 without a validation pool, where it
                takes what is left over.
        """
        finalists = settings.top_k
        trials = None
        if settings.max_trials is not None:
            finalists = min(finalists, settings.max_trials // _TRIALS_EACH)
            trials = max(settings.max_trials - finalists - len(history.trials), 0)
        if cell_count is None:
            return cls(cells=None, trials=trials, finalists=finalists, reserve=0)
        total = history.suggested_cell_count + cell_count
        reserve = budget.reserved(finalists=finalists, row_count=validation_count, total=total)
        cells = max(cell_count - reserve, 0)
        return cls(
            cells=cells, trials=trials, finalists=finalists, reserve=reserve, in_all=cell_count
        )

    def pays(self, cell_count: int) -> bool:
        """Whether there are a trial and so many cells left."""
        return self.trials != 0 and (self.cells is None or self.cells >= cell_count)

    def covers(self, *, trials: int, cells: int) -> bool:
        """Whether there are so many trials and so many cells left."""
        return (self.trials is None or self.trials >= trials) and (
            self.cells is None or self.cells >= cells
        )

    def without(self, *, trials: int, cells: int) -> Purse:
        """Returns what is left when so much is kept back."""
        return replace(
            self,
            trials=None if self.trials is None else max(self.trials - trials, 0),
            cells=None if self.cells is None else max(self.cells - cells, 0),
        )

    def fitted(self, plans: Iterable[TrialPlan]) -> tuple[TrialPlan, ...]:
        """Returns as much of some trials as is paid for, the first ones first."""
        found: list[TrialPlan] = []
        cells, trials = self.cells, self.trials
        for plan in plans:
            if trials is not None and len(found) >= trials:
                break
            rows = plan.rows if cells is None else plan.rows[:cells]
            if rows:
                found.append(replace(plan, rows=rows))
                cells = None if cells is None else cells - len(rows)
        return tuple(found)


UNLIMITED = Purse(cells=None, trials=None, finalists=0, reserve=0)

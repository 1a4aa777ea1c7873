"""What the rest of a budget is spent on: the final re-score is reserved before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish_search.algorithms.settings import SearchSettings
from burnish_search.history import History

_FINAL_SHARE = 2  # Half of a tight budget goes to the final re-score.
_LEAST_MINIBATCHES = 4  # A budget that would not pay so many whole ones gets smaller ones.


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What may still be suggested.

    Attributes:
        batch_size: Rows of a minibatch.
        minibatches: Whole minibatches that are planned and paid for, the reserve left alone.
        finalists: Candidates that the final re-score may take.
        cell_count: Cells left; None is no limit.
        reserve: Cells kept for the final re-score.
        trials_left: Trials of every kind left, the finalists' apart; None is no limit.
    """

    batch_size: int
    minibatches: int
    finalists: int
    cell_count: int | None
    reserve: int
    trials_left: int | None

    @classmethod
    def of(
        cls,
        settings: SearchSettings,
        history: History,
        *,
        cell_count: int | None,
        validation_count: int,
        trial_count: int,
    ) -> Allowance:
        """Plans the rest of a search.

        Args:
            settings: Settings of the search.
            history: What was suggested so far.
            cell_count: Cells left; None is no limit.
            validation_count: Rows of a full evaluation.
            trial_count: Minibatch trials planned in all.
        """
        finalists, trials_left = settings.top_k, None
        if settings.max_trials is not None:
            finalists = min(finalists, settings.max_trials // 2)
            trials_left = max(settings.max_trials - finalists - len(history.trials), 0)
        batch, reserve = settings.batch_size, 0
        minibatches = max(trial_count - history.minibatch_count, 0)
        if trials_left is not None:
            minibatches = min(minibatches, trials_left)
        if cell_count is not None:
            total = history.suggested_cell_count + cell_count
            batch = min(batch, max(total // _LEAST_MINIBATCHES, 1))
            most = min(settings.top_k_size or validation_count, validation_count)
            reserve = reserved(finalists=finalists, row_count=most, total=total)
            minibatches = min(minibatches, max(cell_count - reserve, 0) // batch)
        return cls(
            batch_size=batch,
            minibatches=minibatches,
            finalists=finalists,
            cell_count=cell_count,
            reserve=reserve,
            trials_left=trials_left,
        )

    def covers_full(self, cell_count: int, *, minibatches: int) -> bool:
        """Whether a full evaluation fits beside the reserve and so many minibatches."""
        if self.trials_left is not None and self.trials_left <= minibatches:
            return False
        if self.cell_count is None:
            return True
        return cell_count + self.reserve + minibatches * self.batch_size <= self.cell_count

    def rows_per_finalist(self, needs: Sequence[int]) -> int:
        """Returns the most rows, the same for each finalist, that the cells left pay for.

        Args:
            needs: How many rows each of them still lacks.
        """
        return rows_each(needs, self.cell_count)


def rows_each(needs: Sequence[int], cell_count: int | None) -> int:
    """Returns the most rows, the same for each, that so many cells pay for.

    Args:
        needs: How many rows each of them still lacks.
        cell_count: Cells left; None is no limit.
    """
    rows = max(needs, default=0)
    if cell_count is not None:
        while sum(min(need, rows) for need in needs) > cell_count:
            rows -= 1
    return rows


def reserved(*, finalists: int, row_count: int, total: int) -> int:
    """Returns the cells that are kept for the final re-score: at most half of a budget.

    Args:
        finalists: Candidates that it takes.
        row_count: Rows that each of them is looked at on.
        total: Cells of the whole search.
    """
    return finalists * min(row_count, total // (_FINAL_SHARE * finalists)) if finalists else 0

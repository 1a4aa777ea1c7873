"""How many cells a race may still use, and in what portions."""

from __future__ import annotations

from dataclasses import dataclass

from burnish_search.algorithms.race.settings import RaceSettings
from burnish_search.history import History
from burnish_search.model import TrialKind

FIRST_ROWS = 6
_FINAL_SHARE = 5  # A fifth of a tight budget goes to the final check.
_WORKS = 20  # A race is decided in about so many works at least.
_MOST_ARMS = 8
_LEAST_STARTS = 10
_MOST_STARTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What may still be suggested.

    Attributes:
        cells: Cells that the race has left.
        total: Cells of the race in all.
        raced: Cells raced so far.
        rows_per_arm: Rows of one turn of an arm.
        arms_per_batch: Turns of one work.
        turns: Trials that are left beside the final check; None is no limit.
        finalists: Candidates of the final check.
        final_cells: Cells that are left for it.
    """

    cells: int
    total: int
    raced: int
    rows_per_arm: int
    arms_per_batch: int
    turns: int | None
    finalists: int
    final_cells: int

    @classmethod
    def of(
        cls,
        settings: RaceSettings,
        history: History,
        *,
        cell_count: int | None,
        final_row_count: int,
        planned: int,
    ) -> Allowance:
        """Plans the rest of a race.

        Args:
            settings: Settings of the race.
            history: What was suggested so far.
            cell_count: Cells left; None is no limit.
            final_row_count: Rows of the final check; 0 is none.
            planned: Cells of the race as the settings have it.
        """
        raced = sum(len(t.cells) for t in history.trials if t.kind is TrialKind.MINIBATCH)
        checked = sum(len(t.cells) for t in history.trials if t.kind is TrialKind.TOP_K)
        shared = settings.shared
        finalists = shared.top_k if final_row_count else 0
        turns = None
        if shared.max_trials is not None:
            finalists = min(finalists, shared.max_trials // 2)
            turns = max(shared.max_trials - finalists - len(history.trials), 0)
        reserve = finalists * min(shared.top_k_size or final_row_count, final_row_count)
        left = planned - raced
        if cell_count is not None:
            total = history.suggested_cell_count + cell_count
            reserve = min(reserve, total // _FINAL_SHARE)
            left = min(left, cell_count + checked - reserve)
        left = max(left, 0)
        rows = settings.rows_per_arm
        if shared.max_trials is not None:
            rows = max(rows, -(-(raced + left) // max(shared.max_trials - finalists, 1)))
        arms = settings.arms_per_batch
        if arms is None:
            arms = min(max(round((raced + left) / (_WORKS * rows)), 1), _MOST_ARMS)
        if turns is not None:
            arms, left = min(arms, turns), left if turns else 0
        return cls(
            cells=left,
            total=raced + left,
            raced=raced,
            rows_per_arm=rows,
            arms_per_batch=arms,
            turns=turns,
            finalists=finalists,
            final_cells=reserve if cell_count is None else min(reserve, cell_count),
        )

    def start_count(self, most_options: int, arm_count: int) -> int:
        """Returns how many arms the race starts with: the baseline, and others for every option.

        Args:
            most_options: Options of the slot that has the most.
            arm_count: Arms on offer.
        """
        affordable = max(self.total // (2 * FIRST_ROWS), 1)
        wanted = min(max(most_options, _LEAST_STARTS), _MOST_STARTS)
        return min(arm_count, 1 + wanted, affordable)

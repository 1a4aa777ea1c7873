"""Repeats of cells whose rewards are noisy: asked when no fresh row is left, as long as they pay.

A fresh row tells more of a candidate than a row that it has seen, for rows differ as well. So a
search repeats cells only where it would end for want of rows, and only those of the two candidates
that the choice is between. That pays while noise within cells could still turn their order over the
same rows; repeats that agree to the last one show that there is no noise.

Everything is a function of the history, the settings and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from burnish_search.algorithms.base import Ask, generator
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import History
from burnish_search.model import (
    Candidate,
    EvaluationPlan,
    FinishPlan,
    FinishReason,
    Pool,
    Ranked,
    StudySpec,
    TrialKind,
    TrialPlan,
)

_ROWS = 10  # Rows of either candidate in one work.
_LEAST_REPEATS = 12  # So many that agree show that rewards are not noisy.
_DECIDED = 2.0  # Standard deviations between the two.
_FINE = 0.005  # Noise in their difference that is not worth another call.
_WANTING = (FinishReason.BUDGET, FinishReason.SPACE_EXHAUSTED)

Measured = Mapping[RowKey, Sequence[float]]


class Repeats:
    """Plans repeats where a search would end."""

    def __init__(self, spec: StudySpec, *, most: int, max_trials: int | None = None) -> None:
        """Starts with nothing.

        Args:
            spec: The study.
            most: Most times that a cell is observed.
            max_trials: Most trials of the study.
        """
        self._spec = spec
        self._most = most
        self._max_trials = max_trials

    def wanted(self, finish: FinishPlan) -> bool:
        """Whether a search that ends like this may go on by repeats."""
        return self._most > 1 and finish.reason in _WANTING

    def plan(self, history: History, ask: Ask, ranked: Sequence[Ranked]) -> EvaluationPlan | None:
        """Plans the next repeats; None when they cannot be afforded or would not pay.

        Args:
            history: What was measured.
            ask: What may be spent.
            ranked: The best candidates, best first.
        """
        room = math.inf if ask.cell_count is None else ask.cell_count
        trials = math.inf if self._max_trials is None else self._max_trials - len(history.trials)
        pair = [one.candidate for one in ranked[:2]]
        if len(pair) < 2 or room < 2 or trials < 2:
            return None
        measured = [_measured(history, candidate) for candidate in pair]
        if not _pays(measured):
            return None
        size = int(min(_ROWS, room // 2))
        plans = [
            found
            for candidate in pair
            if (found := self._trial(history, candidate, pair, size)) is not None
        ]
        return EvaluationPlan(trials=tuple(plans)) if plans else None

    def _trial(
        self, history: History, candidate: Candidate, pair: Sequence[Candidate], size: int
    ) -> TrialPlan | None:
        times = _times(history, candidate)
        open_rows = [row for row, count in times.items() if count < self._most]
        if not open_rows:
            return None
        fewest = min(times[row] for row in open_rows)
        rows = sorted(row for row in open_rows if times[row] == fewest)
        # One order for both, so that they are compared on the same rows.
        generator(self._spec, "repeats", fewest).shuffle(rows)
        both = set.intersection(*(set(history.asked(one.candidate_id)) for one in pair))
        rows.sort(key=lambda row: row not in both)
        return TrialPlan(
            candidate=candidate,
            kind=TrialKind.TOP_K,
            rows=tuple(rows[:size]),
            iteration=history.trials[-1].iteration,
            repeat=fewest,
        )


def _times(history: History, candidate: Candidate) -> dict[RowKey, int]:
    """Returns how often every row of a candidate was asked; once where it was told unasked."""
    asked = history.asked(candidate.candidate_id)
    times = {row: 1 for row in asked if row[0] is not Pool.BOOTSTRAP}
    for trial in history.trials:
        if trial.candidate.candidate_id == candidate.candidate_id:
            for cell in trial.cells:
                times[cell.row] = max(times[cell.row], cell.repeat + 1)
    return times


def _measured(history: History, candidate: Candidate) -> Measured:
    found: dict[RowKey, list[float]] = {}
    for row in history.rows:
        if row.candidate_id == candidate.candidate_id:
            found.setdefault((row.pool, row.seed), []).append(row.reward)
    return found


def _pays(measured: Sequence[Measured]) -> bool:
    """Whether noise within cells may still turn the order of two candidates."""
    squares, freedom = 0.0, 0
    for one in measured:
        for rewards in one.values():
            mean = math.fsum(rewards) / len(rewards)
            squares += math.fsum((reward - mean) ** 2 for reward in rewards)
            freedom += len(rewards) - 1
    if freedom < _LEAST_REPEATS:
        return True
    variance = squares / freedom
    first, second = measured
    shared = [row for row in first if row in second]
    if variance == 0.0 or not shared:
        return False
    difference = math.fsum(
        math.fsum(first[row]) / len(first[row]) - math.fsum(second[row]) / len(second[row])
        for row in shared
    ) / len(shared)
    weights = math.fsum(1 / len(first[row]) + 1 / len(second[row]) for row in shared)
    noise = math.sqrt(variance * weights) / len(shared)
    return noise > _FINE and abs(difference) < _DECIDED * noise

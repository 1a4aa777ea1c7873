"""Everything a study has been told, in order: the only thing that an algorithm decides from.

It only ever grows, by the entries of the study's log, so that the same entries give the same
history in any process.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from burnish_search.costs import Costs
from burnish_search.model import (
    Candidate,
    Cell,
    Component,
    Observation,
    Pool,
    StudySpec,
    Trial,
    TrialKind,
    TrialState,
    Work,
)
from burnish_search.space import Space


@dataclass(frozen=True, slots=True)
class Row:
    """A measured cell."""

    candidate_id: str
    pool: Pool
    seed: int
    reward: float


class Codes:
    """Measured cells as numbers, kept up with while they come in, for the arithmetic.

    Attributes:
        candidate_ids: Candidates in the order they were first measured.
    """

    def __init__(self) -> None:
        self.candidate_ids: list[str] = []
        self._candidates: dict[str, int] = {}
        self._places: dict[tuple[Pool, int], int] = {}
        self._who = array("q")
        self._where = array("q")
        self._rewards = array("d")

    def append(self, row: Row) -> None:
        """Adds a measured cell."""
        who = self._candidates.setdefault(row.candidate_id, len(self._candidates))
        if who == len(self.candidate_ids):
            self.candidate_ids.append(row.candidate_id)
        self._who.append(who)
        self._where.append(self._places.setdefault((row.pool, row.seed), len(self._places)))
        self._rewards.append(row.reward)

    def __len__(self) -> int:
        """Returns how many cells there are."""
        return len(self._who)

    def first(self, count: int) -> tuple[Sequence[int], Sequence[int], Sequence[float]]:
        """Returns candidate, data row and reward of the first `count` cells."""
        return self._who[:count], self._where[:count], self._rewards[:count]


class History:
    """What is known of a study.

    Attributes:
        spec: What the study was created with.
        space: What may be chosen.
        candidates: Candidates that were suggested, and the baseline, by id.
        trials: Trials in the order they were suggested.
        works: Works in the order they were suggested.
        rows: Measured cells in the order they were told.
        codes: The same as numbers.
        suggested_cell_count: Cells suggested so far.
        arrivals: By component, how many works were suggested when it was added.
        grown_at: How many minibatch trials there were when the space last grew.
        begun_with: Per slot, how many options there were before the first minibatch trial.
        tried: Ids of the candidates of all trials.
        uses: Per slot, how many minibatch trials chose each option.
        kinds: How many trials there are of each kind.
        costs: What scored cells cost.
        pending: Rows that candidates were suggested on and that nothing was told of yet, by
            candidate; only of works that are not closed.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec
        self.space = Space(spec.stage_ids)
        self.candidates: dict[str, Candidate] = {}
        self.trials: list[Trial] = []
        self.works: list[Work] = []
        self.rows: list[Row] = []
        self.codes = Codes()
        self.suggested_cell_count = 0
        self.arrivals: dict[str, int] = {}
        self.grown_at = 0
        self.begun_with: tuple[int, ...] = ()
        self.tried: set[str] = set()
        self.uses: list[Counter[str]] = [Counter() for _ in self.space.slots]
        self.kinds: Counter[TrialKind] = Counter()
        self.costs = Costs()
        self.pending: dict[str, set[tuple[Pool, int]]] = {}
        self._prior_row_count: int | None = None
        self._outcomes: dict[Cell, float | None] = {}
        self._asked: dict[str, set[tuple[Pool, int]]] = {}
        self._rewards: dict[tuple[str, Pool], list[float]] = {}
        self._predictions: dict[Cell, float] = {}
        self._unmeasured: dict[str, set[tuple[Pool, int]]] = {}
        self._measured_codes: Codes | None = None

    def add(self, components: Iterable[Component]) -> None:
        """Grows the space."""
        added = list(components)
        for component in added:
            self.arrivals.setdefault(component.component_id, len(self.works))
        if self.space.add(added):
            self.grown_at = self.minibatch_count
            if not self.grown_at:
                self.begun_with = tuple(map(len, self.space.options))
            if self.space.complete:
                baseline = self.space.baseline()
                self.candidates[baseline.candidate_id] = baseline

    def retire(self, component_ids: Iterable[str]) -> None:
        """Takes components out of what is offered; what was measured of them stays."""
        self.space.retire(component_ids)

    def suggest(self, work: Work) -> None:
        """Records a work and its trials."""
        if self._prior_row_count is None:
            self._prior_row_count = len(self.rows)
        self.works.append(work)
        for trial in work.trials:
            self.trials.append(trial)
            self.candidates[trial.candidate.candidate_id] = trial.candidate
            self.suggested_cell_count += len(trial.cells)
            self.tried.add(trial.candidate.candidate_id)
            self.kinds[trial.kind] += 1
            if trial.kind is TrialKind.MINIBATCH:
                for uses, choice in zip(self.uses, trial.candidate.choices, strict=True):
                    uses[choice] += 1
            asked = self._asked.setdefault(trial.candidate.candidate_id, set())
            asked.update(cell.row for cell in trial.cells)
            pending = self.pending.setdefault(trial.candidate.candidate_id, set())
            pending.update(cell.row for cell in trial.cells)

    def tell(self, observations: Iterable[Observation]) -> None:
        """Records measurements. The first reward of a cell stands; a failure never replaces one.

        A prediction is a row like any other until the search comes to its end, and gives way to a
        measurement of the same cell.
        """
        for observation in observations:
            cell = observation.cell
            self._asked.setdefault(cell.candidate_id, set()).add(cell.row)
            self._answered(cell)
            if observation.predicted and observation.reward is not None:
                self._predicted(cell, observation.reward)
            elif observation.reward is None:
                self._outcomes.setdefault(cell, None)
            elif self._outcomes.get(cell) is None:
                self._outcomes[cell] = observation.reward
                self._unmeasured.get(cell.candidate_id, set()).discard(cell.row)
                if cell.fidelity == 0 and cell.pool is not Pool.BOOTSTRAP:
                    self._measured(Row(cell.candidate_id, cell.pool, cell.seed, observation.reward))
                    self.costs.add(cell.candidate_id, cell.row, observation.costs)

    def close(self, work: Work) -> None:
        """Ends a work: its trials get their means over the cells that were observed."""
        work.closed = True
        for trial in work.trials:
            known = (
                (self._outcomes.get(cell), self._predictions.get(cell)) for cell in trial.cells
            )
            rewards = [
                reward
                for measured, predicted in known
                if (reward := predicted if measured is None else measured) is not None
            ]
            trial.observed_count = len(rewards)
            trial.mean_reward = sum(rewards) / len(rewards) if rewards else None
            trial.state = TrialState.SUCCEEDED if rewards else TrialState.FAILED
            trial.rows_at_close = len(self.rows)
            for cell in trial.cells:
                self._answered(cell)

    def asked(self, candidate_id: str) -> set[tuple[Pool, int]]:
        """Returns the rows that a candidate was ever suggested or told on."""
        return self._asked.get(candidate_id, set())

    def tried_on(self, candidate_id: str) -> set[tuple[Pool, int]]:
        """Returns the rows that a candidate was asked, those apart that were only predicted."""
        asked, guessed = self.asked(candidate_id), self._unmeasured.get(candidate_id)
        return asked - guessed if guessed else asked

    @property
    def measured(self) -> Codes:
        """The measured cells as numbers, without any that were predicted."""
        return self.codes if self._measured_codes is None else self._measured_codes

    def prior_rows(self) -> Sequence[Row]:
        """Returns what was told before the first ask: the baseline's evaluation."""
        return self.rows if self._prior_row_count is None else self.rows[: self._prior_row_count]

    def rewards(self, candidate_id: str, pool: Pool) -> Sequence[float]:
        """Returns a candidate's measured rewards in a pool, in the order they were told."""
        return self._rewards.get((candidate_id, pool), ())

    def _answered(self, cell: Cell) -> None:
        pending = self.pending.get(cell.candidate_id)
        if pending is not None:
            pending.discard(cell.row)
            if not pending:
                del self.pending[cell.candidate_id]

    def _predicted(self, cell: Cell, reward: float) -> None:
        if self._outcomes.get(cell) is not None or cell in self._predictions:
            return
        if self._measured_codes is None:
            self._measured_codes = Codes()
            for row in self.rows:
                self._measured_codes.append(row)
        self._predictions[cell] = reward
        self._unmeasured.setdefault(cell.candidate_id, set()).add(cell.row)
        row = Row(cell.candidate_id, cell.pool, cell.seed, reward)
        self.rows.append(row)
        self.codes.append(row)

    def _measured(self, row: Row) -> None:
        self.rows.append(row)
        self.codes.append(row)
        if self._measured_codes is not None:
            self._measured_codes.append(row)
        self._rewards.setdefault((row.candidate_id, row.pool), []).append(row.reward)

    @property
    def minibatch_count(self) -> int:
        """How many minibatch trials were suggested."""
        return self.kinds[TrialKind.MINIBATCH]

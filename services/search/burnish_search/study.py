"""One study: a state machine over the log of the controller's ledger.

Every change leads to the next revision. A change whose revision was already reached is a repeat and
changes nothing; one that skips a revision, or that differs from what was recorded at its revision,
means that this cache is not the controller's study any more, and is answered STUDY_STALE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from burnish_search import checks, objectives
from burnish_search.algorithms.base import Algorithm, Ask, QuickAlgorithm
from burnish_search.changes import (
    Change,
    ComponentsAdded,
    ComponentsRetired,
    ObservationsTold,
    WorkClosed,
    WorkSuggested,
)
from burnish_search.history import History
from burnish_search.model import (
    Cell,
    Component,
    EvaluationPlan,
    FinishPlan,
    Observation,
    Plan,
    Ranked,
    StudySpec,
    StudyState,
    Trial,
    TrialPlan,
    Work,
)
from burnish_search.objectives import Objective, Ranking
from burnish_search.problems import AskOutOfOrder, ChangeInvalid, StudyStale, WorkUnknown


class Study:
    """A study in memory. Not safe for concurrent use; the registry holds a lock per study."""

    def __init__(
        self, spec: StudySpec, algorithm: Algorithm, objective: Objective | None = None
    ) -> None:
        self.spec = spec
        self.history = History(spec)
        self.state = StudyState.ACTIVE
        self._algorithm = algorithm
        self._objective = objective
        self._quick = algorithm if isinstance(algorithm, QuickAlgorithm) else None
        self._fingerprints: list[int] = []

    @property
    def warnings(self) -> Sequence[str]:
        """Settings that are known, but have no effect."""
        return self._algorithm.warnings

    @property
    def revision(self) -> int:
        """How many changes it holds."""
        return len(self._fingerprints)

    def add_components(self, revision: int, components: Sequence[Component]) -> None:
        """Grows the space."""
        change = ComponentsAdded(components=tuple(components))
        if self._is_new(revision, change):
            checks.components(self.history, components)
            self._apply(change, lambda: self.history.add(components))

    def retire(self, revision: int, component_ids: Sequence[str]) -> None:
        """Takes components out of what is offered."""
        change = ComponentsRetired(component_ids=tuple(component_ids))
        if self._is_new(revision, change):
            self._apply(change, lambda: self.history.retire(component_ids))

    def tell(self, revision: int, observations: Sequence[Observation]) -> None:
        """Records measurements."""
        change = ObservationsTold(observations=tuple(observations))
        if self._is_new(revision, change):
            checks.observations(self.history, observations)
            self._apply(change, lambda: self.history.tell(observations))

    def close(self, revision: int, ask_index: int) -> Work:
        """Ends a work and returns it."""
        work = self._work(ask_index)
        change = WorkClosed(ask_index=ask_index)
        if self._is_new(revision, change):
            if work.closed:
                raise ChangeInvalid(self.spec.name, [f"work {ask_index} is already closed"])
            self._apply(change, lambda: self.history.close(work))
        return work

    def suggest(self, ask_index: int, as_of_revision: int, remaining: int | None) -> Work:
        """Returns the work for an ask: the recorded one when it was answered before."""
        works = self.history.works
        if ask_index < len(works):
            work = works[ask_index]
            if work.revision != as_of_revision + 1:
                raise self._stale(
                    as_of_revision, f"ask {ask_index} was answered as of {work.revision - 1}"
                )
            return work
        if as_of_revision != self.revision:
            raise self._stale(as_of_revision, "the ask is as of another revision")
        if ask_index > len(works):
            raise AskOutOfOrder(self.spec.name, ask_index=ask_index, expected=len(works))
        ask = Ask(index=ask_index, cell_count=self._cells_left(remaining))
        self._record(self._recorded(ask_index, self._plan(ask)))
        return self.history.works[-1]

    def is_quick(self, ask_index: int) -> bool:
        """Whether the answer to an ask takes about as little time as to hand it to a thread."""
        if self.state is StudyState.COMPLETED or ask_index < len(self.history.works):
            return True
        return self._quick is not None and self._quick.is_quick(self.history)

    def preferred(self, as_of_revision: int, count: int) -> Ranking:
        """Returns the candidates to take, the first choice first, with what else they cost."""
        objective = self._objective
        if objective is None:
            ranked = self.rank(as_of_revision, count)
            return Ranking(candidates=objectives.told(self.history, ranked))
        found = objective.order(self.history, self.rank(as_of_revision, objectives.MOST_WEIGHED))
        return Ranking(candidates=found.candidates[:count], choice=found.choice)

    def rank(self, as_of_revision: int, count: int) -> Sequence[Ranked]:
        """Returns the best candidates by reward alone."""
        if as_of_revision != self.revision:
            raise self._stale(as_of_revision, "the ranking is wanted as of another revision")
        return self._algorithm.rank(self.history, count)

    def replay(self, revision: int, change: Change) -> None:
        """Applies an entry of the log; recorded work is taken as it stands."""
        if revision != self.revision + 1:
            raise ChangeInvalid(
                self.spec.name,
                [f"entry {revision} does not follow entry {self.revision}; send them without gaps"],
            )
        match change:
            case ComponentsAdded(components=components):
                self.add_components(revision, components)
            case ComponentsRetired(component_ids=component_ids):
                self.retire(revision, component_ids)
            case ObservationsTold(observations=observations):
                self.tell(revision, observations)
            case WorkClosed(ask_index=ask_index):
                self.close(revision, ask_index)
            case WorkSuggested():
                checks.work(self.history, change)
                # What is recorded changes with the study; what was given does not.
                self._record(replace(change, trials=[replace(one) for one in change.trials]))

    def _plan(self, ask: Ask) -> Plan:
        if self.state is StudyState.COMPLETED:
            last = self.history.works[-1].plan
            if isinstance(last, FinishPlan):
                return last
        return self._algorithm.suggest(self.history, ask)

    def _cells_left(self, remaining: int | None) -> int | None:
        most = self.spec.max_cell_count
        own = None if most is None else max(most - self.history.suggested_cell_count, 0)
        limits = [limit for limit in (own, remaining) if limit is not None]
        return min(limits) if limits else None

    def _recorded(self, ask_index: int, plan: Plan) -> WorkSuggested:
        if not isinstance(plan, EvaluationPlan):
            return WorkSuggested(ask_index=ask_index, plan=plan, trials=())
        first = len(self.history.trials)
        trials = [_numbered(trial, first + place) for place, trial in enumerate(plan.trials)]
        return WorkSuggested(ask_index=ask_index, plan=None, trials=trials, sampler=plan.sampler)

    def _record(self, change: WorkSuggested) -> None:
        work = Work(
            ask_index=change.ask_index,
            plan=change.plan,
            trials=tuple(change.trials),
            revision=self.revision + 1,
            sampler=change.sampler,
        )
        self._apply(change, lambda: self.history.suggest(work))
        if isinstance(change.plan, FinishPlan):
            self.state = StudyState.COMPLETED

    def _is_new(self, revision: int, change: Change) -> bool:
        if revision > self.revision + 1 or revision < 1:
            raise self._stale(revision - 1, f"the change leads to revision {revision}")
        if revision == self.revision + 1:
            return True
        if self._fingerprints[revision - 1] != _fingerprint(change):
            raise self._stale(revision, f"revision {revision} was reached by another change")
        return False

    def _apply(self, change: Change, apply: Callable[[], None]) -> None:
        apply()
        self._fingerprints.append(_fingerprint(change))

    def _work(self, ask_index: int) -> Work:
        if not 0 <= ask_index < len(self.history.works):
            raise WorkUnknown(self.spec.name, ask_index)
        return self.history.works[ask_index]

    def _stale(self, wanted: int, why: str) -> StudyStale:
        return StudyStale(self.spec.name, revision=self.revision, wanted=wanted, why=why)


def _numbered(plan: TrialPlan, trial_index: int) -> Trial:
    cells = (
        Cell(candidate_id=plan.candidate.candidate_id, pool=pool, seed=seed, repeat=plan.repeat)
        for pool, seed in plan.rows
    )
    return Trial(
        trial_index=trial_index,
        candidate=plan.candidate,
        kind=plan.kind,
        cells=tuple(cells),
        iteration=plan.iteration,
    )


def _fingerprint(change: Change) -> int:
    """Returns a number that tells changes apart; it never leaves the process."""
    if isinstance(change, WorkSuggested):
        return hash(("work", change.ask_index))
    return hash(change)

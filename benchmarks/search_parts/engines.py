"""Searches of the product, driven in a world through the study that the service drives, too.

There is no second implementation here: a study is asked, told and ranked, as over the wire. A cell
costs one evaluation when it is suggested, whether or not its measurement came back.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from benchmarks.search_parts import proposals
from benchmarks.search_parts.worlds import Searched
from burnish_search.algorithms.base import Algorithm
from burnish_search.algorithms.gepa import Gepa
from burnish_search.algorithms.mipro import tpe_engine
from burnish_search.algorithms.race import Race
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.changes import (
    Change,
    ComponentsAdded,
    ObservationsTold,
    WorkClosed,
    WorkSuggested,
)
from burnish_search.model import (
    Candidate,
    Cell,
    Component,
    FinishPlan,
    FinishReason,
    Kind,
    Observation,
    Pool,
    ProposalPlan,
    StudySpec,
    Trial,
    Work,
)
from burnish_search.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A search with its settings.

    Attributes:
        name: What to call it in a table.
        build: Builds the algorithm of a study.
        settings: Its settings.
        online: Whether rows are those of the online pool, and there is no validation pool.
        writes: Whether options come one by one, as answers to its briefs: other ones at random.
    """

    name: str
    build: Callable[[StudySpec], Algorithm]
    settings: Mapping[str, object] = field(default_factory=dict)
    online: bool = False
    writes: bool = False

    def tuned(self, name: str, **table: object) -> Engine:
        """Returns the engine with other settings of its `race` table."""
        settings = {**self.settings, "race": table}
        return replace(self, name=name, settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search came to within a budget.

    Attributes:
        budget: Evaluations that it might spend.
        spent: Evaluations that it did spend.
        arm: What it recommends.
        reported: Mean that it claims for it, in [0, 1]; None when it claims none.
        stopped: Whether it ended by itself for want of anything to gain.
        seconds: Slowest decision, in time of the processor.
        rewards: What was measured, by arm and example.
    """

    budget: int
    spent: int
    arm: int
    reported: float | None = None
    stopped: bool = False
    seconds: float = 0.0
    rewards: Mapping[int, Mapping[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a search has to put up with.

    Attributes:
        fault_share: Share of cells whose measurement never comes, in [0, 1].
        faults_score_zero: Whether such a cell is told as a reward of 0 instead, which is wrong.
        open_works: Works that are asked for before the first of them is told.
    """

    fault_share: float = 0.0
    faults_score_zero: bool = False
    open_works: int = 1


CALM = Conditions()
# Trials are no limit here, as the budget is one.
_OPEN_ENDED = {"minibatch_source": "validation", "batch_size": 35, "num_trials": 1_000_000}
# All of the budget is raced: no validation pool is kept for a last check.
RACE = Engine(name="race", build=Race, online=True)
TPE = Engine(name="tpe", build=tpe_engine, settings=_OPEN_ENDED)
RANDOM = Engine(name="random", build=RandomSearch, settings=_OPEN_ENDED)
# Generations are no limit either, and all rows but the Pareto rows are for feedback.
EVOLVING = Engine(
    name="our gepa",
    build=Gepa,
    settings={
        "num_generations": 1_000_000,
        "patience_generations": 0,
        "feedback_fraction": 1.0,
    },
    online=True,
    writes=True,
)


class Session:
    """One search in one world.

    Attributes:
        study: The study.
        log: What it could be restored from.
        decided: What the last decision took, in seconds of the processor.
        slowest: What the slowest one took.
        reason: Why the search ended; None while it has not.
    """

    def __init__(
        self, engine: Engine, world: Searched, *, budget: int, conditions: Conditions = CALM
    ) -> None:
        """Prepares it.

        Args:
            engine: The search.
            world: Where it searches.
            budget: Most evaluations.
            conditions: What it has to put up with.
        """
        self._engine = engine
        self._world = world
        self._budget = budget
        self._conditions = conditions
        self._arms: dict[str, int] = {}
        self._waiting: deque[Work] = deque()
        self.log: list[Change] = []
        self.slowest = 0.0
        self.decided = 0.0
        self.reason: FinishReason | None = None
        self.study = self._fresh()
        shape = (1, 1) if engine.writes else world.shape
        added = ComponentsAdded(components=tuple(_components(world, shape)))
        self.study.replay(1, added)
        self.log.append(added)

    @property
    def spent(self) -> int:
        """Evaluations suggested, whether or not a measurement came back."""
        return self.study.history.suggested_cell_count

    def run(self) -> Outcome:
        """Searches until the search ends it."""
        for _ in self.works():
            pass
        return self.outcome()

    def works(self) -> Iterator[Work]:
        """Asks and observes, and yields every work once it is done."""
        while self.reason is None or self._waiting:
            if self.reason is not None or len(self._waiting) >= self._conditions.open_works:
                done = self._waiting.popleft()
                self._observe(done)
                yield done
            else:
                self._ask()

    def _ask(self) -> None:
        start = time.process_time()
        work = self.study.suggest(len(self.study.history.works), self.study.revision, None)
        self.decided = time.process_time() - start
        self.slowest = max(self.slowest, self.decided)
        trials = tuple(_open(trial) for trial in work.trials)
        self.log.append(
            WorkSuggested(
                ask_index=work.ask_index, plan=work.plan, trials=trials, sampler=work.sampler
            )
        )
        if isinstance(work.plan, FinishPlan):
            self.reason = work.plan.reason
        else:
            self._waiting.append(work)

    def outcome(self) -> Outcome:
        """Returns what the search recommends now."""
        best = self.study.rank(self.study.revision, 1)[0]
        rewards: dict[int, dict[int, float]] = {}
        known = self.study.history.candidates
        for row in self.study.history.rows:
            # A search that goes on from a log was not here when its candidates were observed.
            rewards.setdefault(self._arm(known[row.candidate_id]), {})[row.seed] = row.reward
        return Outcome(
            budget=self._budget,
            spent=self.spent,
            arm=self._arm(best.candidate),
            reported=best.pooled.mean,
            stopped=self.reason is FinishReason.NO_IMPROVEMENT,
            seconds=self.slowest,
            rewards=rewards,
        )

    def restored(self, length: int) -> Session:
        """Returns a session that goes on from the first entries of the log, in a new study."""
        session = Session(
            self._engine, self._world, budget=self._budget, conditions=self._conditions
        )
        for place, change in enumerate(self.log[1:length], start=2):
            session.study.replay(place, change)
            session.log.append(change)
        last = session.log[-1]
        for work in session.study.history.works:
            if isinstance(work.plan, FinishPlan):
                session.reason = work.plan.reason
            elif not work.closed:
                session._waiting.append(work)
        if isinstance(last, ObservationsTold | ComponentsAdded) and len(session.log) > 1:
            # Works are told in their order, so it was the first of the open ones.
            session._record(WorkClosed(ask_index=session._waiting.popleft().ask_index))
        return session

    def record(self, work: WorkSuggested) -> None:
        """Records a work as if it had been suggested, and observes it."""
        self._record(work)
        self._observe(self.study.history.works[-1])

    @staticmethod
    def cell(candidate: Candidate, pool: Pool, example: int) -> Cell:
        """Returns a cell of a candidate."""
        return Cell(candidate_id=candidate.candidate_id, pool=pool, seed=example)

    def _record(self, change: Change) -> None:
        self.study.replay(self.study.revision + 1, change)
        self.log.append(change)

    def _observe(self, work: Work) -> None:
        told = tuple(
            Observation(cell=cell, reward=self._reward(trial.candidate, cell.seed, cell.repeat))
            for trial in work.trials
            for cell in trial.cells
        )
        if told:
            self._record(ObservationsTold(observations=told))
        if isinstance(work.plan, ProposalPlan) and self._engine.writes:
            written = proposals.written(self._world, self.study.history, work.plan)
            if written:
                self._record(ComponentsAdded(components=written))
        self._record(WorkClosed(ask_index=work.ask_index))

    def _reward(self, candidate: Candidate, example: int, repeat: int) -> float | None:
        arm = self._arm(candidate)
        if self._conditions.fault_share:
            key = f"{self._world.seed}/{arm}/{example}/{repeat}"
            if random.Random(key).random() < self._conditions.fault_share:
                return 0.0 if self._conditions.faults_score_zero else None
        return self._world.reward(arm, example)

    def _arm(self, candidate: Candidate) -> int:
        if candidate.candidate_id not in self._arms:
            self._arms[candidate.candidate_id] = proposals.arm(self._world, candidate.choices)
        return self._arms[candidate.candidate_id]

    def _fresh(self) -> Study:
        rows = tuple(range(self._world.row_count))
        settings = dict(self._engine.settings)
        if self._engine.build is Race:
            settings["max_evaluations"] = self._budget
        spec = StudySpec(
            name="studies/benchmark",
            algorithm=self._engine.name,
            settings=settings,
            random_seed=self._world.seed,
            stage_ids=tuple(_stage_ids(self._world)),
            online=rows if self._engine.online else (),
            validation=() if self._engine.online else rows,
            max_cell_count=self._budget,
        )
        return Study(spec, self._engine.build(spec))


def _stage_ids(world: Searched) -> Iterator[str]:
    return (f"stage{place}" for place in range(world.stages))


def _components(world: Searched, shape: tuple[int, int]) -> Iterator[Component]:
    for stage_id in _stage_ids(world):
        for place in range(shape[0]):
            yield Component(
                component_id=f"ins_{stage_id}_{place}",
                stage_id=stage_id,
                kind=Kind.INSTRUCTION,
                baseline=place == 0,
            )
        for place in range(shape[1]):
            yield Component(
                component_id=f"dem_{stage_id}_{place}",
                stage_id=stage_id,
                kind=Kind.DEMO_SET,
                zero_shot=place == 0,
            )


def _open(trial: Trial) -> Trial:
    """Returns a trial as it was suggested, which is how a log holds it."""
    return Trial(
        trial_index=trial.trial_index,
        candidate=trial.candidate,
        kind=trial.kind,
        cells=trial.cells,
        iteration=trial.iteration,
    )

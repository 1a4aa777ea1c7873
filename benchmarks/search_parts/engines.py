"""Searches of the product, driven in a world through the study that the service drives, too.

There is no second implementation here: a study is asked, told and ranked, as over the wire. A cell
costs one evaluation when it is suggested, whether or not its measurement came back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from benchmarks.search_parts.worlds import World
from burnish_search.algorithms.base import Algorithm
from burnish_search.algorithms.mipro import tpe_engine
from burnish_search.algorithms.race import Race
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.model import (
    Candidate,
    Cell,
    Change,
    Component,
    ComponentsAdded,
    FinishPlan,
    FinishReason,
    Kind,
    Observation,
    ObservationsTold,
    Pool,
    StudySpec,
    Trial,
    Work,
    WorkClosed,
    WorkSuggested,
)
from burnish_search.study import Study

_STAGE = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A search with its settings.

    Attributes:
        name: What to call it in a table.
        build: Builds the algorithm of a study.
        settings: Its settings.
        online: Whether rows are those of the online pool, and there is no validation pool.
    """

    name: str
    build: Callable[[StudySpec], Algorithm]
    settings: Mapping[str, object] = field(default_factory=dict)
    online: bool = False

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


# Trials are no limit here, as the budget is one.
_OPEN_ENDED = {"minibatch_source": "validation", "batch_size": 35, "num_trials": 1_000_000}
# All of the budget is raced: no validation pool is kept for a last check.
RACE = Engine(name="race", build=Race, online=True)
TPE = Engine(name="tpe", build=tpe_engine, settings=_OPEN_ENDED)
RANDOM = Engine(name="random", build=RandomSearch, settings=_OPEN_ENDED)


class Session:
    """One search in one world.

    Attributes:
        study: The study.
        log: What it could be restored from.
        spent: Evaluations spent.
        decided: What the last decision took, in seconds of the processor.
        slowest: What the slowest one took.
        reason: Why the search ended; None while it has not.
    """

    def __init__(
        self, engine: Engine, world: World, *, budget: int, fault_share: float = 0.0
    ) -> None:
        """Prepares it.

        Args:
            engine: The search.
            world: Where it searches.
            budget: Most evaluations.
            fault_share: Share of cells whose measurement never comes, in [0, 1].
        """
        self._engine = engine
        self._world = world
        self._budget = budget
        self._fault_share = fault_share
        self._arms: dict[str, int] = {}
        self.log: list[Change] = []
        self.spent = 0
        self.slowest = 0.0
        self.decided = 0.0
        self.reason: FinishReason | None = None
        self.study = self._fresh()
        added = ComponentsAdded(components=tuple(_components(world.shape)))
        self.study.replay(1, added)
        self.log.append(added)

    def run(self) -> Outcome:
        """Searches until the search ends it."""
        for _ in self.works():
            pass
        return self.outcome()

    def works(self) -> Iterator[Work]:
        """Asks and observes, and yields every work once it is done."""
        while True:
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
                return
            self._observe(work)
            yield work

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
            self._engine, self._world, budget=self._budget, fault_share=self._fault_share
        )
        for place, change in enumerate(self.log[1:length], start=2):
            session.study.replay(place, change)
            session.log.append(change)
        history = session.study.history
        session.spent = history.suggested_cell_count
        if history.works and history.works[-1].plan is None and not history.works[-1].closed:
            session._resume(history.works[-1])
        return session

    def record(self, work: WorkSuggested) -> None:
        """Records a work as if it had been suggested, and observes it."""
        self._record(work)
        self._observe(self.study.history.works[-1])

    @staticmethod
    def cell(candidate: Candidate, pool: Pool, example: int) -> Cell:
        """Returns a cell of a candidate."""
        return Cell(candidate_id=candidate.candidate_id, pool=pool, seed=example)

    def _resume(self, work: Work) -> None:
        if isinstance(self.log[-1], WorkSuggested):
            self.spent -= sum(len(trial.cells) for trial in work.trials)
            self._observe(work)
        else:
            self._record(WorkClosed(ask_index=work.ask_index))

    def _record(self, change: Change) -> None:
        self.study.replay(self.study.revision + 1, change)
        self.log.append(change)

    def _observe(self, work: Work) -> None:
        told = tuple(
            Observation(cell=cell, reward=self._reward(trial.candidate, cell.seed, cell.repeat))
            for trial in work.trials
            for cell in trial.cells
        )
        self.spent += len(told)
        if self.spent > self._budget:
            raise RuntimeError(f"{self._engine.name} spent {self.spent} of {self._budget}")
        if told:
            self._record(ObservationsTold(observations=told))
        self._record(WorkClosed(ask_index=work.ask_index))

    def _reward(self, candidate: Candidate, example: int, repeat: int) -> float | None:
        arm = self._arm(candidate)
        if self._fault_share:
            key = f"{self._world.seed}/{arm}/{example}/{repeat}"
            if random.Random(key).random() < self._fault_share:
                return None
        return float(self._world.seen[arm, example])

    def _arm(self, candidate: Candidate) -> int:
        if candidate.candidate_id not in self._arms:
            instruction, demo_set = (int(one.split("_")[1]) for one in candidate.choices)
            arm = instruction * self._world.shape[1] + demo_set
            self._arms[candidate.candidate_id] = arm
        return self._arms[candidate.candidate_id]

    def _fresh(self) -> Study:
        rows = tuple(range(self._world.seen.shape[1]))
        settings = dict(self._engine.settings)
        if self._engine.online:
            settings["max_evaluations"] = self._budget
        spec = StudySpec(
            name="studies/benchmark",
            algorithm=self._engine.name,
            settings=settings,
            random_seed=self._world.seed,
            stage_ids=(_STAGE,),
            online=rows if self._engine.online else (),
            validation=() if self._engine.online else rows,
            max_cell_count=self._budget,
        )
        return Study(spec, self._engine.build(spec))


def _components(shape: tuple[int, int]) -> Iterator[Component]:
    for place in range(shape[0]):
        yield Component(
            component_id=f"ins_{place}",
            stage_id=_STAGE,
            kind=Kind.INSTRUCTION,
            baseline=place == 0,
        )
    for place in range(shape[1]):
        yield Component(
            component_id=f"dem_{place}",
            stage_id=_STAGE,
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

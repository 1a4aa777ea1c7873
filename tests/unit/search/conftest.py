"""Plays the controller towards the engine, without a wire."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

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
    Kind,
    Observation,
    Pool,
    ProposalPlan,
    StudySpec,
    Trial,
)
from burnish_search.study import Study

Reward = Callable[[Candidate, Cell], float | None]


def components(instructions=4, demo_sets=3, stages=("main",)):
    return [
        made
        for stage in stages
        for made in (
            *(instruction(place, stage) for place in range(instructions)),
            *(demo_set(place, stage) for place in range(demo_sets)),
        )
    ]


def instruction(place, stage="main"):
    return Component(
        component_id=f"ins_{stage}_{place}",
        stage_id=stage,
        kind=Kind.INSTRUCTION,
        baseline=place == 0,
    )


def demo_set(place, stage="main"):
    return Component(
        component_id=f"dem_{stage}_{place}",
        stage_id=stage,
        kind=Kind.DEMO_SET,
        zero_shot=place == 0,
    )


def coin(candidate, cell):
    """A made-up reward, the same whenever it is asked."""
    key = f"{candidate.candidate_id}/{cell.pool}/{cell.seed}/{cell.repeat}"
    return float(random.Random(key).random() < 0.5)


@dataclass
class Rig:
    """One study of one algorithm, and its log."""

    algorithm: type
    settings: dict[str, object] = field(default_factory=lambda: {"batch_size": 5, "num_trials": 10})
    reward: Reward = coin
    online: Sequence[int] = tuple(range(30))
    validation: Sequence[int] = tuple(range(30, 40))
    seed: int = 3
    stages: tuple[str, ...] = ("main",)
    written_stages: tuple[str, ...] = ()
    max_cell_count: int | None = None
    budget: int | None = None
    written: int = 0
    writes: bool = False
    log: list[Change] = field(default_factory=list)

    def __post_init__(self):
        self.study = self.fresh()

    def fresh(self):
        spec = StudySpec(
            name="studies/a",
            algorithm="any",
            settings=self.settings,
            random_seed=self.seed,
            stage_ids=self.stages,
            online=tuple(self.online),
            validation=tuple(self.validation),
            max_cell_count=self.max_cell_count,
            written_stage_ids=self.written_stages,
        )
        return Study(spec, self.algorithm(spec))

    @property
    def history(self):
        return self.study.history

    def add(self, added):
        self.study.add_components(self.study.revision + 1, added)
        self.log.append(ComponentsAdded(components=tuple(added)))

    def tell(self, told):
        self.study.tell(self.study.revision + 1, told)
        self.log.append(ObservationsTold(observations=tuple(told)))

    def start(self, **sizes):
        """Adds components and tells the baseline's evaluation."""
        self.add(components(**sizes, stages=self.stages))
        baseline = self.history.space.baseline()
        cells = [
            Cell(candidate_id=baseline.candidate_id, pool=Pool.VALIDATION, seed=seed)
            for seed in self.validation
        ]
        self.tell([Observation(cell=c, reward=self.reward(baseline, c)) for c in cells])
        return self

    def ask(self):
        work = self.study.suggest(len(self.history.works), self.study.revision, self.budget)
        # A log holds trials as they were suggested: open.
        trials = [
            Trial(
                trial_index=trial.trial_index,
                candidate=trial.candidate,
                kind=trial.kind,
                cells=trial.cells,
                iteration=trial.iteration,
            )
            for trial in work.trials
        ]
        self.log.append(WorkSuggested(ask_index=work.ask_index, plan=work.plan, trials=trials))
        return work

    def do(self, work):
        told = [
            Observation(cell=cell, reward=self.reward(trial.candidate, cell))
            for trial in work.trials
            for cell in trial.cells
        ]
        if told:
            self.tell(told)
        if self.budget is not None:
            self.budget -= len(told)
        self.study.close(self.study.revision + 1, work.ask_index)
        self.log.append(WorkClosed(ask_index=work.ask_index))
        if self.writes and isinstance(work.plan, ProposalPlan):
            self.write(work.plan)

    def write(self, plan):
        """Answers a brief with instructions that were not there before."""
        for stage in plan.stage_ids:
            first = 100 + self.written
            self.written += plan.count
            self.add([instruction(first + place, stage) for place in range(plan.count)])

    def run(self, most_asks=1000):
        for _ in range(most_asks):
            work = self.ask()
            if isinstance(work.plan, FinishPlan):
                break
            self.do(work)
        return self

    def restored(self):
        """Goes on with a study built from the log alone."""
        self.study = self.fresh()
        for place, change in enumerate(self.log):
            self.study.replay(place + 1, change)
        return self

    @property
    def reason(self):
        plan = self.history.works[-1].plan
        return plan.reason if isinstance(plan, FinishPlan) else None

    def kinds(self):
        return [trial.kind for trial in self.history.trials]

    def plans(self):
        """Returns what was suggested, in a form that two studies can be compared by."""
        return [
            (
                work.plan,
                [(t.candidate, t.kind, t.cells, t.iteration, t.mean_reward) for t in work.trials],
            )
            for work in self.history.works
        ]


@pytest.fixture(scope="session")
def rig():
    return Rig


@pytest.fixture(scope="session")
def make():
    """Makers of components."""
    return {"instruction": instruction, "demo_set": demo_set, "components": components}

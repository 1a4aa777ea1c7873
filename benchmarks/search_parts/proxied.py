"""Searches in which a cheaper model may run minibatches, by the controller's own rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.search_parts.engines import Engine, Session
from benchmarks.search_parts.runs import spread
from benchmarks.search_parts.worlds import Environment, World, build
from burnish_controller.proxies.run import Look, Measured, Mode, ProxyRun, Rules, State
from burnish_search.changes import ObservationsTold, WorkClosed
from burnish_search.model import Cell, Observation, TrialKind, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one evaluation costs, by the dear model and by the cheap one."""

    high: float = 1.0
    low: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a search with a cheaper model.

    Attributes:
        world: Name of the world.
        budget: Cells that it might suggest.
        regret: How far its choice is below the best arm, in points.
        high: Evaluations by the dear model.
        low: Evaluations by the cheap one.
        on: Whether the cheap one ever ran alone.
        net_gain: Net gain as the report has it, in evaluations by the dear model.
    """

    world: str
    budget: int
    regret: float
    high: int
    low: int
    on: bool
    net_gain: float

    def cost(self, price: Price) -> float:
        """Returns what it cost."""
        return self.high * price.high + self.low * price.low


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Searches to run in one world, with and without a cheaper model."""

    environment: Environment
    place: int
    repetition: int
    engine: Engine
    budgets: tuple[int, ...]
    rules: Rules | None


class ProxySession(Session):
    """A search in a world whose minibatches a cheaper model may run.

    Attributes:
        high: Evaluations by the dear model.
        low: Evaluations by the cheap one.
        proxy: When the cheap one stands in.
    """

    def __init__(self, engine: Engine, world: World, *, budget: int, rules: Rules) -> None:
        super().__init__(engine, world, budget=budget)
        self._low_rewards = world.low
        self.proxy = ProxyRun(rules)
        self.high = self.low = 0
        self._price = Price()

    def _observe(self, work: Work) -> None:
        small = [trial.kind is TrialKind.MINIBATCH for trial in work.trials]
        decided = iter(self.proxy.modes(sum(small)))
        told: list[Observation] = []
        looks = []
        for trial, may in zip(work.trials, small, strict=True):
            mode = next(decided) if may else Mode.HIGH
            arm = self._arm(trial.candidate)
            if mode is not Mode.LOW:
                told += [
                    Observation(cell=cell, reward=self._reward(trial.candidate, cell.seed, 0))
                    for cell in trial.cells
                ]
                self.high += len(trial.cells)
            cheap = [] if mode is Mode.HIGH else [self._low(arm, cell) for cell in trial.cells]
            self.low += len(cheap)
            if mode is Mode.LOW and self.proxy.fit is not None:
                rewards = self.proxy.fit.rewards(cheap)
                told += [
                    Observation(cell=cell, reward=reward, predicted=True)
                    for cell, reward in zip(trial.cells, rewards, strict=True)
                ]
            if may:
                looks.append(self._look(mode, arm, trial.cells, cheap))
        self._record(ObservationsTold(observations=tuple(told)))
        self._record(WorkClosed(ask_index=work.ask_index))
        self.proxy.take(looks)

    def _look(self, mode: Mode, arm: int, cells: Sequence[Cell], cheap: Sequence[float]) -> Look:
        price = self._price
        low = {
            f"{arm}/{cell.seed}": Measured(reward=reward, cost_usd=price.low)
            for cell, reward in zip(cells, cheap, strict=False)
        }
        high = {
            f"{arm}/{cell.seed}": Measured(
                reward=self._world.reward(arm, cell.seed), cost_usd=price.high
            )
            for cell in (cells if mode is Mode.BOTH else ())
        }
        return Look(mode=mode, high=high, low=low)

    def _low(self, arm: int, cell: Cell) -> float:
        if self._low_rewards is None:
            raise RuntimeError(f"{self._world.name} has no cheaper model")
        return float(self._low_rewards[arm, cell.seed])


def run(tasks: Iterable[Task], *, processes: int) -> Iterator[Found]:
    """Runs tasks and yields what came of them, in their order."""
    return spread(_run, tasks, processes=processes)


def _run(task: Task) -> list[Found]:
    world = build(task.environment, task.place, task.repetition)
    if world.low is None:
        world = replace(world, low=world.seen)  # A cheap model that earns the same everywhere.
    return [_one(task, world, budget) for budget in task.budgets]


def _one(task: Task, world: World, budget: int) -> Found:
    if task.rules is None:
        plain = Session(task.engine, world, budget=budget).run()
        return Found(
            world=world.name,
            budget=budget,
            regret=world.regret(plain.arm),
            high=plain.spent,
            low=0,
            on=False,
            net_gain=0.0,
        )
    session = ProxySession(task.engine, world, budget=budget, rules=task.rules)
    outcome = session.run()
    gain = session.proxy.net_gain_usd
    return Found(
        world=world.name,
        budget=budget,
        regret=world.regret(outcome.arm),
        high=session.high,
        low=session.low,
        on=session.proxy.state is State.ON or session.proxy.predicted_trials > 0,
        net_gain=math.nan if gain is None else gain,
    )

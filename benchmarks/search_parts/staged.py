"""Made-up worlds of several stages, with too many candidates to list, and searches there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.search_parts.engines import Engine, Session
from benchmarks.search_parts.matrices import Array
from benchmarks.search_parts.runs import spread
from benchmarks.search_parts.worlds import MAIN_EFFECTS

STAGES = 3
SHAPE = (6, 12)
_ROWS = 200
# Latent level and deviations: of all candidates, of rows, and of a candidate on a row. They give
# rewards like the recorded ones, in which rows differ more than what is left of a cell.
_LEVEL = 0.05
_SPREAD = 0.09
_ROW_SPREAD = 0.3
_NOISE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedWorld:
    """One world; each stage adds to the worth of a candidate, and rewards are 0 or 1.

    Attributes:
        name: What to call it.
        seed: Seed of the world, and of whatever a search draws in it.
        worth: What every pair of instruction and demo set adds, stages x pairs.
        ease: What every row adds.
        stages: How many stages it has.
        shape: Instructions and demo sets of every stage.
    """

    name: str
    seed: int
    worth: Array
    ease: Array
    stages: int = STAGES
    shape: tuple[int, int] = SHAPE

    @property
    def row_count(self) -> int:
        """How many examples searches may look at."""
        return len(self.ease)

    def reward(self, arm: int, example: int) -> float:
        """Returns what an arm earns on an example, the same whenever it is asked."""
        drawn = np.random.default_rng([self.seed, arm, example]).random()
        return float(drawn < self._chance(arm)[example])

    def level(self, arm: int) -> float:
        """Returns the mean reward that an arm can expect."""
        return float(self._chance(arm).mean())

    def regret(self, arm: int) -> float:
        """Returns how far an arm is below the best one, in points."""
        size = SHAPE[0] * SHAPE[1]
        best = 0
        for stage in self.worth:
            best = best * size + int(stage.argmax())
        return 100.0 * (self.level(best) - self.level(arm))

    def _chance(self, arm: int) -> Array:
        size = SHAPE[0] * SHAPE[1]
        added = 0.0
        for stage in self.worth[::-1]:
            arm, pair = divmod(arm, size)
            added += float(stage[pair])
        beyond = (_LEVEL + added + self.ease) / _NOISE
        return np.asarray(1.0 / (1.0 + np.exp(-1.7 * beyond)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Searches to run in one world."""

    seed: int
    engines: tuple[Engine, ...]
    budgets: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of one search.

    Attributes:
        world: Number of the world.
        method: Name of the search.
        budget: Evaluations that it might spend.
        spent: Evaluations that it did spend.
        regret: How far its choice is below the best candidate, in points.
        optimism: How far its claim is above what the choice is worth, in points.
        milliseconds: Slowest decision, in time of the processor.
    """

    world: int
    method: str
    budget: int
    spent: int
    regret: float
    optimism: float | None
    milliseconds: float


def build(seed: int) -> StagedWorld:
    """Builds a world; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    deviations = _SPREAD * np.sqrt(np.array(MAIN_EFFECTS) / STAGES)
    worth = (
        rng.normal(0, deviations[0], (STAGES, SHAPE[0], 1))
        + rng.normal(0, deviations[1], (STAGES, 1, SHAPE[1]))
        + rng.normal(0, deviations[2], (STAGES, *SHAPE))
    ).reshape(STAGES, -1)
    return StagedWorld(
        name=f"{STAGES} stages/{seed}",
        seed=seed,
        worth=worth,
        ease=rng.normal(0, _ROW_SPREAD, _ROWS),
    )


def run(tasks: Iterable[Task], *, processes: int) -> Iterator[Found]:
    """Runs tasks and yields what came of them, in their order."""
    return spread(_run, tasks, processes=processes)


def _run(task: Task) -> list[Found]:
    world = build(task.seed)
    found = []
    for engine in task.engines:
        for budget in task.budgets:
            outcome = Session(engine, world, budget=budget).run()
            claim = outcome.reported
            found.append(
                Found(
                    world=task.seed,
                    method=engine.name,
                    budget=budget,
                    spent=outcome.spent,
                    regret=world.regret(outcome.arm),
                    optimism=None if claim is None else 100 * (claim - world.level(outcome.arm)),
                    milliseconds=1000 * outcome.seconds,
                )
            )
    return found

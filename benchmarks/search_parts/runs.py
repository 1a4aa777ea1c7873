"""Runs methods in worlds, several processes at once, and keeps what came of each."""

from __future__ import annotations

import atexit
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import numpy as np

from benchmarks.search_parts import peers
from benchmarks.search_parts.engines import CALM, Conditions, Engine, Outcome, Session
from benchmarks.search_parts.matrices import Array
from benchmarks.search_parts.peers import Peer, Runner
from benchmarks.search_parts.worlds import Environment, World, build
from burnish.errors import BurnishError
from burnish.verdicts import compare

_Work = TypeVar("_Work")
_Found = TypeVar("_Found")
_runners: list[Runner] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to search, and how much it may spend.

    Attributes:
        how: A search of the product, or a peer.
        budgets: Evaluations; a search of the product runs once for each.
        conditions: What a search of the product has to put up with.
        label: What to call it in a table; empty is the name of the search.
    """

    how: Engine | Peer
    budgets: tuple[int, ...]
    conditions: Conditions = CALM
    label: str = ""

    @property
    def name(self) -> str:
        """Returns what to call it in a table."""
        return self.label or self.how.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Methods to run in one world."""

    environment: Environment
    place: int
    repetition: int
    methods: tuple[Method, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one method in one world at one budget.

    Attributes:
        environment: Name of the environment.
        world: Name of the world.
        method: Name of the method.
        outcome: What it recommends.
        regret: How far that is below the best arm, in points.
        gain: How far it is above the baseline, in points, on all examples.
        optimism: How far its claim is above the mean held back, in points, less `ease`; None
            without a claim.
        ease: How much easier the examples that are searched happen to be than those held back, over
            all arms, in points: that is no merit of a search, and no fault.
        findable: Whether the best arm passes the closing test on every example, seen or held back:
            what no search and no test can do better.
        baseline: Rewards of the baseline that no search saw.
        winner: Rewards of the recommended arm on the same examples.
    """

    environment: str
    world: str
    method: str
    outcome: Outcome
    regret: float
    gain: float
    optimism: float | None
    ease: float
    findable: bool
    baseline: Array
    winner: Array


def run(tasks: Iterable[Task], *, processes: int) -> Iterator[Result]:
    """Runs tasks and yields results, in the order of the tasks."""
    return spread(_run, tasks, processes=processes)


def spread(
    work: Callable[[_Work], Iterable[_Found]], tasks: Iterable[_Work], *, processes: int
) -> Iterator[_Found]:
    """Does work, a task per process, and yields what came of it, in the order of the tasks.

    A task is taken only when a process is about to be free for it, so tasks may end at any time.
    """
    if processes == 1:
        for task in tasks:
            yield from work(task)
        return
    pool = _pool(processes)
    waiting: deque[Future[Iterable[_Found]]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) > processes:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


@functools.cache
def _pool(processes: int) -> ProcessPoolExecutor:
    """Returns the processes, which are kept for the next table: peers take seconds to start."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def tasks(
    environment: Environment, methods: Iterable[Method], repetitions: Iterable[int]
) -> Iterator[Task]:
    """Yields a task for every matrix and repetition; peers that are not installed are left out."""
    kept = tuple(m for m in methods if not isinstance(m.how, Peer) or peers.installed())
    for repetition in repetitions:
        for place in range(len(environment.matrices)):
            yield Task(environment=environment, place=place, repetition=repetition, methods=kept)


def _run(task: Task) -> list[Result]:
    world = build(task.environment, task.place, task.repetition)
    try:
        return [
            _result(task.environment.name, world, method.name, outcome)
            for method in task.methods
            for outcome in _outcomes(method, world)
        ]
    except BurnishError as error:
        # An error of the search may not survive the way to another process.
        raise RuntimeError(f"{world.name}: {error}") from None


def _outcomes(method: Method, world: World) -> list[Outcome]:
    if isinstance(method.how, Peer):
        found = _runner().run(method.how, world, budget=max(method.budgets))
        return peers.outcomes(found["log"], method.budgets)
    return [
        Session(method.how, world, budget=budget, conditions=method.conditions).run()
        for budget in method.budgets
    ]


def _result(environment: str, world: World, method: str, outcome: Outcome) -> Result:
    worth = world.worth
    held = float(np.mean(world.held[outcome.arm]))
    ease = float(world.seen.mean() - world.held.mean())
    return Result(
        environment=environment,
        world=world.name,
        method=method,
        outcome=outcome,
        regret=world.regret(outcome.arm),
        gain=100.0 * float(worth[outcome.arm] - worth[0]),
        optimism=None if outcome.reported is None else 100.0 * (outcome.reported - held - ease),
        ease=100.0 * ease,
        findable=_findable(world),
        baseline=world.held[0],
        winner=world.held[outcome.arm],
    )


def _findable(world: World) -> bool:
    every = np.concatenate([world.seen, world.held], axis=1)
    best = int(world.worth.argmax())
    found = compare(dict(enumerate(every[best])), dict(enumerate(every[0])))
    return best != 0 and found is not None and found.promoted


def _runner() -> Runner:
    """Returns this process's runner of peers, started when it is first needed."""
    if not _runners:
        _runners.append(Runner())
        atexit.register(_runners[0].close)
    return _runners[0]

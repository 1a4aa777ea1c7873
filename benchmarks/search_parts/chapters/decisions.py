"""What a decision of the race takes with much behind it, in time of the processor and in memory."""

from __future__ import annotations

import itertools
import resource
import statistics

import numpy as np

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE, Session
from benchmarks.search_parts.worlds import World
from burnish_search.changes import WorkSuggested
from burnish_search.model import Pool, Trial, TrialKind

_SIZES = (((10, 20), 5_000, 10.0), ((40, 50), 100_000, 50.0))
_ROWS = 500
_MOST_MEGABYTES = 300.0
_DECISIONS = 9


def measure(bench: Bench, report: Report) -> None:
    """Adds the median decision at two sizes, and the most memory that this process took."""
    for shape, cells, limit in _SIZES:
        taken = 1000.0 * statistics.median(_decisions(shape, cells))
        size = f"{shape[0] * shape[1]:,} candidates x {cells:,} cells"
        report.add(f"race: decision at {size}, in ms", taken, limit, "processor time, median")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.add("race: memory of the whole process, in MB", megabytes, _MOST_MEGABYTES)


def _decisions(shape: tuple[int, int], cells: int) -> list[float]:
    rng = np.random.default_rng(1)
    size = shape[0] * shape[1]
    chance = np.clip(rng.normal(0.6, 0.05, (size, 1)) + rng.normal(0, 0.3, _ROWS), 0, 1)
    rewards = (rng.random((size, _ROWS)) < chance).astype(np.float64)
    world = World(name="made up", seed=1, shape=shape, seen=rewards, held=rewards)
    # What a study may hold at most is no limit here, nor is what would settle the race.
    engine = RACE.tuned("race", stop_regret=0.0, headroom=0.0)
    session = Session(engine, world, budget=10 * cells)
    session.record(_behind(session, shape, cells // size))
    works = itertools.islice(session.works(), _DECISIONS)
    return [session.decided for _ in works]


def _behind(session: Session, shape: tuple[int, int], rows: int) -> WorkSuggested:
    """Returns one work in which every candidate was looked at on as many rows."""
    space = session.study.history.space
    rng = np.random.default_rng(2)
    trials = []
    for place in range(shape[0] * shape[1]):
        options = divmod(place, shape[1])
        candidate = space.candidate(
            [slot[option] for slot, option in zip(space.options, options, strict=True)]
        )
        trials.append(
            Trial(
                trial_index=place,
                candidate=candidate,
                kind=TrialKind.MINIBATCH,
                cells=tuple(
                    session.cell(candidate, Pool.ONLINE, int(seed))
                    for seed in rng.choice(_ROWS, rows, replace=False)
                ),
                iteration=0,
            )
        )
    return WorkSuggested(ask_index=0, plan=None, trials=tuple(trials))

"""Whether a search that is killed goes on as it would have."""

from __future__ import annotations

import random

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import CALM, EVOLVING, RACE, TPE, Conditions, Engine, Session
from benchmarks.search_parts.worlds import World, build

_POINTS = 20
_BUDGET = 1000
_HARD = Conditions(fault_share=0.1, open_works=4)


def measure(bench: Bench, report: Report) -> None:
    """Adds how many of 20 kills change what follows, for every engine."""
    grid = bench.grid()
    if bench.lacks(grid, report):
        return
    world = build(grid, 0, 0)
    for engine in (RACE, TPE, EVOLVING):
        for conditions, shown in ((CALM, ""), (_HARD, " with faults, 4 works in flight")):
            changed = _changed(engine, world, conditions)
            name = f"{engine.name}{shown}: kills of {_POINTS} after which it goes on differently"
            report.add(name, changed, 0)


def _changed(engine: Engine, world: World, conditions: Conditions) -> int:
    whole = Session(engine, world, budget=_BUDGET, conditions=conditions)
    expected = whole.run()
    points = random.Random(7).sample(range(1, len(whole.log)), min(_POINTS, len(whole.log) - 1))
    changed = 0
    for point in points:
        again = whole.restored(point)
        found = again.run()
        same = (found.arm, found.reported) == (expected.arm, expected.reported)
        changed += not (same and again.log == whole.log)
    return changed

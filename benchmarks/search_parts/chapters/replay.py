"""Whether a search that is killed goes on as it would have, and what a decision takes."""

from __future__ import annotations

import random

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE, TPE, Engine, Session
from benchmarks.search_parts.worlds import World, build

_POINTS = 20
_BUDGET = 1000


def measure(bench: Bench, report: Report) -> None:
    """Adds how many of 20 kills change what follows, for both engines."""
    world = build(bench.grid(), 0, 0)
    for engine in (RACE, TPE):
        changed = _changed(engine, world)
        name = f"{engine.name}: kills of {_POINTS} after which the search goes on differently"
        report.add(name, changed, 0)


def _changed(engine: Engine, world: World) -> int:
    whole = Session(engine, world, budget=_BUDGET)
    expected = whole.run()
    points = random.Random(7).sample(range(1, len(whole.log)), min(_POINTS, len(whole.log) - 1))
    changed = 0
    for point in points:
        again = whole.restored(point)
        found = again.run()
        same = (found.arm, found.reported) == (expected.arm, expected.reported)
        changed += not (same and again.log == whole.log)
    return changed

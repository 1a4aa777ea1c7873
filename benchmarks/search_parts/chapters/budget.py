"""Whether a search ever spends more than it may, whatever is lost and however much is in flight."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import EVOLVING, RACE, RANDOM, TPE, Conditions, Engine
from benchmarks.search_parts.runs import Method

BUDGETS = (37, 333)
_SIZES = ((1, 1), (1, 7), (4, 5), (8, 10), (3, 80))
_CONDITIONS = (
    Conditions(fault_share=0.1),
    Conditions(fault_share=0.3, open_works=3),
    Conditions(fault_share=1.0),
)


def measure(bench: Bench, report: Report) -> None:
    """Counts what searches spend, with batches of all sizes and 10, 30 or 100 % of faults."""
    grid = bench.grid()
    if bench.lacks(grid, report):
        return
    engines = [
        RACE.tuned(f"race, {arms} x {rows}", arms_per_batch=arms, rows_per_arm=rows)
        for arms, rows in _SIZES
    ]
    engines += [_sized(one, arms * rows) for one in (TPE, RANDOM) for arms, rows in _SIZES]
    engines += [
        replace(
            EVOLVING,
            name=f"{EVOLVING.name}, {size} rows",
            settings={**EVOLVING.settings, "minibatch_size": size},
        )
        for size in (1, 8, 40)
    ]
    methods = [
        Method(
            how=engine,
            budgets=BUDGETS,
            conditions=conditions,
            label=f"{engine.name}, {conditions.fault_share:.0%} faults",
        )
        for engine in engines
        for conditions in _CONDITIONS
    ]
    report.add_spent(bench.run(grid, methods, worlds=12))


def _sized(engine: Engine, rows: int) -> Engine:
    size = min(rows, BUDGETS[0])
    name = f"{engine.name}, {size} rows"
    return replace(engine, name=name, settings={**engine.settings, "batch_size": size})

"""Whether adaptive batches pay for our engine of GEPA: regret at the same evaluations."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search_parts.bounds import Report, differences, mean, pooled
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import EVOLVING, Engine
from benchmarks.search_parts.runs import Method
from benchmarks.search_parts.worlds import Environment

BUDGETS = (200, 400, 650, 1000, 1500)
LEVELS = ("LOW", "MODERATE", "HIGH")
# How much worse in points a level may be than none, which looks at more rows.
_SLACK = 1.0


def measure(bench: Bench, report: Report) -> None:
    """Adds regret with the batches of every level beside the plain ones."""
    methods = [Method(how=one, budgets=BUDGETS) for one in (EVOLVING, *map(engine, LEVELS))]
    environments = (bench.grid(), Environment(name="flat", kind="flat", matrices=bench.flat))
    for place, environment in enumerate(environments):
        if bench.lacks(environment, report):
            continue
        table = bench.run(environment, methods, worlds=80, part=1.0 / (len(environments) - place))
        report.add_spent(table)
        worlds = len({result.world for result in table.results})
        title = f"Regret in points with adaptive batches, {environment.name}, {worlds} worlds"
        report.tables[title] = f"{table.markdown()}\n\n{differences(table, EVOLVING.name)}"
        for level in LEVELS:
            less = mean(pooled(table, engine(level).name, EVOLVING.name))
            report.add(
                f"{environment.name}: batches {level} less none, pooled over budgets",
                less.mean,
                _SLACK,
                str(less),
            )


def engine(level: str) -> Engine:
    """Returns our engine of GEPA with batches of a level."""
    settings = {**EVOLVING.settings, "adaptive_batch": level}
    return replace(EVOLVING, name=f"{EVOLVING.name}, batches {level}", settings=settings)

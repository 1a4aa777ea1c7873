"""Whether adaptive pools pay: regret at the same number of evaluations, and later without them."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search_parts.bounds import Report, Table, differences, mean, pooled
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import TPE, Engine
from benchmarks.search_parts.runs import Method
from benchmarks.search_parts.worlds import Environment

BUDGETS = (300, 400, 500, 650, 800, 1000)
# A fifth fewer evaluations with a pool than without.
_FEWER = ((400, 500), (650, 800))
_LEVELS = ("LOW", "MODERATE", "HIGH")
# A trial is an iteration here, so that pools shrink within the budgets.
_SHAPE = {"num_evaluations_per_iteration": 1, "full_eval_every_k": 5}


def measure(bench: Bench, report: Report) -> None:
    """Adds regret with the pool of every level beside the plain one."""
    methods = [Method(how=one, budgets=BUDGETS) for one in (_engine(None), *map(_engine, _LEVELS))]
    methods.append(Method(how=_engine("HIGH", anchor_size=0), budgets=BUDGETS))
    environments = (bench.grid(), Environment(name="flat", kind="flat", matrices=bench.flat))
    for place, environment in enumerate(environments):
        if bench.lacks(environment, report):
            continue
        table = bench.run(environment, methods, worlds=80, part=1.0 / (len(environments) - place))
        report.add_spent(table)
        worlds = len({result.world for result in table.results})
        title = f"Regret in points with adaptive pools, tpe, {environment.name}, {worlds} worlds"
        report.tables[title] = f"{table.markdown()}\n\n{differences(table, TPE.name)}"
        if environment.kind == "grid":
            _fewer(table, report)
        for level in _LEVELS:
            less = mean(pooled(table, f"tpe, pool {level}", TPE.name))
            report.add(
                f"{environment.name}: pool {level} less none, pooled over budgets",
                less.mean,
                0.0 if environment.kind == "grid" else 0.3,
                str(less),
            )


def _fewer(table: Table, report: Report) -> None:
    for budget, later in _FEWER:
        if {budget, later} <= set(table.budgets):
            less = table.paired(("tpe, pool HIGH", budget), (TPE.name, later))
            report.add(f"pool HIGH at {budget} less none at {later}", less.mean, 0.3, str(less))


def _engine(level: str | None, **sizes: int) -> Engine:
    if level is None:
        return replace(TPE, settings={**TPE.settings, **_SHAPE})
    pool = {"level": level, **sizes}
    shown = "".join(f", {key.split('_')[0]} {value}" for key, value in sizes.items())
    settings = {**TPE.settings, **_SHAPE, "adaptive_pool": pool}
    return replace(TPE, name=f"tpe, pool {level}{shown}", settings=settings)

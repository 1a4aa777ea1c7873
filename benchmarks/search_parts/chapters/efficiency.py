"""How much a search finds for its evaluations: on grids, and on arms without structure."""

from __future__ import annotations

from benchmarks.search_parts.bounds import Mean, Report, Table, best_other, mean, pooled
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import EVOLVING, RACE, RANDOM, TPE
from benchmarks.search_parts.peers import GEPA, MIPROV2, MIPROV2_LIGHT
from benchmarks.search_parts.runs import Method
from benchmarks.search_parts.worlds import NO_MAIN_EFFECTS, Environment

BUDGETS = (200, 400, 650, 1000, 1500, 2000)
_FROM = 400
_LIGHT, _SMALL = 650, 250
_WORLDS = 300


def measure(bench: Bench, report: Report) -> None:
    """Adds regret by method and budget in every environment."""
    methods = (RACE, TPE, RANDOM, MIPROV2, EVOLVING, GEPA)
    everyone = [Method(how=how, budgets=BUDGETS) for how in methods]
    grids = bench.grid()
    if bench.lacks(grids, report):
        return
    grid = bench.run(grids, everyone, worlds=_WORLDS, part=0.3)
    _add(report, "Regret in points, grid 6 x 12", grid)
    less = _less(grid, (RACE.name, 1000), (MIPROV2.name, 1000), scale=0.6)
    report.add("6 x 12: race at 1000 less 60 % of MIPROv2 at 1000", less.mean, 0.0, str(less))
    later = _less(grid, (RACE.name, 1000), (MIPROV2.name, 2000))
    report.add("6 x 12: race at 1000 less MIPROv2 at 2000", later.mean, 0.0, str(later))
    _beside_the_released(report, grids.name, grid)

    small = bench.run(
        bench.grid("grid 3 x 6", shape=(3, 6)),
        [
            Method(how=RACE, budgets=(_SMALL, _LIGHT)),
            Method(how=TPE, budgets=(_SMALL, _LIGHT)),
            Method(how=MIPROV2_LIGHT, budgets=(_SMALL, _LIGHT)),
        ],
        worlds=_WORLDS,
        part=0.1,
    )
    _add(report, "Regret in points, grid 3 x 6", small)
    less = _less(small, (RACE.name, _SMALL), (MIPROV2_LIGHT.name, _LIGHT))
    report.add("3 x 6: race at 250 less MIPROv2 light at 650", less.mean, 0.0, str(less))

    wrong = bench.grid("grid 6 x 12, almost no main effects", shares=NO_MAIN_EFFECTS)
    flat = Environment(name="flat", kind="flat", matrices=bench.flat)
    for environment, part in ((wrong, 0.5), (flat, 1.0)):
        if not bench.lacks(environment, report):
            table = bench.run(environment, everyone, worlds=_WORLDS, part=part)
            _add(report, f"Regret in points, {environment.name}", table)
            _beside_the_best(report, environment.name, table)
            _beside_the_released(report, environment.name, table)


def _less(
    table: Table, first: tuple[str, int], second: tuple[str, int], *, scale: float = 1.0
) -> Mean:
    """Returns the paired difference; not a number, which meets no bound, without the peers."""
    if second[0] in table.methods:
        return table.paired(first, second, scale=scale)
    return Mean(mean=float("nan"), half=float("nan"), count=0)


def _add(report: Report, title: str, table: Table) -> None:
    worlds = len({result.world for result in table.results})
    report.tables[f"{title}, {worlds} worlds"] = table.markdown()
    report.add_spent(table)


def _beside_the_released(report: Report, name: str, table: Table) -> None:
    """Adds how our engine of GEPA does beside GEPA as released, over all budgets."""
    less = Mean(mean=float("nan"), half=float("nan"), count=0)
    if GEPA.name in table.methods:
        less = mean(pooled(table, EVOLVING.name, GEPA.name))
    report.add(
        f"{name}: {EVOLVING.name} less GEPA, pooled, upper limit", less.upper, 0.0, str(less)
    )


def _beside_the_best(report: Report, name: str, table: Table) -> None:
    """Adds paired differences to the best other method, at each budget and over all of them."""
    pooled: dict[str, list[float]] = {}
    for budget in (budget for budget in table.budgets if budget >= _FROM):
        other = best_other(table, RACE.name, budget, table.methods)
        less = table.paired((RACE.name, budget), (other, budget))
        report.add(
            f"{name}: race less {other} at {budget}, upper limit", less.upper, 0.3, str(less)
        )
        regrets = {result.world: result.regret for result in table.of(other, budget)}
        for result in table.of(RACE.name, budget):
            pooled.setdefault(result.world, []).append(result.regret - regrets[result.world])
    less = mean(sum(each) / len(each) for each in pooled.values())
    report.add(f"{name}: race less the best other, pooled, upper limit", less.upper, 0.0, str(less))

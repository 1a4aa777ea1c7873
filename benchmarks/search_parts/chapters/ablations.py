"""What every ingredient of the race is worth: it without each of them in turn."""

from __future__ import annotations

from dataclasses import fields

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE
from benchmarks.search_parts.runs import Method
from burnish_search.algorithms.race.settings import RaceSettings

_BUDGETS = (400, 1000)
_INGREDIENTS = tuple(one.name for one in fields(RaceSettings) if one.default is True)


def measure(bench: Bench, report: Report) -> None:
    """Adds regret of the race without each ingredient; there is no bound."""
    methods = [Method(how=RACE, budgets=_BUDGETS)]
    methods += [
        Method(how=RACE.tuned(f"without {name}", **{name: "off"}), budgets=_BUDGETS)
        for name in _INGREDIENTS
    ]
    grid = bench.grid()
    if bench.lacks(grid, report):
        return
    table = bench.run(grid, methods, worlds=120)
    report.add_spent(table)
    lines = ["| | at | regret | less the race's |", "|---|---|---|---|"]
    for method in methods:
        for budget in _BUDGETS:
            own = table.mean(method.name, budget)
            less = table.paired((method.name, budget), (RACE.name, budget))
            lines.append(f"| {method.name} | {budget} | {own} | {less} |")
    report.tables["Ablations, grid 6 x 12"] = "\n".join(lines)

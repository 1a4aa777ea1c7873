"""What measurements that never come cost, and how many evaluations may be in flight."""

from __future__ import annotations

from benchmarks.search_parts.bounds import Report, Table
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE
from benchmarks.search_parts.runs import Method

BUDGET = 1000
_FAULTS = {0.1: 850, 0.3: 600}
_IN_FLIGHT = ((1, 1), (4, 5), (8, 10))
_MOST = 0.2
_MOST_BY_FLIGHT = 0.3


def measure(bench: Bench, report: Report) -> None:
    """Adds regret with faults beside regret without, and by how many are in flight."""
    methods = [Method(how=RACE, budgets=(*_FAULTS.values(), BUDGET))]
    methods += [
        Method(how=RACE, budgets=(BUDGET,), fault_share=share, label=f"{share:.0%} faults")
        for share in _FAULTS
    ]
    table = bench.run(bench.grid(), methods, worlds=120)
    report.tables["Regret in points with faults, grid 6 x 12"] = table.markdown()
    for (share, budget), method in zip(_FAULTS.items(), methods[1:], strict=True):
        less = table.paired((method.name, BUDGET), (RACE.name, budget))
        name = f"{share:.0%} faults at {BUDGET} less none at {budget}"
        report.add(name, less.mean, _MOST, str(less))
    _in_flight(bench, report)


def _in_flight(bench: Bench, report: Report) -> None:
    methods = [
        Method(
            how=RACE.tuned(f"{arms * rows} in flight", arms_per_batch=arms, rows_per_arm=rows),
            budgets=(BUDGET,),
        )
        for arms, rows in _IN_FLIGHT
    ]
    table: Table = bench.run(bench.grid(), methods, worlds=60)
    report.tables["Regret in points by evaluations in flight, grid 6 x 12"] = table.markdown()
    first = methods[1].name
    for method in (methods[0], methods[2]):
        less = table.paired((method.name, BUDGET), (first, BUDGET))
        name = f"{method.name} less {first}, either way"
        report.add(name, abs(less.mean), _MOST_BY_FLIGHT, str(less))

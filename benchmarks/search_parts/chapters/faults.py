"""What measurements that never come cost, and how many evaluations may be in flight."""

from __future__ import annotations

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE, Conditions
from benchmarks.search_parts.runs import Method

BUDGET = 1000
_FAULTS = {0.1: 850, 0.3: 600}
_SCORED = 0.3
_IN_FLIGHT = ((1, 1), (4, 5), (8, 10))
# As services ask: further works before the first of them is told.
_OPEN_WORKS = 4
_MOST = 0.2
_MOST_BY_FLIGHT = 0.3
_WORLDS = 480


def measure(bench: Bench, report: Report) -> None:
    """Adds regret with faults beside regret without, and by how many are in flight."""
    grid = bench.grid()
    if bench.lacks(grid, report):
        return
    plain = Method(how=RACE, budgets=(*_FAULTS.values(), BUDGET))
    lost = {
        share: Method(
            how=RACE,
            budgets=(BUDGET,),
            conditions=Conditions(fault_share=share),
            label=f"{share:.0%} faults",
        )
        for share in _FAULTS
    }
    scored = Method(
        how=RACE,
        budgets=(BUDGET,),
        conditions=Conditions(fault_share=_SCORED, faults_score_zero=True),
        label=f"{_SCORED:.0%} faults, scored as 0",
    )
    table = bench.run(grid, [plain, *lost.values(), scored], worlds=_WORLDS, part=0.35)
    report.add_spent(table)
    report.tables["Regret in points with faults, grid 6 x 12"] = table.markdown()
    for share, budget in _FAULTS.items():
        less = table.paired((lost[share].name, BUDGET), (RACE.name, budget))
        name = f"{share:.0%} faults at {BUDGET} less none at {budget}"
        report.add(name, less.mean, _MOST, str(less))
    # What the bounds above are for: a search that took a fault for a bad answer would be worse.
    less = table.paired((lost[_SCORED].name, BUDGET), (scored.name, BUDGET))
    name = f"{lost[_SCORED].name} less {scored.name}, upper limit"
    report.add(name, less.upper, 0.0, str(less))
    _in_flight(bench, report)


def _in_flight(bench: Bench, report: Report) -> None:
    methods = [
        Method(
            how=RACE.tuned(f"{arms * rows} in flight", arms_per_batch=arms, rows_per_arm=rows),
            budgets=(BUDGET,),
        )
        for arms, rows in _IN_FLIGHT
    ]
    arms, rows = _IN_FLIGHT[1]
    methods.append(
        Method(
            how=RACE.tuned("several", arms_per_batch=arms, rows_per_arm=rows),
            budgets=(BUDGET,),
            conditions=Conditions(open_works=_OPEN_WORKS),
            label=f"{_OPEN_WORKS} works of {arms * rows} in flight",
        )
    )
    table = bench.run(bench.grid(), methods, worlds=_WORLDS)
    report.add_spent(table)
    report.tables["Regret in points by evaluations in flight, grid 6 x 12"] = table.markdown()
    first = methods[1].name
    for method in (methods[0], *methods[2:]):
        less = table.paired((method.name, BUDGET), (first, BUDGET))
        name = f"{method.name} less {first}, either way"
        report.add(name, abs(less.mean), _MOST_BY_FLIGHT, str(less))

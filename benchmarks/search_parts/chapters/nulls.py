"""Where there is nothing to gain, and whether what is reported is true."""

from __future__ import annotations

from benchmarks.search_parts.bounds import Report, Table, mean
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE
from benchmarks.search_parts.runs import Method, Result
from benchmarks.search_parts.worlds import Environment
from burnish.verdicts import compare

BUDGET = 1000
_MOST_FALSE = 5.0
_LEAST_POWER = 90.0
_MOST_SPENT = 40.0
_MOST_OPTIMISM = 1.0


def measure(bench: Bench, report: Report) -> None:
    """Adds what a search spends in vain, and how far its claims are from the truth."""
    methods = [Method(how=RACE, budgets=(BUDGET,))]
    copies = Environment(name="copies of one row", kind="copies", matrices=bench.wide)
    null = Environment(name="null rows", kind="null", matrices=bench.null)
    flat = Environment(name="flat", kind="flat", matrices=bench.flat)
    grids = bench.grid()
    lines = ["| | spent | stopped | promoted | true gain | reported less held back |"]
    lines.append("|---" * 6 + "|")
    for environment in (copies, null, grids, flat):
        if not environment.matrices:
            report.notes.append(f"{environment.name}: the folder holds no such matrix")
            continue
        table = bench.run(environment, methods, worlds=120)
        lines.append(_line(environment, table))
        if environment in (copies, null):
            spent = mean(100.0 * one.outcome.spent / BUDGET for one in table.results)
            name = f"{environment.name}: share of the budget spent"
            report.add(name, spent.mean, _MOST_SPENT, str(spent))
            name = f"{environment.name}: promoted, in %"
            report.add(name, _promoted(table), _MOST_FALSE, f"of {len(table.results)}")
        if environment is grids:
            name = f"{environment.name}: not promoted, in %"
            power = _promoted(table)
            report.add(name, 100 - power, 100 - _LEAST_POWER, f"of {len(table.results)}")
        bias = mean(one.optimism for one in table.results if one.optimism is not None)
        name = f"{environment.name}: reported less held back, either way"
        report.add(name, abs(bias.mean), _MOST_OPTIMISM, str(bias))
    report.tables[f"Nothing to gain, and claims, at {BUDGET}"] = "\n".join(lines)


def _line(environment: Environment, table: Table) -> str:
    spent = mean(one.outcome.spent for one in table.results)
    stopped = 100.0 * mean(float(one.outcome.stopped) for one in table.results).mean
    bias = mean(one.optimism for one in table.results if one.optimism is not None)
    gain = mean(one.gain for one in table.results)
    promoted = _promoted(table)
    told = f"{spent} | {stopped:.0f} % | {promoted:.1f} % | {gain} | {bias}"
    return f"| {environment.name} | {told} |"


def _promoted(table: Table) -> float:
    """Returns for which share of the worlds the closing test takes the winner, in percent.

    The test is that of the controller, on the examples that no search saw.
    """
    return 100.0 * mean(float(_takes(one)) for one in table.results).mean


def _takes(result: Result) -> bool:
    if result.outcome.arm == 0:
        return False
    found = compare(dict(enumerate(result.winner)), dict(enumerate(result.baseline)))
    return found is not None and found.promoted

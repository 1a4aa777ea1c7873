"""Where there is nothing to gain, and whether what is reported is true."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.search_parts.bounds import Mean, Report, Table, mean
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE, TPE
from benchmarks.search_parts.runs import Method, Result
from benchmarks.search_parts.worlds import NO_MAIN_EFFECTS, Environment
from burnish.verdicts import Comparison, SearchRows, compare, corrected

BUDGET, SMALL_BUDGET = 1000, 250
_WORLDS = 240
_MOST_FALSE = 5.0
_LEAST_POWER = 90.0
_MOST_SPENT = 40.0
_MOST_OPTIMISM = 1.0
# A gain in points that a closing test is expected to find.
_LARGE = 5.0
_PRIOR_DEVIATION = 0.1
_COLUMNS = (
    *("", "search", "true gain", "promoted by held-out rows", "by all rows"),
    *("findable at all", f"promoted of gains above {_LARGE:g}"),
    *("mean, seen", "corrected", "by the engine", "gain believed less true"),
)


def measure(bench: Bench, report: Report) -> None:
    """Adds what a search spends in vain, and how far its claims are from the truth."""
    copies = Environment(name="copies of one row", kind="copies", matrices=bench.wide)
    null = Environment(name="null rows", kind="null", matrices=bench.null)
    flat = Environment(name="flat", kind="flat", matrices=bench.flat)
    grids, small = bench.grid(), bench.grid("grid 3 x 6", shape=(3, 6))
    wrong = bench.grid("grid 6 x 12, almost no main effects", shares=NO_MAIN_EFFECTS)
    environments = (copies, null, grids, wrong, flat, small)
    spent = ["| | spent | stopped |", "|---|---|---|"]
    claims = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for place, environment in enumerate(environments):
        if bench.lacks(environment, report):
            continue
        budget = SMALL_BUDGET if environment is small else BUDGET
        methods = [Method(how=how, budgets=(budget,)) for how in (RACE, TPE)]
        part = 1.0 / (len(environments) - place)
        table = bench.run(environment, methods, worlds=_WORLDS, part=part)
        report.add_spent(table)
        race = table.of(RACE.name, budget)
        share = mean(100.0 * one.outcome.spent / budget for one in race)
        stopped = 100.0 * mean(float(one.outcome.stopped) for one in race).mean
        spent.append(f"| {environment.name} | {share} % | {stopped:.0f} % |")
        if environment in (copies, null):
            name = f"{environment.name}: share of the budget spent"
            report.add(name, share.mean, _MOST_SPENT, str(share))
        claims += [_line(environment, table.of(name, budget)) for name in table.methods]
        _bound(report, environment, table, power=environment is grids)
    report.tables["Spent by the race where it may stop"] = "\n".join(spent)
    report.tables[f"Verdicts and claims at {BUDGET} ({SMALL_BUDGET} on 3 x 6)"] = "\n".join(claims)


def _bound(report: Report, environment: Environment, table: Table, *, power: bool) -> None:
    for method in table.methods:
        results = [one for one in table.results if one.method == method]
        name = f"{environment.name}, {method}"
        if environment.kind in ("copies", "null"):
            false = _share(results, takes)
            report.add(f"{name}: promoted, in %", false, _MOST_FALSE, f"of {len(results)}")
        if power and method == RACE.name:
            missed = 100 - _share(results, takes)
            best = 100 - _share(results, lambda one: one.findable)
            note = f"of {len(results)}; the best arm on every example: {best:.0f}"
            report.add(f"{name}: not promoted, in %", missed, 100 - _LEAST_POWER, note)
        # Where examples are held back a job reports their mean; else what its engine claims.
        bias = mean(one.optimism for one in results if one.optimism is not None)
        report.add(
            f"{name}: reported less held back, either way",
            abs(bias.mean),
            _MOST_OPTIMISM,
            str(bias),
        )


def _line(environment: Environment, results: list[Result]) -> str:
    gain = mean(one.gain for one in results)
    large = [one for one in results if one.gain > _LARGE]
    cells = [
        environment.name,
        results[0].method,
        str(gain),
        f"{_share(results, takes_unaided):.0f} %",
        f"{_share(results, takes):.0f} %",
        f"{_share(results, lambda one: one.findable):.0f} %",
        f"{_share(large, takes):.0f} % of {len(large)}" if large else "",
        str(mean(seen for one in results if (seen := _seen(one)) is not None)),
        str(_corrected(results)),
        str(mean(one.optimism for one in results if one.optimism is not None)),
        str(_too_much(results)),
    ]
    return f"| {' | '.join(cells)} |"


def _share(results: Iterable[Result], when: Callable[[Result], bool]) -> float:
    return 100.0 * mean(float(when(one)) for one in results).mean


def takes(result: Result) -> bool:
    """Whether a job would return the winner: its closing test, with what the search saw."""
    found = _closing(result, aided=True)
    return found is not None and found.promoted


def takes_unaided(result: Result) -> bool:
    """The same, were the examples held back to decide alone."""
    found = _closing(result, aided=False)
    return found is not None and found.promoted


def _closing(result: Result, *, aided: bool) -> Comparison | None:
    """Returns the closing test as the controller makes it, on the examples that no search saw."""
    arm = result.outcome.arm
    if arm == 0:
        return None
    search = SearchRows(rewards=_named(result), challenger=str(arm), baseline="0")
    return compare(
        dict(enumerate(result.winner)),
        dict(enumerate(result.baseline)),
        search=search if aided else None,
    )


def _named(result: Result) -> dict[str, dict[int, float]]:
    return {str(arm): dict(rows) for arm, rows in result.outcome.rewards.items()}


def _seen(result: Result) -> float | None:
    """Returns how far the winner's mean, as the search saw it, is above the mean held back."""
    rewards = list(result.outcome.rewards.get(result.outcome.arm, {}).values())
    if not rewards:
        return None
    return 100.0 * (sum(rewards) / len(rewards) - float(result.winner.mean())) - result.ease


def _corrected(results: Iterable[Result]) -> Mean:
    """Returns how far the mean less the winner's luck is above the mean held back."""
    claims = []
    for one in results:
        found = corrected(_named(one), str(one.outcome.arm), prior_deviation=_PRIOR_DEVIATION)
        if found is not None:
            above = found.corrected.mean - float(one.winner.mean())
            claims.append(100.0 * above - one.ease)
    return mean(claims)


def _too_much(results: Iterable[Result]) -> Mean:
    """Returns how far the gain that a job believes in is above the true one."""
    tests = ((one, _closing(one, aided=True)) for one in results)
    return mean(
        100.0 * found.expected.mean - one.gain
        for one, found in tests
        if found is not None and found.expected is not None
    )

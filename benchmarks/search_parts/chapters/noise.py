"""Whether methods stand in the same order where answers vary: 5 and 10 % of the cells flip."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from benchmarks.search_parts.bounds import Mean, Report, Table, mean
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE, RANDOM, TPE
from benchmarks.search_parts.peers import GEPA, MIPROV2
from benchmarks.search_parts.runs import Method

BUDGETS = (400, 650, 1000)
_SHARES = (0.0, 0.05, 0.1)
_MOST_OPTIMISM = 1.0

_Order = Mapping[tuple[str, str], Mean]


def measure(bench: Bench, report: Report) -> None:
    """Adds regret by share of cells that flip, and how many pairs of methods changed places.

    Worth is that of the answers as recorded. A pair counts that was surely one way without noise
    and is, by its mean, the other way with it.
    """
    if bench.lacks(bench.grid(), report):
        return
    methods = [Method(how=how, budgets=BUDGETS) for how in (RACE, TPE, RANDOM, MIPROV2, GEPA)]
    orders: list[_Order] = []
    for place, share in enumerate(_SHARES):
        grid = bench.grid(f"grid 6 x 12, {share:.0%} flipped", flipped=share)
        table = bench.run(grid, methods, worlds=240, part=1.0 / (len(_SHARES) - place))
        report.add_spent(table)
        worlds = len({result.world for result in table.results})
        report.tables[f"Regret in points, {grid.name}, {worlds} worlds"] = table.markdown()
        orders.append(_order(table))
        if share:
            _compare(report, orders[0], orders[-1], f"{share:.0%} of cells flipped")
            claimed = table.of(RACE.name, BUDGETS[-1])
            bias = mean(one.optimism for one in claimed if one.optimism is not None)
            name = f"{grid.name}, race: reported less held back, either way"
            report.add(name, abs(bias.mean), _MOST_OPTIMISM, str(bias))


def _compare(report: Report, before: _Order, after: _Order, shown: str) -> None:
    sure = [pair for pair, less in before.items() if less.upper < 0]
    turned = [pair for pair in sure if after[pair].mean > 0]
    note = ", ".join(f"{a} before {b}" for a, b in turned) or f"of {len(sure)} sure without"
    report.add(f"{shown}: pairs of methods that changed places", len(turned), 0, note)
    behind = [
        other for (first, other), less in after.items() if first == RACE.name and less.mean > 0
    ]
    note = f"behind {', '.join(behind)}" if behind else ""
    report.add(f"{shown}: methods with less regret than the race", len(behind), 0, note)


def _order(table: Table) -> _Order:
    """Returns, for every two methods, the regret of the first less the second's, over budgets."""
    regrets: dict[str, dict[str, list[float]]] = {}
    for result in table.results:
        regrets.setdefault(result.method, {}).setdefault(result.world, []).append(result.regret)
    return {
        (a, b): mean(
            (sum(regrets[a][world]) - sum(regrets[b][world])) / len(regrets[a][world])
            for world in regrets[a].keys() & regrets[b].keys()
        )
        for a, b in itertools.permutations(table.methods, 2)
    }

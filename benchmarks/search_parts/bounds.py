"""Results put together: means and paired differences with intervals, and bounds met or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.search_parts.peers import GEPA, MIPROV2, MIPROV2_LIGHT
from benchmarks.search_parts.runs import Result
from burnish_search import estimate

Value = Callable[[Result], float]
# What is looked up of a peer's run is what it had within a budget.
_PEERS = frozenset(peer.name for peer in (MIPROV2, MIPROV2_LIGHT, GEPA))


def regret(result: Result) -> float:
    """Returns a result's regret."""
    return result.regret


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean with its 95 % interval, by Student's t.

    Attributes:
        mean: The mean.
        half: Half the width of the interval.
        count: How many values it is of.
    """

    mean: float
    half: float
    count: int

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.half:.2f}"


def mean(values: Iterable[float]) -> Mean:
    """Returns the mean of values; of one value the interval is as wide as can be."""
    listed = np.array(list(values), dtype=np.float64)
    if len(listed) < 2:
        return Mean(mean=float(listed.mean()), half=float("inf"), count=len(listed))
    error = float(listed.std(ddof=1)) / len(listed) ** 0.5
    return Mean(
        mean=float(listed.mean()),
        half=estimate.student_quantile(len(listed) - 1) * error,
        count=len(listed),
    )


class Table:
    """Results by environment, method and budget, in the order of their worlds."""

    def __init__(self, results: Iterable[Result]) -> None:
        self.results = list(results)

    def of(self, method: str, budget: int) -> list[Result]:
        """Returns the results of a method at a budget."""
        return [r for r in self.results if r.method == method and r.outcome.budget == budget]

    @property
    def methods(self) -> list[str]:
        """Methods in the order they were first run."""
        return list(dict.fromkeys(result.method for result in self.results))

    @property
    def budgets(self) -> list[int]:
        """Budgets in ascending order."""
        return sorted({result.outcome.budget for result in self.results})

    def mean(self, method: str, budget: int, value: Value = regret) -> Mean | None:
        """Returns the mean of a method at a budget; None when it was not run there."""
        found = self.of(method, budget)
        return mean(map(value, found)) if found else None

    def paired(
        self, first: tuple[str, int], second: tuple[str, int], *, scale: float = 1.0
    ) -> Mean:
        """Returns the mean of first less `scale` times second, world by world, in regret."""
        other = {result.world: result for result in self.of(*second)}
        return mean(
            result.regret - scale * other[result.world].regret
            for result in self.of(*first)
            if result.world in other
        )

    def markdown(self, value: Value = regret) -> str:
        """Returns means by method and budget."""
        budgets = self.budgets
        lines = [["", *map(str, budgets)], ["---"] * (len(budgets) + 1)]
        for method in self.methods:
            cells = [self.mean(method, budget, value) for budget in budgets]
            lines.append([method, *("" if cell is None else f"{cell.mean:.2f}" for cell in cells)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def differences(table: Table, plain: str) -> str:
    """Returns paired differences to the search without what adapts, by method and budget."""
    lines = [["less none", *map(str, table.budgets)], ["---"] * (len(table.budgets) + 1)]
    for method in table.methods[1:]:
        cells = [table.paired((method, one), (plain, one)) for one in table.budgets]
        lines.append([method, *map(str, cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pooled(table: Table, method: str, plain: str) -> list[float]:
    """Returns for each world the difference of a method to the plain one, over all budgets."""
    usual = {(r.world, r.outcome.budget): r.regret for r in table.results if r.method == plain}
    worlds: dict[str, list[float]] = {}
    for result in table.results:
        if result.method == method:
            less = result.regret - usual[result.world, result.outcome.budget]
            worlds.setdefault(result.world, []).append(less)
    return [sum(each) / len(each) for each in worlds.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A bound and what was measured.

    Attributes:
        name: What it is about.
        measured: What was measured, as a number to compare.
        limit: What it may be at most.
        note: Interval and count, in words.
    """

    name: str
    measured: float
    limit: float
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether it is met; what was not measured is not."""
        return bool(self.measured <= self.limit)


@dataclass(slots=True, kw_only=True)
class Report:
    """Tables to print and bounds to hold.

    Attributes:
        tables: Tables in Markdown by title.
        bounds: Bounds.
        notes: What was left out, and why.
        searches: Searches whose spending was looked at.
        overspent: How many of them spent more than they might.
    """

    tables: dict[str, str] = field(default_factory=dict)
    bounds: list[Bound] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    searches: int = 0
    overspent: int = 0

    def add(self, name: str, measured: float, limit: float, note: str = "") -> None:
        """Adds a bound: measured is to be at most the limit."""
        self.bounds.append(Bound(name=name, measured=measured, limit=limit, note=note))

    def add_spent(self, table: Table) -> None:
        """Counts which searches of the product spent more than they might."""
        own = [one.outcome for one in table.results if one.method not in _PEERS]
        self.searches += len(own)
        self.overspent += sum(one.spent > one.budget for one in own)

    def close(self) -> None:
        """Adds the bound on what was counted on the way."""
        if self.searches:
            note = f"of {self.searches}"
            self.add("searches that spent more than they might", self.overspent, 0, note)

    def text(self) -> str:
        """Returns everything as Markdown."""
        parts = [f"### {title}\n\n{table}" for title, table in self.tables.items()]
        lines = ["| bound | measured | at most | | |", "|---|---|---|---|---|"]
        for bound in self.bounds:
            numbers = f"{bound.measured:.2f} | {bound.limit:.2f}"
            met = "met" if bound.met else "MISSED"
            lines.append(f"| {bound.name} | {numbers} | {bound.note} | {met} |")
        parts.append("### Bounds\n\n" + "\n".join(lines))
        parts += [f"Left out: {note}" for note in self.notes]
        return "\n\n".join(parts)

    def data(self) -> dict[str, object]:
        """Returns the bounds as values for JSON."""
        return {
            "bounds": [
                {
                    "name": bound.name,
                    "measured": bound.measured,
                    "limit": bound.limit,
                    "note": bound.note,
                    "met": bound.met,
                }
                for bound in self.bounds
            ],
            "tables": self.tables,
            "left_out": self.notes,
        }


def best_other(table: Table, ours: str, budget: int, others: Sequence[str]) -> str:
    """Returns the method with the least mean regret at a budget, ours apart."""
    means = {
        name: found.mean
        for name in others
        if name != ours and (found := table.mean(name, budget)) is not None
    }
    return min(means, key=lambda name: means[name])

"""How sure the gate of our engine of GEPA is, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import EVOLVING, Session
from benchmarks.search_parts.gates import KINDS, Decision, Family, decided, twice
from benchmarks.search_parts.matrices import Matrix
from benchmarks.search_parts.runs import spread
from benchmarks.search_parts.worlds import build

SIZES = (3, 8, 16, 35)
# Shares of children that a gate of strict improvement accepts, by size of the minibatch: of those
# 3 to 10 points better, and of those at least 1 point worse.
EXPECTED = {
    "better": {3: (0.15, 0.30), 8: (0.35, 0.49), 16: (0.54, 0.61), 35: (0.70, 0.80)},
    "worse": {3: (0.03, 0.09), 8: (0.07, 0.12), 16: (0.10, 0.14), 35: (0.07, 0.13)},
}
# Two standard errors of what is measured here.
_SLACK = 0.03
_FAMILIES = 100
_PLAIN = 8
_BUDGETS = (200, 1000)


def measure(bench: Bench, report: Report) -> None:
    """Adds what the gate makes of children of known worth, by pool and size."""
    matrices = [matrix for matrix in bench.matrices if matrix.live]
    if not matrices:
        report.notes.append("gate: the folder holds no matrix with something to find")
        return
    wide = {matrix.name for matrix in bench.wide}
    decisions = list(_decisions(bench, matrices))
    report.tables["Children that the gate accepts, better / worse, and with a second minibatch"] = (
        _table(decisions, [matrix.name for matrix in matrices], wide)
    )
    ours = [one for one in decisions if one.pool in wide]
    for kind, sizes in EXPECTED.items():
        for size, (least, most) in sizes.items():
            chosen = [one for one in ours if (one.kind, one.size) == (kind, size)]
            share = _share(one.at_once for one in chosen)
            report.add(
                f"gate of {size} rows, {kind}: accepted outside {least:.2f}-{most:.2f} by",
                max(least - share, share - most, 0.0),
                _SLACK,
                f"{share:.3f} of {len(chosen)}",
            )
    plain = [one for one in decisions if one.size == _PLAIN and not one.accepted]
    costs = [one.cell_count for one in plain]
    looked = [cost for cost in costs if cost]
    note = f"mean {sum(looked) / len(looked):.1f} of those looked at" if looked else ""
    report.add(f"gate of {_PLAIN} rows: cells of a rejected child", max(costs), _PLAIN, note)
    wrong = sum(not one.right for one in decisions)
    report.add("children decided otherwise than by the whole minibatch", wrong, 0)
    report.add("cells that a search by generations asked for again", _again(bench), 0)


def _decisions(bench: Bench, matrices: Sequence[Matrix]) -> Iterable[Decision]:
    # The pools that bounds are of are looked at more closely.
    wide = set(map(id, bench.wide))
    count = max(round(bench.share * _FAMILIES), 2)
    families = [
        Family(matrix=matrix, kind=kind, size=size, repetition=repetition)
        for matrix in matrices
        for kind in KINDS
        for size in SIZES
        for repetition in range(count if id(matrix) in wide else max(count // 4, 1))
    ]
    return spread(decided, families, processes=bench.processes)


def _table(decisions: Sequence[Decision], pools: Sequence[str], wide: set[str]) -> str:
    lines = [
        ["", *(f"{size} rows" for size in SIZES), f"rejected, {_PLAIN} rows"],
        ["---"] * (len(SIZES) + 2),
    ]
    groups = {name: {name} for name in pools}
    groups["those that bounds are of"] = wide
    for name, members in groups.items():
        own = [one for one in decisions if one.pool in members]
        cells = []
        for size in SIZES:
            parts = [[one for one in own if (one.kind, one.size) == (k, size)] for k in KINDS]
            at_once = " / ".join(f"{_share(one.at_once for one in part):.2f}" for part in parts)
            second = " / ".join(f"{_share(one.accepted for one in part):.2f}" for part in parts)
            cells.append(f"{at_once} ({second})")
        plain = [o.cell_count for o in own if o.size == _PLAIN and not o.accepted and o.cell_count]
        cost = f"{sum(plain) / len(plain):.1f} cells" if plain else ""
        lines.append([name, *cells, cost])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _again(bench: Bench) -> int:
    """Returns how many cells whole searches asked for twice of a candidate."""
    grid = bench.grid()
    found = 0
    for place in range(len(grid.matrices)):
        for budget in _BUDGETS:
            session = Session(EVOLVING, build(grid, place, 0), budget=budget)
            session.run()
            found += twice(session.study.history)
    return found


def _share(flags: Iterable[bool]) -> float:
    listed = list(flags)
    return sum(listed) / len(listed) if listed else float("nan")

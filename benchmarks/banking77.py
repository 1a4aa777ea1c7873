"""Both engines on Banking77, whole jobs over the wire: which winner is better on held-out rows.

    python -m benchmarks.banking77 --data DIR [--presets cards12 all] [--budgets 75 150 300 600]
        [--seeds 8] [--first-seed 0]

`DIR` holds Banking77's train.csv and test.csv. For every preset, budget and seed the engines get
the same rows, the same demos and the same first proposals, and their winners are scored on the same
held-out rows; the difference is paired by seed. The policy model is the local reader, so no key is
needed and a repeated run gives the same figures. Exits with 1 when the race is worse anywhere by
more than chance.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from burnish.client import AsyncClient
from burnish.suite import Suite
from burnish.verdicts.means import Interval, mean_interval
from examples.harness import Order, Plan, app_process, run_job

ENGINES = ("race", "tpe")
PRESETS = ("cards12", "all")
FILES = ("train.csv", "test.csv")
BUDGETS = (75, 150, 300, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One preset and budget: by engine, the test score of each seed's winner.

    Attributes:
        preset: Labels and rows.
        budget: Most rollouts before the closing test.
        scores: Share of the held-out rows that the winner has right, by engine, one per seed.
        baselines: The same of the unchanged prompt, one per seed.
        spent: Rollouts before the closing test, by engine, one per seed.
        rows: Held-out rows.
        seconds: What the jobs took.
    """

    preset: str
    budget: int
    scores: dict[str, list[float]]
    baselines: list[float]
    spent: dict[str, list[int]]
    rows: int
    seconds: float

    @property
    def difference(self) -> Interval:
        """Race less tpe, paired by seed."""
        pairs = zip(self.scores["race"], self.scores["tpe"], strict=True)
        found = mean_interval([race - tpe for race, tpe in pairs], low=-1.0)
        if found is None:
            raise ValueError("no seed was run")
        return found


def plan(budget: int, rows: int) -> Plan:
    """Returns a job of that size: what is not search takes at most a third of a small budget."""
    scored = min(60, budget // 6)
    return Plan(
        bootstrap=scored,
        validation=min(60, max(12, budget // 8)),
        online=60,
        rollouts=budget,
        test=rows,
        iterations=max(2, budget // 20),
        concurrency=8,
    )


async def measure(client: AsyncClient, url: str, cell: Cell, seeds: range) -> Cell:
    """Runs the jobs of one cell, and tells of each pair on standard error."""
    began = time.monotonic()
    size = plan(cell.budget, cell.rows)
    rows = cell.rows
    for seed in seeds:
        baseline = None
        for engine in ENGINES:
            order = Order(url=url, plan=replace(size, engine=engine), seed=seed)
            finished = await run_job(client, order)
            outcome = finished.outcome
            if finished.snapshot.state != "succeeded" or outcome.best is None:
                raise SystemExit(f"{cell.preset}, {engine}, seed {seed}: {finished.snapshot}")
            chosen = outcome.challenger or outcome.best
            if chosen.test is None or outcome.baseline is None or outcome.baseline.test is None:
                raise SystemExit(f"{cell.preset}, {engine}, seed {seed}: no closing test")
            cell.scores[engine].append(chosen.test.mean)
            searched = sum(n for name, n in outcome.rollouts_by_phase.items() if name != "test")
            cell.spent[engine].append(searched)
            baseline, rows = outcome.baseline.test.mean, chosen.test.row_count
        cell.baselines.append(baseline if baseline is not None else 0.0)
        won = ", ".join(f"{engine} {cell.scores[engine][-1]:.3f}" for engine in ENGINES)
        taken = time.monotonic() - began
        told = f"{cell.preset} at {cell.budget}, seed {seed}: {won} ({taken:.0f} s so far)"
        print(told, file=sys.stderr, flush=True)
    return replace(cell, rows=rows, seconds=time.monotonic() - began)


async def run(options: argparse.Namespace) -> list[Cell]:
    """Runs every job; prints each line as it is known."""
    cells = []
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            suite = await stack.enter_async_context(Suite(folder))
            client = await stack.enter_async_context(AsyncClient(suite.target, token=suite.token))
            for preset in options.presets:
                data = ("--preset", preset, "--data", str(options.data.resolve()))
                app = app_process("examples.banking77.app", *data, folder=folder / preset)
                async with app as url:
                    for budget in options.budgets:
                        cell = Cell(
                            preset=preset,
                            budget=budget,
                            scores={engine: [] for engine in ENGINES},
                            baselines=[],
                            spent={engine: [] for engine in ENGINES},
                            rows=options.rows,
                            seconds=0.0,
                        )
                        cells.append(await measure(client, url, cell, seeds))
                        if not options.json:
                            print("\n".join(table(cells[-1:], head=len(cells) == 1)), flush=True)
    return cells


def table(cells: list[Cell], *, head: bool) -> Iterator[str]:
    """Returns the lines of the table."""
    if head:
        yield "| set | budget | baseline | race | tpe | race less tpe | spent | rows | seconds |"
        yield "|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        difference = cell.difference
        spent = " / ".join(f"{mean(cell.spent[engine]):.0f}" for engine in ENGINES)
        yield (
            f"| {cell.preset} | {cell.budget} | {mean(cell.baselines):.3f} |"
            f" {mean(cell.scores['race']):.3f} | {mean(cell.scores['tpe']):.3f} |"
            f" {difference.mean:+.3f} [{difference.lower:+.3f}, {difference.upper:+.3f}],"
            f" n={difference.count} | {spent} | {cell.rows} | {cell.seconds:.0f} |"
        )


def mean(values: list[float] | list[int]) -> float:
    """Returns the mean of values, at least one."""
    return sum(values) / len(values)


def worse(cells: list[Cell]) -> list[str]:
    """Returns where the race is worse by more than chance."""
    return [f"{cell.preset} at {cell.budget}" for cell in cells if cell.difference.upper < 0]


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of train.csv and test.csv")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, default=8, help="jobs of each kind (8)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first pair (0)")
    parser.add_argument("--rows", type=int, default=480, help="most held-out rows (480)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds has to be at least 2: one pair has no interval")
    missing = [name for name in FILES if not (options.data / name).is_file()]
    if missing:
        parser.error(f"`{options.data}` has no {' and no '.join(missing)}; give Banking77's folder")
    cells = asyncio.run(run(options))
    lost = worse(cells)
    if options.json:
        told = [
            {
                "preset": cell.preset,
                "budget": cell.budget,
                "scores": cell.scores,
                "baselines": cell.baselines,
                "spent": cell.spent,
                "difference": cell.difference.mean,
                "interval": [cell.difference.lower, cell.difference.upper],
                "rows": cell.rows,
            }
            for cell in cells
        ]
        print(json.dumps({"cells": told, "worse": lost}))
    else:
        print(f"The race is worse: {', '.join(lost)}" if lost else "The race is nowhere worse.")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())

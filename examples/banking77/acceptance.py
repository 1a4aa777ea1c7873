"""Runs whole jobs on real data, seed after seed, and says if the numbers hold.

    python -m examples.banking77.acceptance --preset confusable7 --seeds 5
    python -m examples.banking77.acceptance --preset all --seeds 3
    python -m examples.banking77.acceptance --preset shipped --seeds 5
    python -m examples.banking77.acceptance --preset confusable7 --repeat

Every job runs over the wire: five services, the local models and the app as processes. `--repeat`
runs each seed again, with another number of rollouts in flight, and asks for the same winner and
the same reward on every held-out row. Exit code 3: a number does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from burnish.client import AsyncClient
from burnish.datasets import BANKING77_CREDIT
from burnish.suite import Suite
from examples.harness import Order, Plan, app_process, print_all, run_job

SHIPPED = "shipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What the numbers of a preset have to reach.

    Attributes:
        plan: Size of each job.
        baseline: Range of the baseline on the held-out rows.
        every_gain: Least gain of every seed; None when only the mean counts.
        mean_gain: Least mean gain.
    """

    plan: Plan
    baseline: tuple[float, float]
    every_gain: float | None
    mean_gain: float


BARS = {
    "confusable7": Bar(
        plan=Plan(rollouts=200), baseline=(0.42, 0.52), every_gain=0.08, mean_gain=0.12
    ),
    "all": Bar(
        plan=Plan(rollouts=300, test=1000), baseline=(0.40, 0.50), every_gain=None, mean_gain=0.09
    ),
    "cards12": Bar(plan=Plan(rollouts=200), baseline=(0.50, 0.60), every_gain=0.08, mean_gain=0.12),
    SHIPPED: Bar(plan=Plan(), baseline=(0.40, 0.60), every_gain=0.12, mean_gain=0.12),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one job found."""

    seed: int
    concurrency: int
    rollouts: int
    rows: int
    baseline: float
    winner: float
    candidate_id: str
    proposed_by: str
    seconds: float
    scores: Mapping[int, float | None]

    @property
    def gain(self) -> float:
        """Winner minus baseline."""
        return self.winner - self.baseline


def main() -> int:
    """Runs the jobs; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", choices=tuple(BARS), default="confusable7")
    parser.add_argument("--data", type=Path, help="folder with train.csv and test.csv")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to this, exclusive")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rollouts", type=int, help="most rollouts before the closing test")
    parser.add_argument("--rows", type=int, help="held-out rows")
    parser.add_argument("--spare", action="store_true", help="judge on spare training rows instead")
    parser.add_argument("--labels-in", choices=("user", "system"), default="user")
    parser.add_argument("--repeat", action="store_true", help="run each seed again, 1 in flight")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    return asyncio.run(accept(options))


async def accept(options: argparse.Namespace) -> int:
    """Runs the jobs and prints a table."""
    bar = BARS[options.preset]
    plan = chosen_plan(bar.plan, options)
    if options.preset != SHIPPED and not options.json:
        print(f"Data: {BANKING77_CREDIT}\n")
    concurrencies = [1, 8] if options.repeat else [plan.concurrency]
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            suite = await stack.enter_async_context(Suite(folder))
            client = await stack.enter_async_context(AsyncClient(suite.target, token=suite.token))
            url = await stack.enter_async_context(app(options, Path(folder)))
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                for concurrency in concurrencies:
                    run = await one(client, url, replace(plan, concurrency=concurrency), seed)
                    runs.append(run)
                    if not options.json:
                        print(line(run), flush=True)
    problems = judge(runs, bar)
    if options.json:
        print(json.dumps(as_data(options.preset, runs, problems)))
    else:
        print_all(closing(runs, problems))
    return 3 if problems else 0


def chosen_plan(plan: Plan, options: argparse.Namespace) -> Plan:
    """Returns the preset's plan with what the command line replaces."""
    changed: dict[str, object] = {}
    if options.rollouts is not None:
        changed["rollouts"] = options.rollouts
    if options.rows is not None:
        changed["test"] = options.rows
    if options.spare:
        changed["test_split"] = "spare"
    for pair in options.set:
        name, _, value = pair.partition("=")
        changed[name] = int(value) if value.lstrip("-").isdigit() else value
    return replace(plan, **changed)  # type: ignore[arg-type] # names and types come from the user


def app(options: argparse.Namespace, folder: Path) -> contextlib.AbstractAsyncContextManager[str]:
    """Returns the app's process."""
    places = ("--labels-in", options.labels_in)
    if options.preset == SHIPPED:
        return app_process("examples.intents.app", *places, folder=folder / "app")
    data = ("--data", str(options.data.resolve())) if options.data is not None else ()
    arguments = ("--preset", options.preset, *data, *places)
    return app_process("examples.banking77.app", *arguments, folder=folder / "app")


async def one(client: AsyncClient, url: str, plan: Plan, seed: int) -> Run:
    """Runs one job."""
    began = time.monotonic()
    finished = await run_job(client, Order(url=url, plan=plan, seed=seed))
    outcome = finished.outcome
    if finished.snapshot.state != "succeeded" or outcome.best is None or outcome.baseline is None:
        raise SystemExit(f"seed {seed}: the job ended {finished.snapshot.state}: {finished}")
    chosen = outcome.challenger or outcome.best
    baseline, winner = outcome.baseline.test, chosen.test
    if baseline is None or winner is None:
        raise SystemExit(f"seed {seed}: there was no closing test")
    searched = sum(n for name, n in outcome.rollouts_by_phase.items() if name != "test")
    return Run(
        seed=seed,
        concurrency=plan.concurrency,
        rollouts=searched,
        rows=winner.row_count,
        baseline=baseline.mean,
        winner=winner.mean,
        candidate_id=chosen.prompt.candidate_id,
        proposed_by=outcome.proposed_by,
        seconds=time.monotonic() - began,
        scores=chosen.test_scores,
    )


def judge(runs: Sequence[Run], bar: Bar) -> list[str]:
    """Returns what does not hold."""
    problems = []
    low, high = bar.baseline
    mean = statistics.mean(run.gain for run in runs)
    if mean < bar.mean_gain:
        problems.append(f"mean gain {mean:+.3f} is below {bar.mean_gain:+.3f}")
    first = {run.seed: run for run in reversed(runs)}
    for run in runs:
        if not low <= run.baseline <= high:
            problems.append(f"seed {run.seed}: baseline {run.baseline:.3f} not in [{low}, {high}]")
        if bar.every_gain is not None and run.gain < bar.every_gain:
            problems.append(f"seed {run.seed}: gain {run.gain:+.3f} < {bar.every_gain:+.3f}")
        if run.rollouts > bar.plan.rollouts:
            problems.append(f"seed {run.seed}: {run.rollouts} rollouts, more than allowed")
        other = first[run.seed]
        if (other.candidate_id, other.scores) != (run.candidate_id, run.scores):
            problems.append(f"seed {run.seed}: {run.concurrency} in flight gives another result")
    return problems


def line(run: Run) -> str:
    """Returns one row of the table."""
    return (
        f"seed {run.seed}  {run.concurrency:>2} in flight  {run.rollouts:>4} rollouts  "
        f"baseline {run.baseline:.3f}  winner {run.winner:.3f}  gain {run.gain:+.3f}  "
        f"n={run.rows}  {run.seconds:5.1f} s  {run.candidate_id[:13]}"
    )


def closing(runs: Sequence[Run], problems: Sequence[str]) -> list[str]:
    """Returns the lines below the table."""
    gains = [run.gain for run in runs]
    head = f"\nmean gain {statistics.mean(gains):+.3f}, least {min(gains):+.3f}, {len(runs)} jobs"
    return [head, f"Instructions by {runs[0].proposed_by}.", *(problems or ["Every number holds."])]


def as_data(preset: str, runs: Sequence[Run], problems: Sequence[str]) -> dict[str, object]:
    """Returns the table for a program."""
    listed = [{**asdict(run), "gain": run.gain, "scores": None} for run in runs]
    return {"preset": preset, "runs": listed, "problems": list(problems)}


if __name__ == "__main__":
    raise SystemExit(main())

"""How good the search is on recorded rewards, beside MIPROv2 and GEPA as released.

    scripts/peers_env.sh                             # once: the environment of the peers
    python -m benchmarks.search --data DIR           # everything, within --minutes
    python -m benchmarks.search --data DIR --quick   # a few worlds: that it runs, not how well
    python -m benchmarks.search --list               # every bound, and where it is checked

`DIR` holds matrices of prompts x examples (benchmarks/search_parts/matrices.py says in which form);
they are sorted by what they hold. No model is asked and no network is used. Every engine is asked,
told and ranked through the study that the service drives. Proposals are other options at random,
for our engine of GEPA as for GEPA as released: economy of evaluations is looked at, not writing.

Exits with 1 when a bound is missed, and what was not measured is missed. Each chapter has its part
of the minutes: where they do not suffice for all worlds, tables say how many there were.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.search_parts import acceptance, matrices, peers
from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import (
    Bench,
    ablations,
    batches,
    budget,
    decisions,
    efficiency,
    faults,
    gate,
    noise,
    nulls,
    parity,
    pools,
    proxies,
    replay,
    stages,
)
from benchmarks.search_parts.pace import Pace

_GRID_SIZE = 72
_QUICK = 0.01


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter, and the minutes that it takes on two cores where all worlds are run."""

    measure: Callable[[Bench, Report], None]
    minutes: float


CHAPTERS = {
    "decisions": Chapter(decisions.measure, 0.2),
    "replay": Chapter(replay.measure, 0.3),
    "parity": Chapter(parity.measure, 0.3),
    "budget": Chapter(budget.measure, 0.5),
    "efficiency": Chapter(efficiency.measure, 18.0),
    "gate": Chapter(gate.measure, 1.0),
    "nulls": Chapter(nulls.measure, 2.5),
    "faults": Chapter(faults.measure, 18.0),
    "noise": Chapter(noise.measure, 3.5),
    "stages": Chapter(stages.measure, 2.5),
    "pools": Chapter(pools.measure, 1.2),
    "batches": Chapter(batches.measure, 3.0),
    "proxies": Chapter(proxies.measure, 1.0),
    "ablations": Chapter(ablations.measure, 1.2),
}


class OutOfTime(Exception):
    """The minutes given are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    data: Path
    json: bool
    share: float
    minutes: float
    processes: int
    only: tuple[str, ...]


def options() -> Options | None:
    """Reads the command line; None when the bounds are to be listed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, help="folder of matrices")
    what.add_argument("--list", action="store_true", help="list the bounds and where they are")
    parser.add_argument("--json", action="store_true", help="print values instead of tables")
    worlds = parser.add_mutually_exclusive_group()
    worlds.add_argument("--quick", action="store_true", help="the fewest worlds")
    worlds.add_argument("--share", type=float, default=1.0, help="share of the worlds (1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="time limit (60)")
    parser.add_argument("--processes", type=int, default=2, help="worlds at once (2)")
    parser.add_argument("--only", nargs="+", choices=CHAPTERS, default=tuple(CHAPTERS))
    given = parser.parse_args()
    if given.list:
        return None
    for name in ("share", "minutes", "processes"):
        if getattr(given, name) <= 0:
            parser.error(f"--{name} has to be above 0")
    return Options(
        data=given.data,
        json=given.json,
        share=_QUICK if given.quick else given.share,
        minutes=given.minutes,
        processes=given.processes,
        only=tuple(given.only),
    )


def prepared(given: Options, report: Report) -> Bench:
    """Loads the matrices; says what they are taken for, and what is not used."""
    pace = Pace(seconds=60.0 * given.minutes)

    def tell(note: str) -> None:
        report.notes.append(note)
        pace.say(note)

    loaded = tuple(matrices.load(given.data, grid_size=_GRID_SIZE, tell=tell))
    for one in loaded:
        pace.say(f"{one.name}: {one.described}")
    report.tables["Matrices"] = "\n".join(f"- {one.name}: {one.described}" for one in loaded)
    if not peers.installed():
        tell("MIPROv2 and GEPA as released: run scripts/peers_env.sh first")
    minutes = given.share * sum(CHAPTERS[name].minutes for name in given.only)
    pace.say(f"about {minutes:.0f} minutes on two cores; {given.minutes:g} are given")
    report.notes.append("cost against history: python -m benchmarks.search_cost")
    report.notes.append("end to end on Banking77: python -m benchmarks.banking77")
    return Bench(matrices=loaded, processes=given.processes, share=given.share, pace=pace)


def run(given: Options, report: Report) -> None:
    """Runs the chapters asked for, each in its part of the time."""
    bench = prepared(given, report)

    def over(_: int, __: FrameType | None) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 60.0 * given.minutes)
    name = ""
    try:
        for place, name in enumerate(given.only):
            left = sum(CHAPTERS[one].minutes for one in given.only[place:])
            bench.pace.say(f"{name}, chapter {place + 1} of {len(given.only)}")
            bench.pace.chapter(CHAPTERS[name].minutes / left)
            CHAPTERS[name].measure(bench, report)
    except OutOfTime:
        report.add(f"{name} within {given.minutes:g} minutes", float("inf"), 0.0, "out of time")
        for missing in given.only[place + 1 :]:
            report.add(f"{missing}: not measured", float("nan"), 0.0, "out of time")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    report.close()


def main() -> int:
    """Runs the chapters asked for, and returns 1 when a bound is missed."""
    given = options()
    if given is None:
        sys.stdout.write(acceptance.text())
        return 0
    report = Report()
    run(given, report)
    print(json.dumps(report.data(), indent=1) if given.json else report.text())
    return 0 if all(bound.met for bound in report.bounds) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""How good the search is on recorded rewards, beside MIPROv2 and GEPA as released.

    scripts/peers_env.sh                             # once: the environment of the peers
    python -m benchmarks.search --data DIR           # everything; see --minutes
    python -m benchmarks.search --data DIR --quick   # a tenth of the worlds; intervals are wide

`DIR` holds matrices of prompts x examples (benchmarks/search_parts/matrices.py says in which form);
they are sorted by what they hold. No model is asked and no network is used. Every engine is asked,
told and ranked through the study that the service drives. Exits with 1 when a bound is missed, and
stops by itself after the minutes given, with whatever was not measured counted as missed.
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

from benchmarks.search_parts import matrices, peers
from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import (
    Bench,
    ablations,
    decisions,
    efficiency,
    faults,
    nulls,
    pools,
    proxies,
    replay,
)

CHAPTERS: dict[str, Callable[[Bench, Report], None]] = {
    "efficiency": efficiency.measure,
    "nulls": nulls.measure,
    "faults": faults.measure,
    "replay": replay.measure,
    "decisions": decisions.measure,
    "pools": pools.measure,
    "proxies": proxies.measure,
    "ablations": ablations.measure,
}
_GRID_SIZE = 72


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


def options() -> Options:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of matrices")
    parser.add_argument("--json", action="store_true", help="print values instead of tables")
    worlds = parser.add_mutually_exclusive_group()
    worlds.add_argument("--quick", action="store_true", help="a tenth of the worlds")
    worlds.add_argument("--share", type=float, default=1.0, help="share of the worlds (1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="time limit (60)")
    parser.add_argument("--processes", type=int, default=2, help="worlds at once (2)")
    parser.add_argument("--only", nargs="+", choices=CHAPTERS, default=tuple(CHAPTERS))
    given = parser.parse_args()
    return Options(
        data=given.data,
        json=given.json,
        share=0.1 if given.quick else given.share,
        minutes=given.minutes,
        processes=given.processes,
        only=tuple(given.only),
    )


def main() -> int:
    """Runs the chapters asked for, and returns 1 when a bound is missed."""
    given = options()
    report = Report()
    bench = Bench(
        matrices=tuple(matrices.load(given.data, grid_size=_GRID_SIZE)),
        processes=given.processes,
        share=given.share,
    )
    report.notes.append("cost against history: python -m benchmarks.search_cost")
    if not peers.installed():
        report.notes.append("MIPROv2 and GEPA as released: run scripts/peers_env.sh first")

    def over(_: int, __: FrameType | None) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 60.0 * given.minutes)
    chapter = ""
    try:
        for chapter in given.only:
            print(f"{chapter} (of {given.minutes:g} minutes in all)", file=sys.stderr, flush=True)
            CHAPTERS[chapter](bench, report)
    except OutOfTime:
        report.add(f"{chapter} within {given.minutes:g} minutes", float("inf"), 0.0, "out of time")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(report.data(), indent=1) if given.json else report.text())
    return 0 if all(bound.met for bound in report.bounds) else 1


if __name__ == "__main__":
    raise SystemExit(main())

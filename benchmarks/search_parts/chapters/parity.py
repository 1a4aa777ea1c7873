"""Whether MIPROv2's own protocol is that of DSPy as released, trial by trial, on these matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.search_parts import peers
from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import Engine, Outcome, Session
from benchmarks.search_parts.peers import MIPROV2, MIPROV2_LIGHT, Runner
from benchmarks.search_parts.worlds import World, build
from burnish_search.algorithms.mipro_parity import MiproParity

_REPETITIONS = 3
# The protocol has no budget; this is more than it asks for.
_ENOUGH = 1_000_000


def measure(bench: Bench, report: Report) -> None:
    """Adds how many trials differ, of two presets: candidate, examples in order, or score."""
    grids = (bench.grid(), bench.grid("grid 3 x 6", shape=(3, 6)))
    if bench.lacks(grids[0], report):
        return
    if not peers.installed():
        report.add("parity with MIPROv2: trials that differ", float("nan"), 0, "no peers")
        return
    with Runner() as runner:
        for peer, grid in zip((MIPROV2, MIPROV2_LIGHT), grids, strict=True):
            differing = count = 0
            for place in range(len(grid.matrices)):
                for repetition in range(_REPETITIONS):
                    world = build(grid, place, repetition)
                    theirs = runner.run(peer, world, budget=_ENOUGH)["trials"]
                    if not isinstance(theirs, list):
                        raise TypeError(f"trials are a list, not {type(theirs).__name__}")
                    ours, _ = play(peer.settings, world)
                    count += len(theirs)
                    differing += abs(len(ours) - len(theirs))
                    differing += sum(a != b for a, b in zip(ours, theirs, strict=False))
            name = f"parity with {peer.name}: trials that differ"
            report.add(name, differing, 0, f"of {count}")


def play(
    settings: Mapping[str, object], world: World
) -> tuple[Sequence[Mapping[str, object]], Outcome]:
    """Returns every evaluation of our protocol, as a peer tells its own, and what is recommended.

    Args:
        settings: Of the protocol.
        world: What is searched.
    """
    session = Session(
        Engine(name="parity", build=MiproParity, settings=settings), world, budget=_ENOUGH
    )
    outcome = session.run()
    done = MiproParity(session.study.spec).evaluations(session.study.history)
    trials = [
        {
            "arm": evaluation.options[0] * world.shape[1] + evaluation.options[1],
            "examples": list(evaluation.rows),
            "full": evaluation.full,
            "score": score,
        }
        for evaluation, score in done
    ]
    return trials, outcome

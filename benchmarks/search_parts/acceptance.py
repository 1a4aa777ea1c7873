"""Every bound that the search is held to, and where it is checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A bound.

    Attributes:
        what: What is looked at.
        bound: What it is to be.
        where: Chapter of benchmarks/search.py, or the path of a script or a test.
    """

    what: str
    bound: str
    where: str


CHECKS = (
    Check("6 x 12: race at 1,000", "<= 60 % of MIPROv2 at 1,000", "efficiency"),
    Check("6 x 12: race at 1,000", "<= MIPROv2 at 2,000", "efficiency"),
    Check("3 x 6: race at 250", "<= MIPROv2 light at 650", "efficiency"),
    Check(
        "flat, wrong prior: race less the best other", "upper limit <= 0.3 from 400", "efficiency"
    ),
    Check("flat, wrong prior: the same, pooled", "upper limit <= 0", "efficiency"),
    Check("our gepa less GEPA as released, by environment", "upper limit <= 0", "efficiency"),
    Check("gate of 3, 8, 16, 35 rows: better and worse children", "as expected", "gate"),
    Check("gate of 8 rows: cells of a rejected child", "<= 8", "gate"),
    Check("gate: the parent, or any cell, asked for again", "never", "gate"),
    Check("adaptive batches less none", "<= 1.0", "batches"),
    Check("MIPROv2's protocol, on matrices", "no trial differs", "parity"),
    Check(
        "MIPROv2's protocol, other shapes", "the same", "tests/unit/search/test_search_parity.py"
    ),
    Check("nothing to gain: promoted", "<= 5 %", "nulls"),
    Check("nothing to gain: share of the budget spent", "<= 40 %", "nulls"),
    Check("6 x 12 at 1,000: promoted", ">= 90 %", "nulls"),
    Check("reported less held back, in six environments", "within 1 point", "nulls"),
    Check("reported less held back, flipped cells", "within 1 point", "noise"),
    Check("reported less true, three stages", "within 1 point", "stages"),
    Check("sizes of batches, faults, works in flight", "budget never exceeded", "budget"),
    Check("every search of every chapter", "budget never exceeded", "efficiency"),
    Check("10 % faults at 1,000", "<= none at 850 + 0.2", "faults"),
    Check("30 % faults at 1,000", "<= none at 600 + 0.2", "faults"),
    Check("30 % faults, less the same scored as 0", "upper limit <= 0", "faults"),
    Check("1, 20, 80 cells or 4 works in flight, at 1,000", "within 0.3", "faults"),
    Check("20 kills, also with faults and 4 works in flight", "the identical rest", "replay"),
    Check("three stages of 6 x 12: race less tpe at 2,000", "upper limit <= 0", "stages"),
    Check("three stages: slowest decision", "<= 50 ms", "stages"),
    Check("5 and 10 % of cells flipped: order of methods", "no sure pair turns", "noise"),
    Check("5 and 10 % of cells flipped: before the race", "no method", "noise"),
    Check("decision at 200 x 5,000 and 2,000 x 100,000", "<= 10 and 50 ms", "decisions"),
    Check("memory", "<= 300 MB", "decisions"),
    Check("adaptive pools less none", "<= 0 (flat: 0.3)", "pools"),
    Check("cheap models for the same money", "<= 0.5", "proxies"),
    Check("ask, tell, 16 at once, at the client", "in milliseconds", "benchmarks/search_cost.py"),
    Check("samples of tpe", "those of Optuna", "tests/unit/search/test_search_tpe_same_samples.py"),
    Check("Banking77: race less tpe, by seed", "nowhere surely worse", "benchmarks/banking77.py"),
)


def text() -> str:
    """Returns the bounds as Markdown."""
    lines = ["| what | bound | where |", "|---|---|---|"]
    lines += [f"| {check.what} | {check.bound} | {check.where} |" for check in CHECKS]
    return "\n".join(lines) + "\n"

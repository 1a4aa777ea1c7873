"""Why no gain was found: what the rows of a job say about it, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from burnish.verdicts.paired import LEAST_GAIN, Comparison, Verdict
from burnish.verdicts.power import PLAUSIBLE_GAIN, detectable_gain, rows_for
from burnish.verdicts.rule import Rule

SATURATED: Final = 0.95
_FEWEST_FAILURES: Final = 3
_FEWEST_CANDIDATES: Final = 4
_FEWEST_ROWS_EACH: Final = 20
# A judge whose second look at the same answer moves this much decides more than the prompt does.
_NOISY: Final = 0.15
_NO_SPREAD: Final = 0.015
_OUT_OF_BUDGET: Final = frozenset({"rollout_limit", "budget_exhausted", "time_limit"})


class Cause(StrEnum):
    """Why no gain was found."""

    SATURATED_BASELINE = "SATURATED_BASELINE"
    NO_FAILURES = "NO_FAILURES"
    NOISY_JUDGE = "NOISY_JUDGE"
    BUDGET_TOO_SMALL = "BUDGET_TOO_SMALL"
    NO_HEADROOM = "NO_HEADROOM"
    TEST_TOO_SMALL = "TEST_TOO_SMALL"
    LUCKY_WINNER = "LUCKY_WINNER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One reason for there being no gain.

    Attributes:
        cause: Which.
        message: What was seen, and what to do about it.
    """

    cause: Cause
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptoms:
    """What is known of a job that found no gain.

    Attributes:
        comparison: The closing test; None when the search preferred the baseline itself.
        baseline_mean: Mean reward of the baseline; None when nothing was scored.
        baseline_rows: Rows that it is over.
        failures: Rows on which the baseline did badly.
        candidates: Candidates that were evaluated, the baseline among them.
        search_rows: Rewards that the search had of all of them.
        spread: Standard deviation of the candidates beyond noise; None when unknown.
        promised: Gain over the baseline that the search saw; None when unknown.
        ended: Why the search ended, such as `rollout_limit`.
        judge_noise: Standard deviation of a judge's scores of one answer; None without a judge, or
            when no answer was judged twice.
    """

    comparison: Comparison | None
    baseline_mean: float | None
    baseline_rows: int
    failures: int
    candidates: int
    search_rows: int = 0
    spread: float | None = None
    promised: float | None = None
    ended: str = ""
    judge_noise: float | None = None


def why_no_gain(seen: Symptoms, *, rule: Rule | None = None) -> tuple[Diagnosis, ...]:
    """Returns every reason that the rows support, the most telling first."""
    return tuple(_found(seen, rule if rule is not None else Rule()))


def _found(seen: Symptoms, rule: Rule) -> Iterator[Diagnosis]:
    mean = seen.baseline_mean
    if mean is not None and mean >= SATURATED:
        yield Diagnosis(
            cause=Cause.SATURATED_BASELINE,
            message=f"the baseline already earns {mean:.3f}: at most {1 - mean:.3f} is left to"
            " gain; use harder rows, or a stricter reward",
        )
    if seen.baseline_rows and seen.failures < _FEWEST_FAILURES:
        yield Diagnosis(
            cause=Cause.NO_FAILURES,
            message=f"the baseline failed on {seen.failures} of {seen.baseline_rows} rows: there"
            " was nothing to learn from; add rows on which it fails",
        )
    if seen.judge_noise is not None and seen.judge_noise >= _NOISY:
        yield Diagnosis(
            cause=Cause.NOISY_JUDGE,
            message=f"the judge's scores of one answer differ by {seen.judge_noise:.2f} (standard"
            " deviation), more than prompts do; give it more votes, a sharper rubric, or an exact"
            " check, and measure it with `burnish verify calibrate`",
        )
    yield from _search(seen)
    yield from _test(seen, rule)


def _search(seen: Symptoms) -> Iterator[Diagnosis]:
    scarce = seen.search_rows < _FEWEST_ROWS_EACH * seen.candidates
    if seen.candidates < _FEWEST_CANDIDATES or (scarce and seen.ended in _OUT_OF_BUDGET):
        yield Diagnosis(
            cause=Cause.BUDGET_TOO_SMALL,
            message=f"the search tried {seen.candidates} candidates, the baseline among them, on"
            f" {seen.search_rows} rows in all: raise the budget, or try fewer on more rows",
        )
    flat = seen.spread is not None and seen.spread < _NO_SPREAD
    if seen.candidates >= _FEWEST_CANDIDATES and flat:
        yield Diagnosis(
            cause=Cause.NO_HEADROOM,
            message=f"{seen.candidates} candidates differ by no more than chance: the wording and"
            " the demos tried do not matter to this model here; try instructions of another kind,"
            " another model, or change the program",
        )


def _test(seen: Symptoms, rule: Rule) -> Iterator[Diagnosis]:
    test = seen.comparison
    if test is None:
        return
    found = test.difference
    if seen.promised is not None and seen.promised - found.mean >= PLAUSIBLE_GAIN / 2:
        yield Diagnosis(
            cause=Cause.LUCKY_WINNER,
            message=f"the search saw {seen.promised:+.3f}, the held-out rows {found.mean:+.3f}: it"
            " was the luckiest of many; give the search more validation rows",
        )
    if test.verdict is Verdict.CANNOT_TELL:
        gain = detectable_gain(found.count, rule=rule, deviation=test.deviation)
        wanted = rows_for(max(found.mean, LEAST_GAIN), rule=rule)
        yield Diagnosis(
            cause=Cause.TEST_TOO_SMALL,
            message=f"{found.count} held-out rows find gains from {gain:.2f} on; one of"
            f" {max(found.mean, LEAST_GAIN):.3f} needs about {wanted}",
        )

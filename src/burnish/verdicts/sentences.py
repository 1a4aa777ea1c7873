"""A verdict as a sentence for a person."""

from __future__ import annotations

from typing import Final

from burnish.verdicts.paired import LEAST_GAIN, Comparison, Verdict
from burnish.verdicts.rule import Rule

UNTESTED: Final = (
    "The winner was not tested on held-out rows: give a test pool to know what it is worth."
)
UNSCORED: Final = "No held-out row could be scored for both prompts; the baseline is kept."


def sentence(found: Comparison | None, *, rule: Rule, kept_baseline: bool) -> str:
    """Says in one sentence whether the prompt got better, and what is returned.

    Args:
        found: The closing test; None when the challenger was not tested.
        rule: When a prompt is promoted.
        kept_baseline: Whether the search preferred the baseline to every candidate.
    """
    if kept_baseline:
        return "No candidate beat the baseline; the baseline is kept."
    if found is None:
        return UNTESTED
    size = (
        f"{found.difference.mean:+.3f} on {found.difference.count} held-out rows"
        f" (95 % interval {found.difference.lower:+.3f} to {found.difference.upper:+.3f})"
    )
    if found.expected is not None and found.decided_by_search:
        size += (
            f"; with the search's {found.search_rewards} rewards {found.expected.mean:+.3f} is"
            f" believed ({found.expected.lower:+.3f} to {found.expected.upper:+.3f})"
        )
    kept = (
        f"P(improve) is {chance(found.probability)}, below {rule.min_probability:g}, so the"
        " baseline is kept"
    )
    if found.verdict is Verdict.BETTER:
        said = f"The prompt got better: {size}"
        return f"{said}." if found.promoted else f"{said}, but {kept}."
    if found.verdict is Verdict.NOT_BETTER:
        worse = "got worse" if found.difference.upper < 0 else "is not better"
        ruled_out = "" if found.difference.upper < 0 else f", a gain of {LEAST_GAIN:g} ruled out"
        return f"The prompt {worse}: {size}{ruled_out}; {kept}."
    if found.promoted:
        return (
            f"Cannot tell at this n: {size}; promoted all the same, as P(improve)"
            f" {chance(found.probability)} is what this job asks for ({rule.min_probability:g})."
        )
    return f"Cannot tell at this n: {size}; {kept}. Test on more rows."


def chance(probability: float) -> str:
    """Returns a probability as text that never rounds to certainty."""
    if probability > 0.999:
        return ">0.999"
    return "<0.001" if probability < 0.001 else f"{probability:.3f}"

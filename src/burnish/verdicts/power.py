"""How large a gain a held-out test of some size finds, before anything is spent on it."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from burnish.verdicts.paired import TYPICAL_DEVIATION
from burnish.verdicts.rule import Rule

POWER: Final = 0.8
# Most gains that were ever reported for a change of prompt alone are below this.
PLAUSIBLE_GAIN: Final = 0.10
# A gain is shown with two digits: one that reads 0.10 is not above it.
_WARNED: Final = PLAUSIBLE_GAIN + 0.005
_MOST_ROWS: Final = 1_000_000
_NORMAL: Final = NormalDist()


def detectable_gain(
    rows: int, *, rule: Rule | None = None, deviation: float = TYPICAL_DEVIATION
) -> float:
    """Returns the gain that a test promotes four times out of five; 1 is as good as never.

    Args:
        rows: Held-out rows on which both prompts have a reward.
        rule: When a prompt is promoted; None for the default.
        deviation: Standard deviation of a row's difference.
    """
    if rows < 1:
        return 1.0
    own = rule if rule is not None else Rule()
    error = deviation / math.sqrt(rows)
    least = max(own.min_probability, 0.5)
    sure = _NORMAL.inv_cdf(least) * math.hypot(1.0, error / own.prior_deviation)
    # The exact test holds one row against the challenger.
    return min(1.0, (sure + _NORMAL.inv_cdf(POWER)) * error + 1 / rows)


def rows_for(gain: float, *, rule: Rule | None = None) -> int:
    """Returns the fewest held-out rows whose test finds a gain of this size."""
    low, high = 1, _MOST_ROWS
    while low < high:
        middle = (low + high) // 2
        if detectable_gain(middle, rule=rule) <= gain:
            high = middle
        else:
            low = middle + 1
    return low


def size_warning(rows: int, *, rule: Rule | None = None, searched: int = 0) -> str:
    """Returns a warning when a test finds only gains that are hardly ever met; empty otherwise.

    Args:
        rows: Held-out rows.
        rule: When a prompt is promoted; None for the default.
        searched: Further rows on which the search is going to see both prompts, and which count.
    """
    if rows < 1:
        return (
            "`test_pool` is empty: nothing will tell whether the winner is better; hold out"
            f" {rows_for(_WARNED, rule=rule)} rows or more"
        )
    gain = detectable_gain(rows + searched, rule=rule)
    if gain < _WARNED:
        return ""
    beside = f" and the search sees about {searched} more of both prompts" if searched else ""
    return (
        f"`test_pool` has {rows} rows{beside}, on which only a gain of {gain:.2f} or more is likely"
        f" to be found, and gains above {PLAUSIBLE_GAIN:.2f} are rare; hold out"
        f" {rows_for(_WARNED, rule=rule) - searched} rows or more, else expect"
        " `cannot tell at this n` and the baseline back"
    )

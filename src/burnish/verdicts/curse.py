"""What the best of many is worth: its mean less the luck that made it the best.

The best of many prompts on a few rows was also the luckiest, and its rows may have been easy ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from burnish.verdicts.beliefs import Table, believed
from burnish.verdicts.means import Interval, mean_interval

_FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A chosen prompt's mean as it was seen, and as it is to be believed.

    Attributes:
        raw: As it was seen.
        corrected: Less the luck, of rows and of draws.
        spread: Standard deviation of the prompts beyond noise; None for too few to tell.
    """

    raw: Interval
    corrected: Interval
    spread: float | None


def corrected(
    rewards: Mapping[str, Mapping[int, float]], chosen: str, *, prior_deviation: float
) -> Corrected | None:
    """Corrects the mean of a prompt that was chosen because it was the best.

    Args:
        rewards: Reward by candidate and seed, on the rows that the choice was made by.
        chosen: The candidate that was chosen.
        prior_deviation: How far prompts are expected to differ beforehand.

    Returns:
        None when the chosen one has no rewards.
    """
    raw = mean_interval(list(rewards.get(chosen, {}).values()))
    if raw is None:
        return None
    table: Table = {name: dict(rows.items()) for name, rows in rewards.items()}
    beliefs = believed(table, chosen, baseline=None, prior_deviation=prior_deviation)
    luck = 0.0 if beliefs is None else raw.mean - beliefs.level
    shifted = replace(
        raw,
        mean=_cut(raw.mean - luck),
        lower=_cut(raw.lower - luck),
        upper=_cut(raw.upper - luck),
    )
    known = sum(bool(rows) for rows in rewards.values())
    spread = None if beliefs is None or known < _FEWEST else beliefs.spread
    return Corrected(raw=raw, corrected=shifted, spread=spread)


def agreed(own: Interval, expected: Interval) -> Interval:
    """Returns what a search's own model and ours come to together: the mean of both.

    A search that buys rows for what they tell knows why it did, and its model of rows is the better
    one; of the luck of having been chosen ours takes more off. What the one errs by the other errs
    by the other way, so that their mean is nearer the truth than either.

    Args:
        own: By our model, as `corrected` has it.
        expected: By the search's; its interval, which is for other rows, is kept.
    """
    shift = (own.mean - expected.mean) / 2
    return replace(
        expected,
        mean=_cut(expected.mean + shift),
        lower=_cut(expected.lower + shift),
        upper=_cut(expected.upper + shift),
    )


def _cut(value: float) -> float:
    return min(max(value, 0.0), 1.0)

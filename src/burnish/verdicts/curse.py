"""What the best of many is worth: its mean less the luck that made it the best.

The best of many prompts on a few rows was also the luckiest. Its effect is shrunk towards the mean
of all by empirical Bayes: rewards are a row's ease plus a prompt's effect plus noise; how much the
effects differ beyond the noise says which part of a lead is real (Efron and Morris, "Data analysis
using Stein's estimator", JASA 70, 1975).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from burnish.verdicts.means import Interval, mean_interval, variance

_SWEEPS: Final = 20
_FEWEST: Final = 3

Rewards = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A chosen prompt's mean as it was seen, and as it is to be believed.

    Attributes:
        raw: As it was seen.
        corrected: Less the luck, of rows and of draws, on all the rows that anybody saw.
        spread: Standard deviation of the prompts beyond noise; None for too few to tell.
    """

    raw: Interval
    corrected: Interval
    spread: float | None


def corrected(rewards: Rewards, chosen: str, *, prior_deviation: float) -> Corrected | None:
    """Corrects the mean of a prompt that was chosen because it was the best.

    Args:
        rewards: Reward by candidate and seed, on the rows that the choice was made by.
        chosen: The candidate that was chosen.
        prior_deviation: How far two or fewer prompts are taken to differ.

    Returns:
        None when the chosen one has no rewards.
    """
    known = {name: rows for name, rows in rewards.items() if rows}
    raw = mean_interval(list(known.get(chosen, {}).values()))
    if raw is None:
        return None
    effects, ease, noise = _effects(known)
    errors = {name: noise / len(rows) for name, rows in known.items()}
    spread = None
    if len(known) >= _FEWEST:
        mean_error = math.fsum(errors.values()) / len(errors)
        spread = math.sqrt(max(0.0, variance(list(effects.values())) - mean_error))
    between = (spread if spread is not None else prior_deviation) ** 2
    real = between / (between + errors[chosen]) if between + errors[chosen] > 0 else 1.0
    # On every row, not on those alone that the chosen one happened to see: they may be easy ones.
    luck = raw.mean - (math.fsum(ease.values()) / len(ease) + real * effects[chosen])
    shifted = replace(
        raw,
        mean=_cut(raw.mean - luck),
        lower=_cut(raw.lower - luck),
        upper=_cut(raw.upper - luck),
    )
    return Corrected(raw=raw, corrected=shifted, spread=spread)


def _effects(rewards: Rewards) -> tuple[dict[str, float], dict[int, float], float]:
    """Returns each prompt's effect, 0 in the mean, each row's ease, and what variance is left."""
    effects = dict.fromkeys(rewards, 0.0)
    columns: dict[int, list[tuple[str, float]]] = {}
    for name, rows in rewards.items():
        for seed, reward in rows.items():
            columns.setdefault(seed, []).append((name, reward))
    ease: dict[int, float] = {}
    for _ in range(_SWEEPS):
        ease = {
            seed: math.fsum(reward - effects[name] for name, reward in cells) / len(cells)
            for seed, cells in columns.items()
        }
        effects = {
            name: math.fsum(reward - ease[seed] for seed, reward in rows.items()) / len(rows)
            for name, rows in rewards.items()
        }
        centre = math.fsum(effects.values()) / len(effects)
        effects = {name: effect - centre for name, effect in effects.items()}
    cells = sum(len(rows) for rows in rewards.values())
    freedom = cells - len(columns) - len(rewards) + 1
    if freedom < 1:
        return effects, ease, 0.25
    centred = [
        (reward - ease[seed] - effects[name]) ** 2
        for name, rows in rewards.items()
        for seed, reward in rows.items()
    ]
    return effects, ease, math.fsum(centred) / freedom


def _cut(value: float) -> float:
    return min(max(value, 0.0), 1.0)

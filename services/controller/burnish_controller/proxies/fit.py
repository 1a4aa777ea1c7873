"""Predicts what a dear model earns from what a cheap one does, by regression over trials.

A handful of pairs lies close to some line by luck: of five that have nothing to do with each other,
one set in six explains half of its variance. So what is told as explained is what each pair's
prediction from the *other* pairs explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_PAIRS = 3
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What both models earned on the same rows: means of rewards, in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A line through pairs.

    Attributes:
        intercept: What it starts at.
        slope: How steep it is.
        r2: Share of the variance that is explained, each pair predicted from the others; at most
            1, and below 0 when the mean would predict better.
        residual_variance: Variance that is left.
    """

    intercept: float
    slope: float
    r2: float
    residual_variance: float

    def at(self, low: float) -> float:
        """Returns the mean reward that the dear model is expected to earn, in [0, 1]."""
        return min(max(self.intercept + self.slope * low, 0.0), 1.0)

    def rewards(self, low: Sequence[float]) -> list[float]:
        """Returns a predicted reward for each row, in [0, 1], with the predicted mean as mean."""
        if not low:
            return []
        each = [self.intercept + self.slope * reward for reward in low]
        if all(0.0 <= reward <= 1.0 for reward in each):
            return each
        return [self.at(math.fsum(low) / len(low))] * len(low)


def fitted(pairs: Sequence[Pair]) -> Fit | None:
    """Fits a line by least squares; None for fewer than three pairs."""
    count = len(pairs)
    if count < LEAST_PAIRS:
        return None
    low_mean = math.fsum(pair.low for pair in pairs) / count
    high_mean = math.fsum(pair.high for pair in pairs) / count
    spread = math.fsum((pair.low - low_mean) ** 2 for pair in pairs)
    shared = math.fsum((pair.low - low_mean) * (pair.high - high_mean) for pair in pairs)
    slope = shared / spread if spread > _NOTHING else 0.0
    intercept = high_mean - slope * low_mean
    left, missed, total = 0.0, 0.0, 0.0
    for pair in pairs:
        residual = pair.high - intercept - slope * pair.low
        leverage = 1.0 / count
        if spread > _NOTHING:
            leverage += (pair.low - low_mean) ** 2 / spread
        left += residual**2
        missed += (residual / max(1.0 - leverage, _NOTHING)) ** 2
        total += ((pair.high - high_mean) * count / (count - 1)) ** 2
    return Fit(
        intercept=intercept,
        slope=slope,
        r2=1.0 - missed / total if total > _NOTHING else 0.0,
        residual_variance=left / (count - 2),
    )

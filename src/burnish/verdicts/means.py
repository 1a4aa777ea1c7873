"""Means with their uncertainty.

Intervals are Student's t for the mean of n rows (Student, "The Probable Error of a Mean",
Biometrika 1908).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CONFIDENCE: Final = 0.95
_NORMAL_QUANTILE: Final = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and where it may lie.

    Attributes:
        mean: The mean.
        count: Rows that it is over, at least 1.
        lower: Lower end.
        upper: Upper end.
        confidence: In (0, 1).
    """

    mean: float
    count: int
    lower: float
    upper: float
    confidence: float = CONFIDENCE


def mean_interval(
    values: Sequence[float], *, low: float = 0.0, high: float = 1.0
) -> Interval | None:
    """Returns the mean of rows and its interval, or None for no rows.

    Args:
        values: One per row.
        low: Least value that a mean can have; the interval is cut there.
        high: Greatest value that a mean can have.
    """
    count = len(values)
    if count == 0:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean=mean, count=1, lower=low, upper=high)
    half = student_quantile(count - 1) * math.sqrt(variance(values) / count)
    return Interval(
        mean=mean, count=count, lower=max(low, mean - half), upper=min(high, mean + half)
    )


def variance(values: Sequence[float]) -> float:
    """Returns the variance of at least two values."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def student_quantile(freedom: int) -> float:
    """Returns the .975 quantile of Student's t.

    Cornish and Fisher's expansion about the normal quantile (Abramowitz and Stegun 26.7.5); within
    .001 from 5 degrees of freedom on, and exact values below.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    exact = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764}
    if freedom in exact:
        return exact[freedom]
    x = _NORMAL_QUANTILE
    g1 = (x**3 + x) / 4
    g2 = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    g3 = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    g4 = (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160
    return x + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4

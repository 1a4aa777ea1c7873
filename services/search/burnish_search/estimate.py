"""Means with 95 % intervals, for a handful of rewards in [0, 1].

Rewards that are all 0 or 1 get the score interval of Wilson (Probable inference, the law of
succession, and statistical inference, JASA 22, 1927); others Student's interval, cut to [0, 1]. The
quantile of Student's t is the expansion in Abramowitz and Stegun 26.7.5, exact forms below three
degrees of freedom.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from burnish_search.model import Estimate

CONFIDENCE = 0.95
# Before anything is measured.
UNKNOWN = Estimate(mean=0.5, row_count=0, lower=0.0, upper=1.0)
_Z = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


def of_rewards(rewards: Sequence[float]) -> Estimate:
    """Returns the mean of at least one reward, with its interval."""
    count = len(rewards)
    mean = math.fsum(rewards) / count
    if all(reward in (0.0, 1.0) for reward in rewards):
        lower, upper = wilson(mean, count)
    elif count == 1:
        lower, upper = 0.0, 1.0
    else:
        half = student_quantile(count - 1) * statistics.stdev(rewards) / math.sqrt(count)
        lower, upper = mean - half, mean + half
    return around(mean, lower=lower, upper=upper, row_count=count)


def around(mean: float, *, lower: float, upper: float, row_count: int) -> Estimate:
    """Returns an estimate whose ends are cut to [0, 1]."""
    return Estimate(
        mean=mean,
        row_count=row_count,
        lower=min(max(lower, 0.0), 1.0),
        upper=min(max(upper, 0.0), 1.0),
        confidence=CONFIDENCE,
    )


def normal(mean: float, *, deviation: float, row_count: int) -> Estimate:
    """Returns the interval of a normal posterior; the mean is cut to [0, 1] too."""
    return around(
        min(max(mean, 0.0), 1.0),
        lower=mean - _Z * deviation,
        upper=mean + _Z * deviation,
        row_count=row_count,
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """Returns the score interval of a share of `count` draws."""
    scale = 1.0 + _Z * _Z / count
    centre = (share + _Z * _Z / (2 * count)) / scale
    half = _Z / scale * math.sqrt(share * (1.0 - share) / count + _Z * _Z / (4 * count * count))
    return centre - half, centre + half


def student_quantile(freedom: int) -> float:
    """Returns the two-sided 95 % quantile of Student's t with at least one degree of freedom."""
    if freedom == 1:
        return math.tan(math.pi * CONFIDENCE / 2)
    if freedom == 2:
        return CONFIDENCE * math.sqrt(2.0 / (1.0 - CONFIDENCE**2))
    z, n = _Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )

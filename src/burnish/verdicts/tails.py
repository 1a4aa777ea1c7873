"""Tail probabilities of the beta, binomial and Student distributions, without a heavy dependency.

All three are the regularised incomplete beta function (NIST Digital Library of Mathematical
Functions, 8.17), here by its continued fraction 8.17.22 in Lentz's form.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_PRECISION = 1e-14
_MOST_TERMS = 10_000
_HALVINGS = 60


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Returns the probability that a Beta(a, b) variable is at most x.

    Args:
        x: In [0, 1].
        a: First parameter, above 0.
        b: Second parameter, above 0.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        # The fraction converges fast only on this side of the mode.
        return 1.0 - incomplete_beta(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    value = above = 1.0
    below = 0.0
    for term in range(1, _MOST_TERMS):
        half, odd = divmod(term, 2)
        if odd:
            factor = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            factor = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        below = 1 / ((1 + factor * below) or _TINY)
        above = (1 + factor / above) or _TINY
        value *= above * below
        if abs(above * below - 1) < _PRECISION:
            break
    return value


def fair_coin_at_least(heads: int, throws: int) -> float:
    """Returns the probability of at least so many heads in throws of a fair coin."""
    return 1.0 if heads <= 0 else incomplete_beta(0.5, heads, throws - heads + 1)


def share_interval(count: int, total: int, *, confidence: float) -> tuple[float, float]:
    """Returns the exact interval of a share (Clopper and Pearson, Biometrika 26, 1934).

    Args:
        count: How many of them.
        total: Of how many, at least 1.
        confidence: In (0, 1).
    """
    tail = (1 - confidence) / 2
    lower = 0.0 if count == 0 else _beta_quantile(tail, count, total - count + 1)
    upper = 1.0 if count == total else _beta_quantile(1 - tail, count + 1, total - count)
    return lower, upper


def student_below(value: float, freedom: int) -> float:
    """Returns the probability that Student's t is at most a value."""
    tail = 0.5 * incomplete_beta(freedom / (freedom + value * value), freedom / 2, 0.5)
    return 1 - tail if value > 0 else tail


def _beta_quantile(probability: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if incomplete_beta(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2

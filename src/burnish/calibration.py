"""How good a judge is, measured on traces whose rewards are known. Pure: scores in, figures out.

Each figure comes with the number of rows behind it and a 95 % interval, or is None when nothing can
be said. A figure over few rows has a wide interval, also when every row agrees.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from burnish.errors import InvalidArgument

CONFIDENCE: Final = 0.95
_Z: Final = 1.959963984540054
# .975 quantiles of Student's t for 1 to 10 degrees of freedom.
_STUDENT: Final = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


class CalibrationInvalid(InvalidArgument):
    """Rows that cannot be calibrated on; the message names every fault. Do not retry."""

    default_reason = "CALIBRATION_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A labelled trace and what a judge said of it.

    Attributes:
        rollout_id: Which trace.
        label: The reward that it deserves, in [0, 1].
        scores: What the judge said, once for each repeat; repeats without a score are left out.
        reordered: The same with what is shown in another order: the rubric's criteria reversed.
        length: Size of what was judged, in characters or tokens; None when it is not known.
        costs: US dollars of each score; None for one whose price is unknown.
        unscored: Repeats without a score.
    """

    rollout_id: str
    label: float
    scores: tuple[float, ...] = ()
    reordered: tuple[float, ...] = ()
    length: int | None = None
    costs: tuple[float | None, ...] = ()
    unscored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value.

    Attributes:
        value: The value.
        count: Rows that it is over.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
    """

    value: float
    count: int
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How good a judge is. A figure is None when nothing can be said.

    Attributes:
        threshold: Score from which a trace passes.
        kappa: Cohen's kappa of passing, between the judge's first score and the label.
        agreement: Share of traces on whose passing the two agree.
        spearman: Rank correlation of score and label, with ties at their mean rank.
        kendall: Kendall's tau-b of score and label, which allows for ties.
        error: Mean distance of score and label.
        bias: Mean of score minus label: above 0 for a lenient judge.
        flip_rate: How often two repeats of a trace differ in whether it passes.
        spread: Mean standard deviation of the repeats of a trace.
        position_bias: Mean change of the score when what is shown is reordered.
        position_effect: Mean size of that change, either way.
        length_bias: Rank correlation of length with score minus label: above 0 for a judge that
            likes long answers better than it should.
        cost_usd: Mean cost of a score.
        unscored: Share of the judgements that gave no score.
    """

    threshold: float
    kappa: Figure | None
    agreement: Figure | None
    spearman: Figure | None
    kendall: Figure | None
    error: Figure | None
    bias: Figure | None
    flip_rate: Figure | None
    spread: Figure | None
    position_bias: Figure | None
    position_effect: Figure | None
    length_bias: Figure | None
    cost_usd: Figure | None
    unscored: Figure | None


def calibrate(rows: Sequence[Judged], *, threshold: float = 0.5) -> Calibration:
    """Measures a judge.

    Args:
        rows: Labelled traces with the judge's scores; at least one.
        threshold: Score, or label, from which a trace passes, in (0, 1].

    Raises:
        CalibrationInvalid: There are no rows, or some have faults.
    """
    _check(rows, threshold)
    scored = [row for row in rows if row.scores]
    firsts = [row.scores[0] for row in scored]
    labels = [row.label for row in scored]
    passes = [(first >= threshold, label >= threshold) for first, label in _pairs(firsts, labels)]
    repeated = [row for row in scored if len(row.scores) > 1]
    moved = [_mean(row.reordered) - _mean(row.scores) for row in scored if row.reordered]
    sized = [row for row in scored if row.length is not None]
    costs = [cost for row in rows for cost in row.costs]
    known = [cost for cost in costs if cost is not None]
    asked = sum(len(row.scores) + row.unscored for row in rows)
    return Calibration(
        threshold=threshold,
        kappa=cohen_kappa(passes),
        agreement=share([float(one is other) for one, other in passes]),
        spearman=spearman(firsts, labels),
        kendall=kendall(firsts, labels),
        error=mean([abs(one - other) for one, other in _pairs(firsts, labels)], low=0, high=1),
        bias=mean([one - other for one, other in _pairs(firsts, labels)], low=-1, high=1),
        flip_rate=share([_flips(row.scores, threshold) for row in repeated]),
        spread=mean([_deviation(row.scores) for row in repeated], low=0, high=1),
        position_bias=mean(moved, low=-1, high=1),
        position_effect=mean([abs(one) for one in moved], low=0, high=1),
        length_bias=spearman(
            [float(row.length or 0) for row in sized],
            [row.scores[0] - row.label for row in sized],
        ),
        # One unknown price makes the mean unknown, which is not 0.
        cost_usd=mean(known, low=0, high=math.inf) if len(known) == len(costs) else None,
        unscored=_portion(sum(row.unscored for row in rows) / asked, asked) if asked else None,
    )


def cohen_kappa(pairs: Sequence[tuple[bool, bool]]) -> Figure | None:
    """Returns Cohen's kappa of two raters; None when chance alone agrees always.

    The interval is Wilson's for the share of agreement, at the chance agreement that was found.
    """
    count = len(pairs)
    if not count:
        return None
    observed = sum(one is other for one, other in pairs) / count
    first, second = (sum(pair[side] for pair in pairs) / count for side in (0, 1))
    chance = first * second + (1 - first) * (1 - second)
    if chance >= 1:
        return None
    found = _portion(observed, count)

    def above_chance(agreement: float) -> float:
        return (agreement - chance) / (1 - chance)

    return Figure(
        value=above_chance(observed),
        count=count,
        lower=max(above_chance(found.lower), -1.0),
        upper=min(above_chance(found.upper), 1.0),
    )


def spearman(left: Sequence[float], right: Sequence[float]) -> Figure | None:
    """Returns Spearman's rank correlation; None when either side has one value only.

    The interval is that of Bonett and Wright (Psychometrika 65, 2000), on Fisher's scale.
    """
    found = _correlation(ranks(left), ranks(right))
    if found is None:
        return None
    count = len(left)
    nearly = 1 - 12 / (count * (count * count - 1)) if count > 1 else 0.0
    return _fisher(found, count, nearly=nearly, variance=(1 + found * found / 2), lost=3)


def kendall(left: Sequence[float], right: Sequence[float]) -> Figure | None:
    """Returns Kendall's tau-b; None when either side has one value only.

    The interval is that of Bonett and Wright (Psychometrika 65, 2000), on Fisher's scale.
    """
    count = len(left)
    pairs = count * (count - 1) // 2
    tied = [sum(n * (n - 1) // 2 for n in Counter(side).values()) for side in (left, right)]
    scale = math.sqrt((pairs - tied[0]) * (pairs - tied[1]))
    if not scale:
        return None
    order = sorted(zip(left, right, strict=True))
    balance = 0
    for place, (x, y) in enumerate(order):
        for other_x, other_y in order[place + 1 :]:
            if other_x != x:
                balance += (other_y > y) - (other_y < y)
    nearly = 1 - 2 / pairs
    return _fisher(balance / scale, count, nearly=nearly, variance=0.437, lost=4)


def ranks(values: Sequence[float]) -> list[float]:
    """Returns the rank of each value from 1; equal values share their mean rank."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            found[place] = (start + end) / 2 + 1
        start = end + 1
    return found


def mean(values: Sequence[float], *, low: float, high: float) -> Figure | None:
    """Returns a mean with Student's interval, cut at what a mean can be; None for no values."""
    count = len(values)
    if not count:
        return None
    middle = _mean(values)
    if count == 1:
        return Figure(value=middle, count=1, lower=low, upper=high)
    half = _student(count - 1) * _deviation(values) / math.sqrt(count)
    return Figure(
        value=middle, count=count, lower=max(middle - half, low), upper=min(middle + half, high)
    )


def share(values: Sequence[float]) -> Figure | None:
    """Returns a mean of values in [0, 1] with Wilson's interval; None for no values."""
    return _portion(_mean(values), len(values)) if values else None


def _portion(value: float, count: int) -> Figure:
    square = _Z * _Z
    middle = (value + square / (2 * count)) / (1 + square / count)
    half = (
        _Z
        * math.sqrt(value * (1 - value) / count + square / (4 * count * count))
        / (1 + square / count)
    )
    return Figure(
        value=value, count=count, lower=max(middle - half, 0.0), upper=min(middle + half, 1.0)
    )


def _fisher(value: float, count: int, *, nearly: float, variance: float, lost: int) -> Figure:
    """Returns a correlation with an interval on Fisher's scale.

    Args:
        value: The correlation.
        count: Pairs that it is over.
        nearly: What it is when two neighbours change places in a perfect order; a perfect
            correlation has the interval of that one, as its own would have no width.
        variance: Times 1 / (count - lost), the variance on that scale.
        lost: Pairs that the estimate costs.
    """
    if count <= lost:
        return Figure(value=value, count=count, lower=-1.0, upper=1.0)
    limit = max(nearly, 0.0)
    middle = math.atanh(min(max(value, -limit), limit))
    half = _Z * math.sqrt(variance / (count - lost))
    lower, upper = math.tanh(middle - half), math.tanh(middle + half)
    return Figure(value=value, count=count, lower=min(lower, value), upper=max(upper, value))


def _correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    if len(left) < 2:
        return None
    middles = _mean(left), _mean(right)
    off = [(x - middles[0], y - middles[1]) for x, y in _pairs(left, right)]
    squares = math.fsum(x * x for x, _ in off) * math.fsum(y * y for _, y in off)
    if squares <= 0:
        return None
    return min(max(math.fsum(x * y for x, y in off) / math.sqrt(squares), -1.0), 1.0)


def _flips(scores: Sequence[float], threshold: float) -> float:
    passing = sum(score >= threshold for score in scores)
    failing = len(scores) - passing
    return passing * failing / (len(scores) * (len(scores) - 1) / 2)


def _pairs(left: Sequence[float], right: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(left, right, strict=True))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    middle = _mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def _student(freedom: int) -> float:
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    # Cornish and Fisher's expansion about the normal quantile: Abramowitz and Stegun 26.7.5.
    third = (_Z**3 + _Z) / 4
    fifth = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    return _Z + third / freedom + fifth / freedom**2


def _check(rows: Sequence[Judged], threshold: float) -> None:
    problems = [] if rows else ["there are no labelled traces; give at least one"]
    if not 0 < threshold <= 1:
        problems.append(f"`threshold` is {threshold!r}; give a number in (0, 1]")
    for row in rows:
        wrong = [value for value in (row.label, *row.scores, *row.reordered) if not 0 <= value <= 1]
        if wrong:
            problems.append(f"`{row.rollout_id}` has {wrong[0]!r}; labels and scores are in [0, 1]")
        if any(cost is not None and not 0 <= cost < math.inf for cost in row.costs):
            problems.append(f"`{row.rollout_id}` has a cost below 0 or without end; correct it")
    if problems:
        raise CalibrationInvalid(
            "calibration: " + "; ".join(problems), metadata={"problems": str(len(problems))}
        )

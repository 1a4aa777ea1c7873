"""What every row that was scored says of one prompt, be it of the search or held out.

A reward is the ease of its row plus the effect of its prompt plus noise. How far effects differ is
not known beforehand, not even whether they do: scales from 0 on are weighed by how well they
explain the rewards, and the baseline may differ more than the others do among themselves. Effects
are shrunk accordingly, so that the best of many is not believed to be as good as it looked (Efron
and Morris, "Data analysis using Stein's estimator", JASA 70, 1975; selection does not change what
is to be believed after seeing everything: Dawid, "Selection paradoxes of Bayesian inference",
1994).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul
from typing import Final, TypeAlias

from burnish.verdicts.means import variance
from burnish.verdicts.tails import student_below

# Scales of effects, and of what sets the baseline apart, in parts of what is expected beforehand.
_SCALES: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
_APART: Final = (0.0, 0.3, 1.0)
# More candidates are sampled: the arithmetic grows with the third power of their number.
_MOST: Final = 100
_SWEEPS: Final = 30
_STILL: Final = 1e-5
_LEVEL_VARIANCE: Final = 0.25
_LEAST_EASE: Final = 0.01
# Noise of one reward, and as how many rewards that counts: few rewards that agree are luck.
_USUAL_NOISE: Final = 0.06
_USUAL_WEIGHT: Final = 4

Table: TypeAlias = Mapping[str, Mapping[Hashable, float]]
_Cells: TypeAlias = tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """What is believed of the chosen prompt.

    Attributes:
        level: Mean reward that it is expected to have over rows of all kinds.
        gain: How far its effect is expected to be above the baseline's; 0 without a baseline.
        error: Standard deviation of that.
        probability: That it is above.
        spread: How far prompts most likely differ (standard deviation).
    """

    level: float
    gain: float
    error: float
    probability: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one pair of scales says, and how well it explains the rewards."""

    fit: float
    scale: float
    level: float
    gain: float
    variance: float


def believed(
    rewards: Table, chosen: str, *, baseline: str | None, prior_deviation: float
) -> Beliefs | None:
    """Returns what is to be believed of a prompt; None when it, or the baseline, has no rewards.

    Args:
        rewards: Reward by candidate and row.
        chosen: The candidate in question.
        baseline: What it is compared with; None for nothing.
        prior_deviation: Standard deviation of gains that are expected beforehand.
    """
    known = {name: rows for name, rows in rewards.items() if rows}
    ends = [chosen] if baseline is None else [chosen, baseline]
    if any(name not in known for name in ends) or chosen == baseline:
        return None
    others = sorted(known.keys() - set(ends))
    kept = others[:: max(1, -(-len(others) // _MOST))]
    rows: dict[Hashable, list[tuple[int, float]]] = {}
    for place, name in enumerate([*kept, *ends]):
        for row, reward in known[name].items():
            rows.setdefault(row, []).append((place, reward))
    cells = tuple(tuple(one) for one in rows.values())
    return _believed(cells, len(kept) + len(ends), baseline is not None, prior_deviation)


@lru_cache(maxsize=64)
def _believed(cells: _Cells, count: int, compared: bool, prior_deviation: float) -> Beliefs:
    noise, ease, freedom = _variances(cells, count)
    mean = math.fsum(reward for row in cells for _, reward in row) / sum(map(len, cells))
    equations = _Equations(cells, count, mean=mean, noise=noise, ease=ease)
    parts = [
        part
        for scale in _SCALES
        for part in equations.parts(
            prior_deviation * scale,
            [prior_deviation * apart for apart in _APART] if compared else [],
        )
    ]
    best = max(part.fit for part in parts)
    weights = [math.exp(part.fit - best) for part in parts]
    total = math.fsum(weights)
    shares = [(weight / total, part) for weight, part in zip(weights, parts, strict=True)]
    scales = dict.fromkeys((part.scale for part in parts), 0.0)
    for share, part in shares:
        scales[part.scale] += share
    gain = math.fsum(share * part.gain for share, part in shares)
    square = math.fsum(share * (part.variance + (part.gain - gain) ** 2) for share, part in shares)
    return Beliefs(
        level=mean + math.fsum(share * part.level for share, part in shares),
        gain=gain,
        error=math.sqrt(square),
        # Where nothing differs, nothing is better.
        probability=math.fsum(
            share * student_below(part.gain / math.sqrt(part.variance), freedom)
            for share, part in shares
            if part.variance > 0
        ),
        spread=max(scales, key=lambda scale: scales[scale]),
    )


class _Equations:
    """The normal equations of level and effects, with the ease of rows taken out."""

    def __init__(
        self, cells: _Cells, count: int, *, mean: float, noise: float, ease: float
    ) -> None:
        size = count + 1  # The level comes first, the baseline last.
        self._matrix = matrix = [[0.0] * size for _ in range(size)]
        self._right = right = [0.0] * size
        for row in cells:
            places = [place + 1 for place, _ in row]
            rest = [reward - mean for _, reward in row]
            number, total = len(row), math.fsum(rest)
            shared = ease / (noise * (noise + number * ease))
            matrix[0][0] += number / noise - shared * number**2
            right[0] += total / noise - shared * number * total
            for one, value in zip(places, rest, strict=True):
                line = matrix[one]
                line[0] += 1 / noise - shared * number
                line[one] += 1 / noise
                right[one] += value / noise - shared * total
                for other in places:
                    if other <= one:
                        line[other] -= shared

    def parts(self, scale: float, aparts: Sequence[float]) -> Iterator[_Part]:
        """Yields what a scale of effects says, for every scale of what sets the baseline apart.

        Args:
            scale: Standard deviation of effects.
            aparts: Standard deviations of what is the baseline's own beside; empty without one.
        """
        last = len(self._right) - 1
        lead = last if aparts else last + 1
        weights = [math.sqrt(_LEVEL_VARIANCE)] + [scale] * (lead - 1)
        lower = _cholesky(
            [
                [weights[i] * weights[j] * self._matrix[i][j] + (i == j) for j in range(i + 1)]
                for i in range(lead)
            ]
        )
        right = _forward(lower, list(map(mul, weights, self._right)))
        own = _forward(lower, [0.0] * (lead - 1) + [scale])
        level = _forward(lower, [weights[0]] + [0.0] * (lead - 2) + [scale])
        fit = math.fsum(one * one for one in right) / 2
        fit -= math.fsum(math.log(lower[i][i]) for i in range(lead))
        if not aparts:
            expected = math.fsum(map(mul, level, right))
            yield _Part(fit=fit, scale=scale, level=expected, gain=0.0, variance=0.0)
            return
        cross = _forward(lower, list(map(mul, weights, self._matrix[last])))
        along = [math.fsum(map(mul, cross, one)) for one in (cross, right, own, level)]
        for apart in aparts:
            weight = math.hypot(scale, apart)
            pivot = math.sqrt(1 + weight**2 * (self._matrix[last][last] - along[0]))
            end = weight * (self._right[last] - along[1]) / pivot
            beside = -weight * (1 + along[2]) / pivot
            yield _Part(
                fit=fit + end * end / 2 - math.log(pivot),
                scale=scale,
                level=math.fsum(map(mul, level, right)) - weight * along[3] / pivot * end,
                gain=math.fsum(map(mul, own, right)) + beside * end,
                variance=math.fsum(one * one for one in own) + beside**2,
            )


def _variances(cells: _Cells, count: int) -> tuple[float, float, int]:
    """Returns the variance of noise and of rows' ease, and the degrees of freedom of the former."""
    numbers = [0] * count
    for row in cells:
        for place, _ in row:
            numbers[place] += 1
    effects, ease = [0.0] * count, [0.0] * len(cells)
    for _ in range(_SWEEPS):
        ease = [
            math.fsum(reward - effects[place] for place, reward in row) / len(row) for row in cells
        ]
        sums = [0.0] * count
        for row, easy in zip(cells, ease, strict=True):
            for place, reward in row:
                sums[place] += reward - easy
        found = [total / number for total, number in zip(sums, numbers, strict=True)]
        moved = max(abs(new - old) for new, old in zip(found, effects, strict=True))
        effects = found
        if moved < _STILL:
            break
    left = math.fsum(
        (reward - easy - effects[place]) ** 2
        for row, easy in zip(cells, ease, strict=True)
        for place, reward in row
    )
    freedom = max(0, sum(numbers) - len(cells) - count + 1)
    noise = (left + _USUAL_WEIGHT * _USUAL_NOISE) / (freedom + _USUAL_WEIGHT)
    seen = noise * math.fsum(1 / len(row) for row in cells) / len(cells)
    easy = variance(ease) - seen if len(cells) > 1 else 0.0
    return noise, max(easy, _LEAST_EASE), max(1, freedom)


def _cholesky(matrix: list[list[float]]) -> list[list[float]]:
    """Returns the lower factor of a positive definite matrix, given by its lower half."""
    lower: list[list[float]] = []
    for i, line in enumerate(matrix):
        row: list[float] = []
        for j in range(i):
            other = lower[j]
            row.append((line[j] - sum(map(mul, row, other))) / other[j])
        row.append(math.sqrt(line[i] - sum(map(mul, row, row))))
        lower.append(row)
    return lower


def _forward(lower: list[list[float]], right: Sequence[float]) -> list[float]:
    """Solves a lower triangular system."""
    found: list[float] = []
    for line, value in zip(lower, right, strict=False):
        found.append((value - sum(map(mul, line, found))) / line[-1])
    return found

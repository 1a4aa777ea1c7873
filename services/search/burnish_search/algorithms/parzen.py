"""Optuna's categorical TPE over arrays that are kept between asks: the same draws, at less cost.

Optuna goes through all trials in Python for every draw and evaluates every density to the last bit.
Here trials are arrays, the density of good trials is Optuna's own estimator, built once and drawn
from by the same random numbers in the same order, and the density of bad trials is first estimated
over a table of their weights. Only draws that the estimate cannot tell apart are given to Optuna's
own estimator, so the best of them is the one that Optuna would take.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from burnish.errors import MissingExtra

Choices = tuple[int, ...]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_GOOD_SHARE = 0.1
_MOST_GOOD = 25
_FIRST_CAPACITY = 64
_FLAT = 25  # So many of the latest trials weigh 1, in Optuna's default weights.
_MOST_TABLED = 1 << 14  # Combinations of options up to which their weights fit a table.
# Rounding moves a log density by less than 1e-11; what lies closer than this is settled exactly.
_TIE = 1e-9


def good_count(observation_count: int) -> int:
    """Returns how many of so many trials the sampler takes for good ones: a tenth, at most 25.

    That is Optuna's own rule, which it no longer lets a caller set.
    """
    return min(math.ceil(_GOOD_SHARE * observation_count), _MOST_GOOD)


@dataclass(frozen=True, slots=True)
class _Good:
    """The density of good trials, ready to be drawn from.

    Attributes:
        numbers: Numbers of the trials.
        estimator: Optuna's own.
        weights: Weight of every kernel.
        edges: The kernels' cumulated weights.
        kernels: Probability of every option under every kernel, per parameter.
        cumulated: The same cumulated along the options, per parameter.
    """

    numbers: Sequence[int]
    estimator: Any
    weights: Floats
    edges: Floats
    kernels: Sequence[Floats]
    cumulated: Sequence[Floats]


class ParzenHistory:
    """Trials of a space of categorical parameters, by number, and draws from them.

    A trial is running until it is finished with a value; a failed one is left out.

    Attributes:
        running_count: How many trials are running.
        prior: Probability of a combination when all are alike.
    """

    def __init__(self, sizes: Sequence[int], *, n_candidates: int) -> None:
        """Starts without trials.

        Args:
            sizes: How many options each parameter has, in the order they are drawn.
            n_candidates: Draws that the best is taken from.

        Raises:
            MissingExtra: Optuna is not installed.
        """
        optuna = _import_optuna()
        self._estimator = optuna.samplers._tpe.parzen_estimator._ParzenEstimator
        self._parameters = optuna.samplers.TPESampler(seed=0)._parzen_estimator_parameters
        self._distributions = {
            str(place): optuna.distributions.CategoricalDistribution(range(size))
            for place, size in enumerate(sizes)
        }
        self._sizes = tuple(sizes)
        self.prior = math.prod(1.0 / size for size in sizes)
        self._n_candidates = n_candidates
        self._tabled = 0 < math.prod(sizes) <= _MOST_TABLED
        self._strides = np.array(
            [math.prod(sizes[place + 1 :]) for place in range(len(sizes))] if self._tabled else [],
            dtype=np.int64,
        )
        self._choices: Ints = np.zeros((_FIRST_CAPACITY, len(sizes)), dtype=np.int64)
        self._alive = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)
        self._count = 0
        self._best_first: list[tuple[float, int]] = []
        self.running_count = 0
        self._good: _Good | None = None
        self._bad: Ints | None = None
        self._random = np.random.RandomState(0)
        self._ramp: _Ramp | None = None

    def append(self, choices: Choices) -> int:
        """Adds a running trial and returns its number."""
        number = self._count
        if number == len(self._alive):
            self._choices = np.concatenate([self._choices, np.zeros_like(self._choices)])
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
        self._choices[number] = choices
        self._alive[number] = True
        self._count += 1
        self.running_count += 1
        self._bad = None
        return number

    @property
    def measured_count(self) -> int:
        """How many trials have a value."""
        return len(self._best_first)

    def finish(self, number: int, value: float | None) -> None:
        """Ends a running trial; without a value it has failed."""
        self.running_count -= 1
        self._bad = None
        if value is None:
            self._alive[number] = False
        else:
            insort(self._best_first, (-value, number))

    def draws(self, seed: int, pending: Sequence[Choices]) -> Iterator[Choices]:
        """Draws as a sampler with this seed does, one draw after the other, without an end.

        There is none at all without a choice to be made, or a trial with a value to go by. Trials
        may not be changed in between.

        Args:
            seed: Seed of the sampler.
            pending: Trials that run besides, in order, after all others.
        """
        if not self._sizes or not self._best_first:
            return
        good = self._good_density()
        bad = self._bad_choices()
        ramp = self._ramp_of(bad) if self._tabled else None
        after = np.array(pending, dtype=np.int64).reshape(len(pending), len(self._sizes))
        self._random.seed(seed)
        estimated = _Estimated(self, bad, after, ramp)
        while True:
            yield self._best_of(good, estimated)

    def _best_of(self, good: _Good, estimated: _Estimated) -> Choices:
        drawn = self._samples(good)
        gain = np.log(_density(good, drawn) / estimated.density(drawn))
        best = gain.argmax()
        (close,) = (gain >= gain[best] - _TIE).nonzero()
        if len(close) > 1 and (drawn[close] != drawn[best]).any():
            # A combination that was drawn twice has the same value both times: the first counts.
            alike = drawn[close]
            columns = {name: alike[:, place] for place, name in enumerate(self._distributions)}
            bad = self._exact(estimated.every())
            exact = good.estimator.log_pdf(columns) - bad.log_pdf(columns)
            best = close[exact.argmax()]
        return tuple(drawn[best].tolist())

    def _samples(self, good: _Good) -> Ints:
        """Draws as Optuna does: the kernel of every sample first, then parameter by parameter."""
        uniform = self._random.random_sample((1 + len(self._sizes), self._n_candidates))
        kernel = good.edges.searchsorted(uniform[0], side="right")
        drawn = np.empty((self._n_candidates, len(self._sizes)), dtype=np.int64)
        for place, cumulated in enumerate(good.cumulated):
            passed = cumulated.take(kernel, axis=0) < uniform[place + 1, :, np.newaxis]
            drawn[:, place] = np.add.reduce(passed, axis=-1)
        return drawn

    def _good_density(self) -> _Good:
        numbers = self._good_numbers()
        if self._good is None or self._good.numbers != numbers:
            estimator = self._exact(self._choices[numbers])
            mixture = estimator._mixture_distribution
            edges = mixture.weights.cumsum()
            edges /= edges[-1]
            kernels = [one.weights for one in mixture.distributions]
            cumulated = [np.cumsum(one, axis=-1) for one in kernels]
            for one in cumulated:
                one[:, -1] = 1
            self._good = _Good(numbers, estimator, mixture.weights, edges, kernels, cumulated)
        return self._good

    def _ramp_of(self, bad: Ints) -> _Ramp:
        if self._ramp is None or self._ramp.bad is not bad:
            self._ramp = _Ramp(bad, self._strides, math.prod(self._sizes))
        return self._ramp

    def _bad_choices(self) -> Ints:
        if self._bad is None:
            alive = self._alive[: self._count].copy()
            alive[self._good_numbers()] = False
            self._bad = self._choices[: self._count][alive]
        return self._bad

    def _good_numbers(self) -> list[int]:
        best = self._best_first[: good_count(len(self._best_first))]
        return sorted(number for _, number in best)

    def _exact(self, choices: Ints) -> Any:  # noqa: ANN401 - Optuna's own type
        columns = {name: choices[:, place] for place, name in enumerate(self._distributions)}
        return self._estimator(columns, self._distributions, self._parameters)


class _Ramp:
    """Weights of bad trials over a table of all combinations, ready for trials that come after.

    Optuna's default weights rise in a line from the oldest trial on, and are 1 for the latest. So a
    table of them is made of how many trials of the line chose a combination, and of their places;
    one more trial moves one from the flat end to the line.

    Attributes:
        bad: The trials.
    """

    def __init__(self, bad: Ints, strides: Ints, size: int) -> None:
        self.bad = bad
        self._size = size
        self._strides = strides
        self._codes = bad @ strides
        self._rising = max(len(bad) - _FLAT, 0)
        line = self._codes[: self._rising]
        self._counts = np.bincount(line, minlength=size).astype(np.float64)
        places = np.arange(self._rising, dtype=np.float64)
        self._places = np.bincount(line, weights=places, minlength=size).astype(np.float64)

    def table(self, more: Ints) -> Floats:
        """Returns the weight of every combination, with more trials after the bad ones."""
        codes = self._codes[self._rising :]
        if len(more):
            codes = np.concatenate([codes, more @ self._strides])
        count = self._rising + len(codes)
        if count < _FLAT:
            return np.bincount(codes, minlength=self._size).astype(np.float64)
        rising = count - _FLAT
        counts, places = self._counts, self._places
        if rising > self._rising:
            moved = codes[: rising - self._rising]
            latest = np.arange(self._rising, rising, dtype=np.float64)
            counts = counts + np.bincount(moved, minlength=self._size)
            places = places + np.bincount(moved, weights=latest, minlength=self._size)
        step = (1.0 - 1.0 / count) / (rising - 1) if rising > 1 else 0.0
        flat = np.bincount(codes[rising - self._rising :], minlength=self._size)
        return np.asarray(counts / count + places * step + flat, dtype=np.float64)


class _Estimated:
    """The density of bad trials, up to rounding and a factor that all draws share."""

    def __init__(self, history: ParzenHistory, bad: Ints, after: Ints, ramp: _Ramp | None) -> None:
        """Weighs the bad trials, and those that run besides, after them."""
        self._sizes = history._sizes
        self._bad, self._after = bad, after
        count = len(bad) + len(after)
        self._smoothing = 1.0 / (count + 1)
        # What is divided by here is what Optuna normalises every kernel by.
        self._scale = math.prod([1.0 / (1.0 + size * self._smoothing) for size in self._sizes])
        self._prior = history.prior
        self._strides = history._strides
        self._table: Floats | None = None
        self._weights: Floats = np.zeros(0)
        if ramp is not None:
            self._table = self._smoothed(ramp.table(after))
        else:
            self._bad, self._after = self.every(), after[:0]
            weights = history._parameters.weights(count)
            self._weights = np.asarray(weights, dtype=np.float64)[:count]

    def every(self) -> Ints:
        """Returns all trials that it is of."""
        if not len(self._after):
            return self._bad
        return np.concatenate([self._bad, self._after])

    def density(self, drawn: Ints) -> Floats:
        """Returns the density at every draw."""
        if self._table is not None:
            found = self._table[drawn @ self._strides]
        else:
            product = np.ones((len(self._bad), len(drawn)))
            for place in range(len(self._sizes)):
                same = self._bad[:, place, np.newaxis] == drawn[np.newaxis, :, place]
                product *= same + self._smoothing
            found = self._weights @ product
        return np.asarray(found * self._scale + self._prior)

    def _smoothed(self, weights: Floats) -> Floats:
        table = weights.reshape(self._sizes)
        for axis in range(len(self._sizes)):
            table = table + self._smoothing * np.add.reduce(table, axis=axis, keepdims=True)
        return table.ravel()


def _density(good: _Good, drawn: Ints) -> Floats:
    product = good.kernels[0].take(drawn[:, 0], axis=1)
    for place, kernel in enumerate(good.kernels[1:], start=1):
        product *= kernel.take(drawn[:, place], axis=1)
    return np.asarray(good.weights @ product)


def _import_optuna() -> ModuleType:
    try:
        import optuna
        import optuna.samplers._tpe.parzen_estimator
    except ImportError as error:
        raise MissingExtra(package="optuna", extra="search") from error
    return optuna

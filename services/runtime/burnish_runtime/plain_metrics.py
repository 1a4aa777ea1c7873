"""Metrics for hot paths: plain numbers that a scrape turns into Prometheus samples.

Counting costs a dictionary look-up and an addition; no lock, no label object. A scrape runs in a
thread of its own and reads numbers that grow meanwhile, which is as exact as a scrape can be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

MAX_SERIES = 512
"""Most series of one metric; labels come from policies, and those are not ours to bound."""
OTHER = "other"

Labels = tuple[str, ...]


class Counts:
    """A counter by labels, bounded in how many it keeps apart."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Adds to one series; series beyond the bound are added up under `other`."""
        values = self._values
        known = values.get(labels)
        if known is not None:
            values[labels] = known + amount
            return
        if len(values) >= MAX_SERIES:
            labels = (OTHER,) * len(labels)
            amount += values.get(labels, 0)
        values[labels] = amount

    def items(self) -> list[tuple[Labels, float]]:
        """Returns every series."""
        return list(self._values.items())


class Buckets:
    """A histogram without labels."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Takes the upper bounds of its buckets, rising."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def extend(self, values: Sequence[float]) -> None:
        """Counts many values."""
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def sum(self) -> float:
        """Sum of all values."""
        return self._sum

    def cumulative(self) -> list[tuple[str, float]]:
        """Returns upper bound and count of each bucket, as Prometheus wants them."""
        total = 0
        found = []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), list(self._counts), strict=True):
            total += count
            found.append((bound, float(total)))
        return found


def counter(name: str, text: str, labels: Sequence[str], counts: Counts) -> CounterMetricFamily:
    """Returns a counter as a scrape sees it; `_total` is appended to its name."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, amount in counts.items():
        family.add_metric(values, amount)
    return family


def total(name: str, text: str, amount: float) -> CounterMetricFamily:
    """Returns a counter without labels as a scrape sees it; see `counter`."""
    return CounterMetricFamily(name, text, value=amount)


def gauge(
    name: str, text: str, values: float | Mapping[str, float], *, label: str = ""
) -> GaugeMetricFamily:
    """Returns a gauge as a scrape sees it: one number, or one per value of a label."""
    if isinstance(values, Mapping):
        family = GaugeMetricFamily(name, text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family
    return GaugeMetricFamily(name, text, value=values)


def histogram(
    name: str, text: str, buckets: Mapping[Labels, Buckets], *, labels: Sequence[str] = ()
) -> HistogramMetricFamily:
    """Returns a histogram as a scrape sees it."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, one in list(buckets.items()):
        family.add_metric(values, one.cumulative(), one.sum)
    return family


class _Exposed(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        yield from self._collect()

    def describe(self) -> Iterable[Metric]:
        # Nothing is claimed, so that a service may be started twice in one process.
        return ()


@contextmanager
def exposed(
    collect: Callable[[], Iterable[Metric]], *, registry: CollectorRegistry = REGISTRY
) -> Iterator[None]:
    """Shows metrics to the process's scrapes while the context is open."""
    collector = _Exposed(collect)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)

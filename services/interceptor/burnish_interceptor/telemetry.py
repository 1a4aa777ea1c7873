"""Metrics of the data plane, and the one place that every call that ended is put into.

What calls cost is the controller's to tell, which knows prices and the calls of every role.
No id is ever a label: labels are provider, model, status, mode, and the names of arms, and how many
of them are kept apart is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric

from burnish_interceptor.seen import OFFLINE, ONLINE, SeenCall, Served
from burnish_interceptor.trace_queue import TraceQueue
from burnish_runtime.plain_metrics import (
    MAX_SERIES,
    OTHER,
    Buckets,
    Counts,
    counter,
    exposed,
    gauge,
    histogram,
    total,
)

_OVERHEAD_BOUNDS = (
    25e-6, 50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6,
    1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 100e-3, 1.0,
)  # fmt: skip
# Calls that are told of together, by their number and the bytes of their bodies.
_AT_ONCE = 32
_BYTES_AT_ONCE = 512 * 1024
_SETTLE_SECONDS = 0.1
_LATENCY_BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)


class SpanSink(Protocol):
    """Where spans of calls go."""

    def put(self, call: SeenCall) -> None:
        """Takes a call; never waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What a scrape asks of the running data plane.

    Attributes:
        inflight: Calls in flight.
        revision: Revision of the online policies that are served.
        rejected: Policies whose last change was refused.
        watching: Whether the watch of the online policies is open.
        repeated: Calls sent once more, because a kept connection had closed before it saw them.
        compiled: Whether the way of a call runs compiled.
    """

    inflight: Callable[[], int]
    revision: Callable[[], int]
    rejected: Callable[[], int]
    watching: Callable[[], bool]
    repeated: Callable[[], int]
    compiled: bool = False


class _Series:
    """Sums of the calls that share provider, model, status and mode."""

    __slots__ = ("calls", "read", "written")

    def __init__(self) -> None:
        self.calls = 0
        self.read = 0
        self.written = 0


class ProxyMetrics:
    """Counts of the data plane."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int, str], _Series] = {}
        self._arms: dict[str, int] = {}
        self._overhead = {mode: Buckets(_OVERHEAD_BOUNDS) for mode in (ONLINE, OFFLINE)}
        self._first_byte = Buckets(_LATENCY_BOUNDS)

    def observe(self, calls: Iterable[SeenCall]) -> None:
        """Counts calls that ended; those alike are counted in one go."""
        alike: dict[tuple[Served, int], list[SeenCall]] = {}
        for call in calls:
            alike.setdefault((call.served, call.status), []).append(call)
        for (served, status), group in alike.items():
            mode = served.mode
            key = (served.provider, served.model, status, mode)
            series = self._series.get(key) or self._new(key)
            series.calls += len(group)
            self._overhead[mode].extend([call.overhead for call in group])
            latencies = [call.first_byte_latency for call in group]
            self._first_byte.extend([one for one in latencies if one > 0])
            if mode == ONLINE:
                arms = self._arms
                arm = served.arm if served.arm in arms or len(arms) < MAX_SERIES else OTHER
                arms[arm] = arms.get(arm, 0) + len(group)
            usages = [call.usage for call in group if call.usage is not None]
            series.read += sum([read for read, _ in usages])
            series.written += sum([written for _, written in usages])

    def refused(self, status: int, *, mode: str) -> None:
        """Counts a request that was answered without a provider."""
        key = ("", "", status, mode)
        series = self._series.get(key) or self._new(key)
        series.calls += 1

    def collect(self) -> Iterable[Metric]:
        """Returns everything as a scrape sees it."""
        requests, tokens = Counts(), Counts()
        for (provider, model, status, mode), series in list(self._series.items()):
            requests.add((provider, model, str(status), mode), series.calls)
            if not provider:
                continue
            tokens.add((provider, model, "input", mode), series.read)
            tokens.add((provider, model, "output", mode), series.written)
        yield counter(
            "burnish_proxy_requests",
            "Requests answered; without a provider when none was called.",
            ["provider", "model", "code", "mode"],
            requests,
        )
        yield histogram(
            "burnish_proxy_overhead_seconds",
            "Time that the data plane itself took.",
            {(mode,): buckets for mode, buckets in self._overhead.items()},
            labels=["mode"],
        )
        yield histogram(
            "burnish_proxy_first_byte_seconds",
            "Until the provider's first byte.",
            {(): self._first_byte},
        )
        yield counter(
            "burnish_proxy_tokens",
            "Tokens that providers reported.",
            ["provider", "model", "kind", "mode"],
            tokens,
        )
        arms = Counts()
        for arm, calls in list(self._arms.items()):
            arms.add((arm,), calls)
        yield counter(
            "burnish_policy_requests", "Online calls by arm; empty when passed on.", ["arm"], arms
        )
        yield gauge(
            "burnish_policy_traffic_ratio",
            "Share of the online calls so far, by arm.",
            _ratios(arms),
            label="arm",
        )

    def _new(self, key: tuple[str, str, int, str]) -> _Series:
        if len(self._series) >= MAX_SERIES:
            key = (OTHER, OTHER, 0, key[3])
        return self._series.setdefault(key, _Series())


def _ratios(arms: Counts) -> Mapping[str, float]:
    calls = {labels[0]: amount for labels, amount in arms.items()}
    total = sum(calls.values())
    return {arm: amount / total for arm, amount in calls.items()} if total else {}


class Recorder:
    """Takes every call that ended and tells metrics, traces and spans, of many at a time.

    Together they cost less than one by one, and what is told waits until answers have left.

    Attributes:
        metrics: Counts of the data plane.
        traces: Traces of online calls on their way to the controller.
    """

    def __init__(self, traces: TraceQueue, *, spans: SpanSink | None = None) -> None:
        """Takes its parts; what is put is told no later than that many have come, or by `settle`.

        Args:
            traces: Where traces of online calls wait.
            spans: Where spans go; None makes none.
        """
        self.metrics = ProxyMetrics()
        self.traces = traces
        self._spans = spans
        self._exposed = ExitStack()
        self._fresh: list[SeenCall] = []
        self._fresh_bytes = 0
        self._settler: asyncio.Task[None] | None = None

    def put(self, call: SeenCall) -> None:
        """Takes a call that ended, online or offline; never waits and never fails it.

        The trace of an offline call goes through the call ledger.
        """
        fresh = self._fresh
        fresh.append(call)
        self._fresh_bytes += len(call.app_request) + len(call.reply)
        if len(fresh) >= _AT_ONCE or self._fresh_bytes >= _BYTES_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Tells of all calls that were put."""
        fresh, self._fresh = self._fresh, []
        self._fresh_bytes = 0
        self.metrics.observe(fresh)
        self.traces.extend([call for call in fresh if call.served.mode == ONLINE])
        if self._spans is not None:
            for call in fresh:
                self._spans.put(call)

    def start(self) -> None:
        """Has every call told soon, though no other comes; must be called inside the loop."""
        self.traces.start()
        self._settler = asyncio.create_task(self._settle_often(), name="settle-calls")

    async def drain(self) -> None:
        """Returns once the traces of all calls have been sent; the caller bounds the time."""
        self.settle()
        await self.traces.drain()

    async def stop(self) -> None:
        """Stops telling; see `TraceQueue.stop`."""
        if self._settler is not None:
            self._settler.cancel()
            await asyncio.wait([self._settler])
        self.settle()
        await self.traces.stop()

    async def _settle_often(self) -> None:
        while True:
            await asyncio.sleep(_SETTLE_SECONDS)
            self.settle()

    def expose(self, gauges: Gauges, *, registry: CollectorRegistry = REGISTRY) -> None:
        """Shows everything to the process's scrapes until `close`."""

        def collect() -> Iterable[Metric]:
            self.settle()
            yield from self.metrics.collect()
            yield from self._states(gauges)

        self._exposed.enter_context(exposed(collect, registry=registry))

    def close(self) -> None:
        """Takes the metrics out of the scrapes."""
        self._exposed.close()

    def _states(self, gauges: Gauges) -> Iterable[Metric]:
        yield gauge("burnish_proxy_inflight", "Calls in flight.", gauges.inflight())
        yield gauge(
            "burnish_policy_revision", "Revision of the policies served.", gauges.revision()
        )
        yield gauge(
            "burnish_policy_rejected", "Policies whose last change was refused.", gauges.rejected()
        )
        yield gauge(
            "burnish_proxy_compiled", "Whether the way of a call is compiled.", gauges.compiled
        )
        yield gauge("burnish_policy_watching", "Whether changes arrive.", gauges.watching())
        yield gauge(
            "burnish_trace_queue_bytes", "Bytes of traces that wait.", self.traces.byte_count
        )
        yield total(
            "burnish_proxy_repeats",
            "Calls sent once more: the kept connection closed before a byte came back.",
            gauges.repeated(),
        )
        yield total("burnish_trace_dropped", "Traces lost.", self.traces.dropped_count)

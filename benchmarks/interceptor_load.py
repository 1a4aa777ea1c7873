"""Calls over HTTP at full speed or at a steady rate, for the interceptor's benchmark."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish_interceptor.transport.client import Client, request_head
from burnish_interceptor.transport.origin import Origin, UpstreamFailure


@dataclass(slots=True)
class Measured:
    """What came of a load.

    Attributes:
        calls: Calls that were answered with 200.
        failed: Calls that were not.
        seconds: How long it took.
        latencies: Seconds to the end of each answer, or of its first event.
    """

    calls: int = 0
    failed: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Returns a percentile of the latencies in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent.

    Attributes:
        origin: Where to.
        path: Path of the calls.
        key: Bearer token.
        body: Body of each.
        seconds: For how long.
        at_once: Calls at once, at full speed.
        rate: Calls a second instead, whatever became of those before; 0 is full speed.
    """

    origin: Origin
    path: str
    key: str
    body: bytes
    seconds: float
    at_once: int = 32
    rate: float = 0.0

    @property
    def data(self) -> bytes:
        """One request."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        head = request_head(self.origin, self.path, headers)
        return b"%b%d\r\n\r\n%b" % (head, len(self.body), self.body)


class _Call:
    """One call; at full speed the next one follows it."""

    __slots__ = ("_due", "_first", "_load", "_status", "_stream")

    def __init__(self, load: _Running, due: float) -> None:
        self._load = load
        self._due = due
        self._status = 0
        self._stream = False
        self._first = 0.0

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._stream = headers.get("content-type", "").startswith("text/event-stream")

    def data(self, data: bytes) -> None:
        if self._stream and not self._first and b"data: " in data:
            self._first = time.perf_counter()

    def end(self) -> None:
        self._load.over((self._first or time.perf_counter()) - self._due, good=self._status == 200)

    def failure(self, failure: UpstreamFailure) -> None:
        self._load.over(0.0, good=False)


class _Running:
    def __init__(self, load: Load, client: Client) -> None:
        self.measured = Measured()
        self._load = load
        self._client = client
        self._data = load.data
        self._open = 0
        self._end = 0.0
        self._idle = asyncio.Event()

    async def run(self) -> Measured:
        began = time.perf_counter()
        self._end = began + self._load.seconds
        if self._load.rate:
            await self._steadily(began)
        else:
            for _ in range(self._load.at_once):
                self._send(time.perf_counter())
        while self._open:
            self._idle.clear()
            await self._idle.wait()
        self.measured.seconds = time.perf_counter() - began
        return self.measured

    async def _steadily(self, began: float) -> None:
        for number in range(int(self._load.rate * self._load.seconds)):
            due = began + number / self._load.rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self._send(due)

    def over(self, latency: float, *, good: bool) -> None:
        """Counts a call; at full speed sends the next."""
        self._open -= 1
        if good:
            self.measured.calls += 1
            self.measured.latencies.append(latency)
        else:
            self.measured.failed += 1
        now = time.perf_counter()
        if not self._load.rate and now < self._end:
            self._send(now)
        elif not self._open:
            self._idle.set()

    def _send(self, due: float) -> None:
        self._open += 1
        self._client.send(self._load.origin, self._data, _Call(self, due))


async def run(load: Load) -> Measured:
    """Sends a load and waits for its last answer."""
    client = Client()
    try:
        return await _Running(load, client).run()
    finally:
        client.close()

"""Keeps the traces of online calls until the controller has them, within a bound of bytes.

While the controller is away the queue fills to its bound; what comes then is counted and told with
the next batch that arrives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from burnish.errors import BurnishError, Code, InvalidArgument
from burnish_interceptor.seen import SeenCall
from burnish_interceptor.trace_batch import TraceBatch

_log = structlog.get_logger("burnish.interceptor.traces")
_MEBIBYTE = 1024 * 1024
_BATCH_CALLS = 1024
# Bytes of a batch once it is unpacked.
_BATCH_BYTES = 2 * _MEBIBYTE
# Above this a trace is sent without bodies, so that every batch fits a message.
_LARGEST_BODIES = 2 * _MEBIBYTE
# What a packed trace takes beside its bodies.
_OVERHEAD_BYTES = 512
# A batch costs some 500 us whatever is in it, so calls wait a little for company.
_LINGER_SECONDS = 0.25
_WAIT_SECONDS = (0.1, 2.0)
# Off unless asked for: candidate and version say what was sent, and a hash is dear.
_PROVIDER_REQUESTS = ("off", "hash", "full")
DEFAULT_MAX_BYTES = 24 * _MEBIBYTE


class TraceSettingsInvalid(InvalidArgument):
    """A variable of the trace queue that cannot be used."""

    default_reason = "SETTINGS_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """How traces are kept.

    Attributes:
        max_bytes: Most bytes that wait for the controller.
        provider_request: What is kept of the body that the provider was sent: `off`, its `hash`,
            or `full`.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    provider_request: str = _PROVIDER_REQUESTS[0]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> TraceSettings:
        """Reads BURNISH_TRACE_BUFFER_BYTES and BURNISH_TRACE_PROVIDER_REQUEST.

        Raises:
            TraceSettingsInvalid: With every problem found.
        """
        problems = []
        text = environ.get("BURNISH_TRACE_BUFFER_BYTES", "").strip()
        if text and not (text.isascii() and text.isdigit()):
            problems.append(f"BURNISH_TRACE_BUFFER_BYTES=`{text}` is not a number of bytes")
        kept = environ.get("BURNISH_TRACE_PROVIDER_REQUEST", "").strip() or _PROVIDER_REQUESTS[0]
        if kept not in _PROVIDER_REQUESTS:
            problems.append(
                f"BURNISH_TRACE_PROVIDER_REQUEST=`{kept}` is not one of "
                f"{', '.join(_PROVIDER_REQUESTS)}"
            )
        if problems:
            raise TraceSettingsInvalid("; ".join(problems))
        return cls(max_bytes=int(text) if text else DEFAULT_MAX_BYTES, provider_request=kept)


class TraceSink(Protocol):
    """Where traces go."""

    async def write(self, batch: TraceBatch, *, dropped: int) -> int:
        """Stores a batch; durable on return.

        Args:
            batch: The traces.
            dropped: Traces lost since the last batch that was stored.

        Returns:
            How many of the traces were refused for good.

        Raises:
            BurnishError: Nothing was stored; `InvalidArgument` will never be.
        """


class TraceQueue:
    """Traces on their way to the controller.

    Attributes:
        byte_count: Bytes that wait, packed as they are, a fixed overhead for each trace included.
        dropped_count: Traces lost so far.
        keeps_sent: Whether anything is kept of the bodies that providers were sent.
    """

    def __init__(self, sink: TraceSink, *, settings: TraceSettings | None = None) -> None:
        """Starts empty; nothing is sent before `start`.

        Args:
            sink: Where traces go.
            settings: How traces are kept.
        """
        settings = settings if settings is not None else TraceSettings()
        self._sink = sink
        self._max_bytes = settings.max_bytes
        self._kept = settings.provider_request
        self.keeps_sent = self._kept != _PROVIDER_REQUESTS[0]
        self._full: deque[TraceBatch] = deque()
        self._open = TraceBatch(self._kept)
        self._unpacked_bytes = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._idle = True
        self._flusher: asyncio.Task[None] | None = None
        self._told = 0
        self.byte_count = 0
        self.dropped_count = 0

    def __len__(self) -> int:
        """Returns how many traces wait, those on their way included."""
        return len(self._open) + sum(map(len, self._full))

    def extend(self, calls: Sequence[SeenCall]) -> None:
        """Takes traces, or counts as lost those beyond the bound; never waits.

        They are packed together, so that those of a few dozen calls cost less than one by one.
        """
        count = len(calls)
        size = sum([self._size(call) for call in calls])
        fits = self.byte_count + size <= self._max_bytes
        together = self._unpacked_bytes + size <= _BATCH_BYTES
        if fits and together and len(self._open) + count <= _BATCH_CALLS:
            self._pack(calls, size)
        elif count > 1:
            self.extend(calls[: count // 2])
            self.extend(calls[count // 2 :])
        elif size > _LARGEST_BODIES:
            self.extend([calls[0].without_bodies()])
        elif fits:
            self._seal()
            self._pack(calls, size)
        else:
            self.dropped_count += 1
        if self._idle and count:
            self._idle = False
            self._empty.clear()
            self._wake.set()

    def start(self) -> None:
        """Starts sending; must be called inside the running loop."""
        self._flusher = asyncio.create_task(self._run(), name="send-traces")

    async def drain(self) -> None:
        """Returns once everything put so far has been sent; the caller bounds the time."""
        await self._empty.wait()

    async def stop(self) -> None:
        """Stops sending; what still waits is lost, and said so."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait([self._flusher])
            self._flusher = None
        if len(self):
            _log.warning("traces_lost", count=len(self), reason="stopped")

    def _size(self, call: SeenCall) -> int:
        """Returns the bytes of a trace before it is packed."""
        sent = len(call.provider_request) if self._kept == "full" else 0
        return len(call.app_request) + len(call.reply) + sent + _OVERHEAD_BYTES

    def _pack(self, calls: Sequence[SeenCall], size: int) -> None:
        """Packs calls of so many bytes into the open batch."""
        before = _bytes(self._open)
        self._open.extend(calls)
        self.byte_count += _bytes(self._open) - before
        self._unpacked_bytes += size

    def _seal(self) -> None:
        """Opens another batch behind the one that is open."""
        if len(self._open):
            self._full.append(self._open)
            self._open = TraceBatch(self._kept)
        self._unpacked_bytes = 0

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_LINGER_SECONDS)
            self._seal()
            while self._full or self._told < self.dropped_count:
                await self._send(self._full[0] if self._full else TraceBatch())
            if len(self):
                # What came meanwhile waits for company too: else, under load, there is always a
                # little more, and each little is a batch.
                self._wake.set()
            else:
                self._idle = True
                self._empty.set()

    async def _send(self, batch: TraceBatch) -> None:
        """Sends one batch, for as long as it takes; only then does it leave the queue."""
        wait, longest = _WAIT_SECONDS
        lost = 0
        while True:
            dropped = self.dropped_count
            try:
                refused = await self._sink.write(batch, dropped=dropped - self._told)
            except BurnishError as error:
                if error.code is Code.INVALID_ARGUMENT:
                    _log.error("traces_refused", count=len(batch), error=error.message)
                    lost = len(batch)
                    break
                _log.info("traces_wait", reason=error.reason, count=len(self))
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
                continue
            self._told = dropped
            if refused:
                _log.error("traces_refused", count=refused)
            break
        if self._full and self._full[0] is batch:
            self._full.popleft()
        self.byte_count -= _bytes(batch)
        self.dropped_count += lost


def _bytes(batch: TraceBatch) -> int:
    return batch.body_bytes + len(batch) * _OVERHEAD_BYTES

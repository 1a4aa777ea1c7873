"""One connection to an upstream: one call at a time, parsed on httptools."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools
import structlog

from burnish_interceptor.transport import heads
from burnish_interceptor.transport.call import Call
from burnish_interceptor.transport.origin import BROKE, Origin, Timeouts, UpstreamFailure
from burnish_interceptor.transport.outbox import Outbox

_log = structlog.get_logger("burnish.interceptor.upstream")
MAX_REPLY_BYTES = 12 * 1024 * 1024
# Behind TLS so much may wait where nobody sees it.
_HIDDEN_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_STALE_SECONDS = 0.5
_BODILESS = frozenset({204, 304})


class Pool(Protocol):
    """What a connection needs of its client.

    Attributes:
        timeouts: How long is waited.
    """

    timeouts: Timeouts

    @property
    def outbox(self) -> Outbox:
        """What is written at the end of a turn of the loop."""

    def opened(self, connection: UpstreamConnection) -> None:
        """Takes a connection under the timer."""

    def closed(self, connection: UpstreamConnection) -> None:
        """Forgets a connection."""

    def release(self, connection: UpstreamConnection) -> None:
        """Takes back a connection whose call is over."""

    def repeat(self, call: Call) -> None:
        """Sends a call on a fresh connection, since a used one closed before it saw it."""


class UpstreamConnection(asyncio.Protocol):
    """A connection, used by one call after another.

    Attributes:
        origin: Where it goes.
        opened_at: Loop time of the connect.
        idle_since: Loop time of the end of the last call.
        used: Whether it has carried a call before.
    """

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.origin = origin
        self.used = False
        self._pool = pool
        self._outbox = pool.outbox
        self._loop = asyncio.get_running_loop()
        self.opened_at = self.idle_since = self._loop.time()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._call: Call | None = None
        self._headers: dict[str, str] = {}
        self._failure: UpstreamFailure | None = None
        self._since = self._touched = 0.0
        self._size = self._status = self._turn = 0
        self._pieces: list[bytes] = []
        self._headed = self._complete = self._until_close = False
        self._reusable = self._interim = self._paused = self._answering = False

    @property
    def closed(self) -> bool:
        """Whether no further call can be sent."""
        return self._failure is not None or self._transport is None or self._transport.is_closing()

    @property
    def fresh(self) -> bool:
        """Whether it can carry another call, going by its age and by how long it was idle."""
        now, timeouts = self._loop.time(), self._pool.timeouts
        young = now - self.opened_at < timeouts.age and now - self.idle_since < timeouts.idle
        return young and not self.closed

    def carry(self, call: Call) -> None:
        """Sends a call."""
        self._call = call
        call.line = self
        self._size = 0
        self._headed = self._complete = self._until_close = self._answering = False
        self._since = self._touched = self._loop.time()
        if self._transport is not None:
            self._outbox.put(self._transport, call.data)
            self._turn = self._outbox.flushes
        if call.paused:
            self.pause()

    def abort(self) -> None:
        """Ends the connection."""
        self._fail("UPSTREAM_ABORTED")

    def pause(self) -> None:
        """Stops to read."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._touched = self._loop.time()
            self._transport.resume_reading()

    def check(self, now: float) -> None:
        """Fails the call when it is over a deadline."""
        if self._call is None:
            return
        timeouts = self._pool.timeouts
        quiet = timeouts.read if self._headed else timeouts.head
        late = now - self._since > timeouts.total
        # A client that holds the answer back is the server's to time out.
        if late or (not self._paused and now - self._touched > quiet):
            self._fail("UPSTREAM_TIMEOUT")

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        if self._call is None:
            self._fail(
                "UPSTREAM_PROTOCOL"
            )  # Nobody asked: the next call would take it for its own.
            return
        self._answering = True
        self._touched = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self._broke()
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._complete:
                self._fail("UPSTREAM_PROTOCOL")
                return
            self._reusable = False  # What follows a whole answer is nobody's; the answer is paid.
        pieces = self._pieces
        if pieces:
            self._pieces = []
            call = self._call
            if call is not None and not call.over:
                try:
                    call.sink.data(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                except Exception:
                    self._broke()
                    return
        if self._complete:
            self._finish()
        elif not self._headed:
            self._size += len(data)
            if self._size > _MAX_HEAD_BYTES:
                self._fail("UPSTREAM_PROTOCOL")

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends a body that lasts until the close; anything else has failed."""
        self._pool.closed(self)
        call, self._call = self._call, None
        failure, self._failure = self._failure, self._failure or UpstreamFailure("UPSTREAM_CLOSED")
        if call is None or call.over:
            return
        if failure is None and self._headed and self._until_close and exc is None:
            call.end()
        elif failure is None and self._was_stale():
            self._pool.repeat(call)
        else:
            call.fail(self._failure)

    def _was_stale(self) -> bool:
        """Tells whether the other side closed an idle connection before it saw the call.

        A close that was on its way already is seen at once. One that comes later may be the end of
        a provider that was at work on the call, and that would be paid for twice.
        """
        at_once = self._loop.time() - self._since < _STALE_SECONDS
        return self.used and not self._answering and at_once

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Starts an answer; a second one was not asked for."""
        if self._complete:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header that is read; those behind the body are nobody's."""
        known = heads.told(name)
        if known and not self._headed:
            self._headers[known] = value.decode("latin-1").strip(" \t")

    def on_headers_complete(self) -> None:
        """Takes the head; an interim one is skipped."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, {}
        self._interim = status < 200
        if self._interim:
            return
        self._headed = True
        self._status = status
        self._reusable = self._parser.should_keep_alive()
        framed = "content-length" in headers or heads.chunked(headers.get("transfer-encoding"))
        # The parser would not use a connection again whose close ends the body: both must say so.
        self._until_close = not framed and not self._reusable and status not in _BODILESS
        self._size = 0
        call = self._call
        if call is not None and not call.over:
            call.sink.head(status, headers)

    def on_body(self, data: bytes) -> None:
        """Keeps a piece until all that came with it is parsed."""
        call = self._call
        if call is None or call.over or self._complete:
            return
        self._size += len(data)
        if self._size > MAX_REPLY_BYTES:
            self._fail("UPSTREAM_TOO_LONG")
        else:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Marks the end of the body."""
        if not self._interim:
            self._complete = True

    def _finish(self) -> None:
        """Gives the connection back before the sink is told, so that it can be used at once."""
        call, self._call = self._call, None
        if self._reusable and not self._paused and not self.closed and self._all_sent(call):
            self.used = True
            self.idle_since = self._touched
            self._pool.release(self)
        elif self._transport is not None:
            self._transport.abort()
        if call is not None:
            call.end()

    def _all_sent(self, call: Call | None) -> bool:
        """Tells whether nothing of a call is left that the next one would have to wait behind.

        A provider may answer early, such as a body that is too long for it, and read no further.
        """
        transport = self._transport
        if transport is None or transport.get_write_buffer_size():
            return False
        if self._turn == self._outbox.flushes and self._outbox.holds(transport):
            return False
        if call is None or self._status < 400 or not self.origin.tls:
            return True
        data = call.data
        size = len(data) if isinstance(data, bytes) else sum(map(len, data))
        return size < _HIDDEN_BYTES

    def _broke(self) -> None:
        """Ends a call whose sink broke at what it was told."""
        _log.exception("answer_broke")
        self._fail(BROKE)

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = UpstreamFailure(reason)
        call, self._call = self._call, None
        if self._transport is not None:
            self._transport.abort()
        if call is not None:
            call.fail(self._failure)

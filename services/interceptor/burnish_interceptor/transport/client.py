"""A thin pooled HTTP/1.1 client on httptools: one request, its head, then its body piece by piece.

It never repeats a request, but for one case: a pooled connection that the other side had closed
already, so that not one byte came back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import httptools

from burnish_interceptor.transport.origin import Origin, Timeouts, UpstreamFailure

MAX_REPLY_BYTES = 12 * 1024 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_HIGH_WATER = 256 * 1024


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer whose body is still to be read. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    connection: Connection = field(repr=False)

    def pieces(self) -> AsyncIterator[bytes]:
        """Yields the body as it comes.

        Raises:
            UpstreamFailure: It ended too early, or was too long or too slow.
        """
        return self.connection.pieces()

    async def read(self) -> bytes:
        """Returns the whole body.

        Raises:
            UpstreamFailure: It ended too early, or was too long or too slow.
        """
        return b"".join([piece async for piece in self.pieces()])

    def abort(self) -> None:
        """Ends the connection with the rest of the body unread."""
        self.connection.abort()


class Client:
    """A pool of connections per origin."""

    def __init__(
        self, *, timeouts: Timeouts | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Opens nothing yet.

        Args:
            timeouts: How long to wait.
            tls: Context for TLS; by default certificates are verified against the system's roots.
        """
        self._timeouts = timeouts if timeouts is not None else Timeouts()
        self._tls = tls
        self._idle: dict[Origin, deque[Connection]] = {}

    async def post(
        self, origin: Origin, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Sends one POST.

        Raises:
            UpstreamFailure: No head of an answer came.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: {origin.authority}\r\n{lines}"
        data = f"{head}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
        pooled = self._pooled(origin)
        if pooled is not None:
            try:
                return await pooled.exchange(data)
            except UpstreamFailure as failure:
                if pooled.touched or failure.reason != "UPSTREAM_CLOSED":
                    raise
        connection = await self._connected(origin)
        return await connection.exchange(data)

    def close(self) -> None:
        """Closes the idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    def release(self, connection: Connection) -> None:
        """Takes back a connection whose exchange is over."""
        self._idle.setdefault(connection.origin, deque()).append(connection)

    def _pooled(self, origin: Origin) -> Connection | None:
        now = asyncio.get_running_loop().time()
        pool = self._idle.get(origin)
        if pool is None:
            return None
        while pool and (pool[0].closed or now - pool[0].idle_since > self._timeouts.idle):
            pool.popleft().abort()
        while pool:
            connection = pool.pop()
            if not connection.closed:
                return connection
        return None

    async def _connected(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        context = self._context() if origin.tls else None
        try:
            async with asyncio.timeout(self._timeouts.connect):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, origin, self._timeouts),
                    origin.host,
                    origin.port,
                    ssl=context,
                    server_hostname=origin.host if context is not None else None,
                )
        except ssl.SSLError as error:
            raise UpstreamFailure("UPSTREAM_TLS", not_sent=True) from error
        except (OSError, TimeoutError) as error:
            raise UpstreamFailure("UPSTREAM_UNREACHABLE", not_sent=True) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls


class Connection(asyncio.Protocol):
    """One connection, used by one exchange at a time."""

    def __init__(self, client: Client, origin: Origin, timeouts: Timeouts) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.touched = False
        self._client = client
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._failure: UpstreamFailure | None = None
        self._news = asyncio.Event()
        self._head: tuple[int, dict[str, str]] | None = None
        self._headers: dict[str, str] = {}
        self._queue: deque[bytes] = deque()
        self._complete = self._until_close = self._reusable = self._interim = self._busy = False
        self._reset()

    @property
    def closed(self) -> bool:
        """Whether no further request can be sent."""
        return self._failure is not None or self._transport is None or self._transport.is_closing()

    async def exchange(self, data: bytes) -> Reply:
        """Sends a request and waits for the head of its answer.

        Raises:
            UpstreamFailure: None came.
        """
        self._reset()
        self._busy = True
        self._deadline = self._loop.time() + self._timeouts.total
        if self._transport is None or self.closed:
            raise UpstreamFailure("UPSTREAM_CLOSED", not_sent=True)
        self._transport.write(data)
        await self._wait(self._timeouts.head, lambda: self._head is not None)
        if self._head is None:
            raise self._failure or UpstreamFailure("UPSTREAM_CLOSED")
        status, headers = self._head
        return Reply(status=status, headers=headers, connection=self)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields the body as it comes; see `Reply.pieces`."""
        while True:
            await self._wait(self._timeouts.read, lambda: bool(self._queue) or self._complete)
            if self._queue:
                piece = self._queue.popleft()
                self._queued -= len(piece)
                if self._queued < _HIGH_WATER and self._transport is not None:
                    self._transport.resume_reading()
                yield piece
            elif self._complete:
                self._release()
                return
            else:
                raise self._failure or UpstreamFailure("UPSTREAM_CLOSED")

    def abort(self) -> None:
        """Ends the connection."""
        if self._failure is None:
            self._failure = UpstreamFailure("UPSTREAM_ABORTED")
        if self._transport is not None:
            self._transport.abort()

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        if not self._busy:
            self.abort()
            return
        self.touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("UPSTREAM_PROTOCOL")
        if self._head is None:
            self._size += len(data)
            if self._size > _MAX_HEAD_BYTES:
                self._fail("UPSTREAM_PROTOCOL")
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends a body that lasts until the close; anything else has failed."""
        if self._head is not None and self._until_close and exc is None:
            self._complete = True
        if self._failure is None:
            self._failure = UpstreamFailure("UPSTREAM_CLOSED")
        self._news.set()

    # Callbacks of the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Takes the head; an interim one is skipped."""
        status = self._parser.get_status_code()
        self._interim = status < 200
        if not self._interim:
            self._head = (status, self._headers)
            self._reusable = self._parser.should_keep_alive()
            framed = {"content-length", "transfer-encoding"} & self._headers.keys()
            self._until_close = not framed and status not in (204, 304)
        self._headers = {}
        self._size = 0

    def on_body(self, data: bytes) -> None:
        """Queues a piece."""
        self._size += len(data)
        if self._size > MAX_REPLY_BYTES:
            self._fail("UPSTREAM_TOO_LONG")
            return
        self._queue.append(data)
        self._queued += len(data)
        if self._queued > _HIGH_WATER and self._transport is not None:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Marks the end of the body."""
        if not self._interim:
            self._complete = True

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head = None
        self._headers = {}
        self._queue.clear()
        self._queued = self._size = 0
        self._complete = self._until_close = self._reusable = self._interim = False
        self._busy = self.touched = False
        self._deadline = 0.0

    def _fail(self, reason: str) -> None:
        self._failure = UpstreamFailure(reason)
        if self._transport is not None:
            self._transport.abort()

    def _release(self) -> None:
        self._busy = False
        self.idle_since = self._loop.time()
        if self._reusable and not self.closed:
            self._client.release(self)
        else:
            self.abort()

    async def _wait(self, seconds: float, ready: Callable[[], bool]) -> None:
        """Waits until something is ready or the connection has failed."""
        try:
            left = self._deadline - self._loop.time()
            async with asyncio.timeout(min(seconds, left)):
                while not ready() and self._failure is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._fail("UPSTREAM_TIMEOUT")
        except asyncio.CancelledError:
            self.abort()
            raise

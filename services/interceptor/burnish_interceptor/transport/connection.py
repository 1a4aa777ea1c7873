"""One HTTP/1.1 connection of the data plane: parses on httptools, queues, and answers in turn.

Pipelined requests wait their turn, and both directions push back. What frames a body must be given
once and without contradiction, so that no proxy before us can read another request out of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

from burnish_interceptor.transport.exchange import REASONS, Exchange, Request

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 10 * 1024 * 1024
_MAX_HEADERS = 100
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds after which a connection is ended.

    Attributes:
        head: From the first byte of a request, or from the connect, to the end of its head.
        body_idle: Between two reads of a body.
        body: For a whole body.
        idle: Between two requests.
        write: For a client that does not read.
    """

    head: float = 10.0
    body_idle: float = 30.0
    body: float = 120.0
    idle: float = 75.0
    write: float = 60.0


class Refused(Exception):
    """A request that is answered with an error before it is whole."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Host(Protocol):
    """What a connection needs of its server.

    Attributes:
        limits: When connections are ended.
        draining: Whether connections close after their answer.
    """

    limits: Limits
    draining: bool

    def run(self, request: Request, exchange: Exchange) -> None:
        """Starts to answer a request."""

    def opened(self, connection: Connection) -> None:
        """Takes a connection under the timer."""

    def closed(self, connection: Connection) -> None:
        """Forgets a connection."""


class Connection(asyncio.Protocol):
    """One connection: parses, queues, and writes in turn."""

    def __init__(self, server: Host) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._busy = False
        self._refusal: int | None = None
        self._paused: asyncio.Event | None = None
        self._phase = "head"
        self._begun = 0
        self._half_closed = False
        self._since = self._touched = self._stalled = self._loop.time()
        self._new_request()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock."""
        self._transport = cast(asyncio.Transport, transport)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets whoever writes go on into nothing."""
        self.lost = True
        self._waiting.clear()
        self.resume_writing()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        if self._refusal is not None:
            return
        self._touched = self._loop.time()
        if self._phase == "idle":
            self._phase, self._since = "head", self._touched
        before = self._begun
        try:
            self._parser.feed_data(data)
            # Where in the data a head began is not known; one that began earlier counts whole.
            if self._phase == "head" and self._begun == before:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    raise Refused(431)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, Refused) else 400)
        except Refused as error:
            self._refuse(error.status)
        except httptools.HttpParserError:
            self._refuse(400)

    def eof_received(self) -> bool:
        """Keeps the connection open for the answers that are still due."""
        self._half_closed = True
        return self._busy or bool(self._waiting)

    def pause_writing(self) -> None:
        """Called when the client does not keep up."""
        self._paused = asyncio.Event()
        self._stalled = self._loop.time()

    def resume_writing(self) -> None:
        """Called when it has."""
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Starts a request."""
        self._begun += 1
        self._new_request()
        self._phase, self._since = "head", self._touched

    def on_url(self, url: bytes) -> None:
        """Takes a piece of the target."""
        self._target += url
        if len(self._target) > MAX_HEAD_BYTES:
            raise Refused(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; those that frame the body must come once and alone."""
        key = name.decode("latin-1").lower()
        self._header_count += 1
        self._header_bytes += len(name) + len(value) + 4
        headers = self._request.headers
        if self._header_bytes > MAX_HEAD_BYTES or self._header_count > _MAX_HEADERS:
            raise Refused(431)
        framing = ("content-length", "transfer-encoding", "host")
        if key in headers and key in framing:
            raise Refused(400)
        headers[key] = value.decode("latin-1")
        if "content-length" in headers and "transfer-encoding" in headers:
            raise Refused(400)

    def on_headers_complete(self) -> None:
        """Checks the head before any byte of the body is kept."""
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        request.target = self._target.decode("latin-1")
        if self._parser.should_upgrade():
            return
        request.chunked_reply = self._parser.get_http_version() == "1.1"
        request.keep_alive = request.chunked_reply and self._parser.should_keep_alive()
        length = request.headers.get("content-length", "0")
        coding = request.headers.get("transfer-encoding")
        if coding is not None and coding.strip().lower() != "chunked":
            raise Refused(501)
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refused(415)
        if not (length.isascii() and length.isdigit()):
            raise Refused(400)
        if int(length) > MAX_BODY_BYTES:
            raise Refused(413)
        expectation = request.headers.get("expect")
        if expectation is not None:
            if expectation.strip().lower() != "100-continue":
                raise Refused(417)
            if request.chunked_reply and not self._busy and not self._waiting:
                self.write(_CONTINUE)
        self._phase, self._since = "body", self._touched

    def on_body(self, data: bytes) -> None:
        """Takes a piece of the body."""
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise Refused(413)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Hands the request over, or queues it behind the one that is being answered."""
        if self._parser.should_upgrade():
            return
        self._request.body = b"".join(self._body)
        self._waiting.append(self._request)
        self._new_request()
        self._phase, self._since = "idle", self._touched
        self._next()
        if self._waiting and self._transport is not None:
            self._transport.pause_reading()

    # What exchanges and the server use.

    def write(self, data: bytes) -> None:
        """Writes, unless the client has gone."""
        if not self.lost and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        """Waits while the client does not keep up."""
        while self._paused is not None:
            await self._paused.wait()

    def answered(self, *, keep_alive: bool) -> None:
        """Goes on to the next request, or closes."""
        self._busy = False
        self._since = self._touched = self._loop.time()
        ending = self._server.draining or self._half_closed
        if not keep_alive or (ending and not self._waiting):
            self._close()
            return
        if self._refusal is not None and not self._waiting:
            self._send_refusal()
            return
        self._next()
        if not self._waiting and self._transport is not None and not self.lost:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Breaks the connection."""
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self) -> None:
        """Closes a connection on which nothing is due."""
        if not self._busy and not self._waiting:
            self._close()

    def check(self, now: float) -> None:
        """Ends the connection when it is over a limit."""
        limits = self._server.limits
        if self._paused is not None and now - self._stalled > limits.write:
            self.abort()
        if self._busy or self._waiting:
            return
        age = now - self._since
        if self._phase == "idle":
            if age > limits.idle:
                self._close()
        elif (self._phase == "head" and age > limits.head) or (
            self._phase == "body" and (age > limits.body or now - self._touched > limits.body_idle)
        ):
            self._refuse(408)

    def _new_request(self) -> None:
        self._request = Request()
        self._target = b""
        self._body: list[bytes] = []
        self._size = self._header_count = self._header_bytes = self._head_bytes = 0

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Reads a request that offers another protocol, such as h2c, as if it did not.

        The parser stops behind the head of such a request, so a fresh one is given that head anew.
        """
        request = self._request
        if request.method == "CONNECT":
            self._refuse(405)
            return
        offer = ("upgrade", "connection", "http2-settings")
        lines = [f"{k}: {v}" for k, v in request.headers.items() if k not in offer]
        head = "\r\n".join([f"{request.method} {self._target.decode('latin-1')} HTTP/1.1", *lines])
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(f"{head}\r\n\r\n".encode("latin-1") + rest)

    def _next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            request = self._waiting.popleft()
            self._server.run(request, Exchange(self, request))

    def _refuse(self, status: int) -> None:
        self._refusal = status
        if not self._busy and not self._waiting:
            self._send_refusal()

    def _send_refusal(self) -> None:
        status = self._refusal or 400
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-length: 0\r\nconnection: close"
        self.write(f"{head}\r\n\r\n".encode())
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

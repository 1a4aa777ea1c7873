"""One HTTP/1.1 connection of the data plane: parses on httptools, queues, and answers in turn.

Pipelined requests wait their turn, and both directions push back. What frames a body must be given
once and without contradiction, so that no proxy before us can read another request out of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from burnish_interceptor.transport import heads
from burnish_interceptor.transport.exchange import Exchange, Head, Request
from burnish_interceptor.transport.heads import Refused
from burnish_interceptor.transport.host import Host
from burnish_interceptor.transport.limits import (
    BODY,
    FIRST,
    HEAD,
    IDLE,
    LINGER,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
)
from burnish_interceptor.transport.unsent import unsent

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection: parses, queues, and writes in turn.

    Attributes:
        peer: Address of the client, without its port.
        lost: Whether the client has gone.
    """

    def __init__(self, server: Host) -> None:
        self._server = server
        self._outbox = server.outbox
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._exchange: Exchange | None = None
        self._handing = self._held = self._half_closed = False
        self._refusal: int | None = None
        self._paused: asyncio.Event | None = None
        self._phase = FIRST
        self._template: heads.Template | None = None
        self._begun = self._unsent = 0
        self._since = self._touched = self._written = self._loop.time()
        self._new_request()
        self.peer = ""
        self.lost = False

    @property
    def ending(self) -> bool:
        """Whether the connection closes after the answer that is due."""
        return self._server.draining

    @property
    def paused(self) -> bool:
        """Whether the client does not keep up."""
        return self._paused is not None

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        if not self._server.opened(self):
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets whoever answers know, or go on into nothing."""
        self.lost = True
        self._waiting.clear()
        self._server.closed(self)
        if self._exchange is not None:
            self._exchange.gone()
        self.resume_writing()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._server.over(exchange)

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        if self._refusal is not None:
            return
        self._touched = self._loop.time()
        fresh = self._phase == IDLE or self._phase == FIRST
        if fresh:
            if self._template is not None and self._repeated(data, self._template):
                return
            self._phase, self._since = HEAD, self._touched
        before = self._begun
        try:
            self._parser.feed_data(data)
            # Where in the data a message began is not known; one that began earlier counts whole.
            if self._phase != IDLE and self._begun == before:
                self._raw += len(data)
                if status := heads.too_long(self._raw, body=self._phase != HEAD):
                    raise Refused(status)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except Refused as told:  # By a name of its own: compiled, a name has one type.
            self._refuse(told.status)
        except httptools.HttpParserError as error:
            cause = error.__context__  # Of one of our callbacks, if it was not the parser itself.
            self._refuse(cause.status if isinstance(cause, Refused) else 400)
        if self._waiting:
            if fresh and len(self._waiting) == 1 and self._begun == before + 1:
                self._template = heads.Template.of(data, self._waiting[0])
            self._hand_over()

    def eof_received(self) -> bool:
        """Tells whoever answers; without a hook the answers that are still due are given."""
        self._half_closed = True
        self._outbox.flush()
        if self._refusal is not None and self._exchange is None:
            return False
        if self._exchange is not None:
            self._exchange.gone()
        return self._exchange is not None or bool(self._waiting)

    def pause_writing(self) -> None:
        """Called when the client does not keep up."""
        self._paused = asyncio.Event()
        self._written = self._loop.time()
        if self._exchange is not None and self._exchange.on_pause is not None:
            self._exchange.on_pause()

    def resume_writing(self) -> None:
        """Called when it has; what waited for it is handed over."""
        if self._paused is None:
            return
        self._paused.set()
        self._paused = None
        if self._exchange is None:
            if self._waiting and not self._handing:
                self._hand_over()
        elif self._exchange.on_resume is not None:
            self._exchange.on_resume()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Starts a request."""
        self._begun += 1
        self._new_request()
        self._phase, self._since = HEAD, self._touched

    def on_url(self, url: bytes) -> None:
        """Takes a piece of the target."""
        self._target += url
        if len(self._target) > MAX_HEAD_BYTES:
            raise Refused(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; those that frame the body must come once and alone."""
        self._header_count += 1
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEAD_BYTES or self._header_count > MAX_HEADERS:
            raise Refused(431)
        if self._phase == BODY:
            return  # A trailer: nothing in it is asked for, and it must not change the head.
        key = heads.name(name)
        headers = self._head.headers
        if key in heads.FRAMING and key in headers:
            raise Refused(400)
        headers[key] = value.decode("latin-1").strip(" \t")

    def on_headers_complete(self) -> None:
        """Checks the head before any byte of the body is kept."""
        head, parser = self._head, self._parser
        head.method = parser.get_method().decode("latin-1")
        head.target = self._target.decode("latin-1")
        if parser.should_upgrade():
            return
        version = parser.get_http_version()
        head.chunked_reply = version == "1.1"
        head.keep_alive = version == "1.1" and parser.should_keep_alive()
        if status := heads.refusal(head, version):
            raise Refused(status)
        expects = "expect" in head.headers and version == "1.1"
        if expects and self._exchange is None and not self._waiting:
            self.write(_CONTINUE)
        self._phase, self._since = BODY, self._touched

    def on_body(self, data: bytes) -> None:
        """Takes a piece of the body."""
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise Refused(413)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Queues the request; it is handed over once the parser has done its piece."""
        if self._parser.should_upgrade():
            return
        body = self._body
        whole = body[0] if len(body) == 1 else b"".join(body)
        self._waiting.append(Request(self._head, whole))
        self._phase, self._since = IDLE, self._touched

    # What exchanges and the server use.

    def write(self, data: bytes) -> None:
        """Writes, unless the client has gone."""
        if not self.lost and self._transport is not None:
            if self._paused is None:
                self._written = self._loop.time()
            self._outbox.put(self._transport, data)

    async def drained(self) -> None:
        """Waits while the client does not keep up."""
        self._outbox.flush()
        while self._paused is not None:
            await self._paused.wait()

    def answered(self, *, keep_alive: bool) -> None:
        """Goes on to the next request, or closes."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._server.over(exchange)
        self._since = self._touched = self._loop.time()
        ending = self._half_closed or self._server.draining
        if not keep_alive or (ending and not self._waiting):
            self._waiting.clear()
            self._close()
        elif self._refusal is not None and not self._waiting:
            self._send_refusal()
        elif (self._waiting or self._held) and not self._handing:
            self._hand_over()

    def abort(self) -> None:
        """Breaks the connection."""
        if self._transport is not None:
            self._transport.abort()

    def close_if_idle(self) -> None:
        """Closes a connection on which nothing is due."""
        if self._exchange is None and not self._waiting:
            self._close()

    def check(self, now: float) -> None:
        """Ends the connection when it is over a limit."""
        limits, transport = self._server.limits, self._transport
        if transport is not None and (self._paused is not None or transport.is_closing()):
            # Nothing else is asked of a client that has answers of ours to read.
            self._since = self._touched = now
            before, self._unsent = self._unsent, unsent(transport)
            if self._unsent < before:
                self._written = now
            elif now - self._written > limits.write:
                self.abort()
            return
        exchange = self._exchange
        if exchange is not None:
            if now - self._written > limits.silence:
                exchange.silent()
            return
        if not limits.over(self._phase, now - self._since, now - self._touched):
            return
        if self._phase == IDLE:
            self._close()
        elif self._phase == LINGER:
            self.abort()
        else:
            self._refuse(408)

    def _repeated(self, data: bytes, template: heads.Template) -> bool:
        """Takes a request that repeats the last one's head; False leaves it to the parser."""
        request = template.read(data)
        if request is None:
            return False
        self._since = self._touched
        if self._exchange is None and not self._waiting and self._paused is None:
            self._answer(request)
        else:
            self._waiting.append(request)
            self._hand_over()
        return True

    def _new_request(self) -> None:
        self._head = Head()
        self._target = b""
        self._body: list[bytes] = []
        self._size = self._header_count = self._header_bytes = self._raw = 0

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Reads a request that offers another protocol, such as h2c, as if it did not.

        The parser stops behind the head of such a request, so a fresh one is given that head anew.
        """
        asked = self._head
        if asked.method == "CONNECT":
            self._refuse(405)
            return
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(heads.without_offer(asked, self._target) + rest)

    def _answer(self, request: Request) -> None:
        exchange = self._exchange = Exchange(self, request.head)
        self._server.run(request, exchange)
        if self._half_closed and not exchange.ended:
            exchange.gone()

    def _hand_over(self) -> None:
        """Hands requests over one by one; answers given at once do not grow the stack."""
        self._handing = True
        while self._waiting and self._exchange is None and self._paused is None and not self.lost:
            self._answer(self._waiting.popleft())
        self._handing = False
        if self._transport is None or self.lost:
            return
        if self._waiting and not self._held:
            self._held = True
            self._transport.pause_reading()
        elif self._held and not self._waiting:
            self._held = False
            self._transport.resume_reading()

    def _refuse(self, status: int) -> None:
        self._refusal = status
        if self._exchange is None and not self._waiting:
            self._send_refusal()

    def _send_refusal(self) -> None:
        """Sends an error, then reads on for a while, so that it is not lost in a reset."""
        self.write(heads.refused(self._refusal or 400))
        self._phase, self._since = LINGER, self._loop.time()
        if self._transport is None or self._half_closed or not self._transport.can_write_eof():
            self._close()
        else:
            self._outbox.flush()
            self._transport.write_eof()

    def _close(self) -> None:
        if self._transport is not None:
            self._outbox.flush()
            self._written = self._loop.time()  # From here on counts what it takes of the rest.
            self._transport.close()

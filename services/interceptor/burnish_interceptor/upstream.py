"""Makes one call to a provider and passes the answer on: all but its last byte.

All of it happens in callbacks of the upstream's connection, so that a call in flight costs no task.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType

from burnish_interceptor import ended as ends
from burnish_interceptor.asked import EVENTS, Asked
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.ended import Ended
from burnish_interceptor.providers import Target
from burnish_interceptor.transport.call import Call
from burnish_interceptor.transport.client import Client, request_head
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.transport.origin import Origin, UpstreamFailure
from burnish_interceptor.transport.outbox import Data

LONG = 16 * 1024
"""Bytes of a body from which on it is not copied to leave in one piece with its head."""
_KEEP_ALIVE = b": keep-alive\n\n"
_NONE: Mapping[str, str] = MappingProxyType({})


class Passage(abc.ABC):
    """An answer on its way from a provider to an app.

    Events of a stream go to the app as they come. While the first is late, and once the provider
    has promised a stream, comments keep the app's connection alive; before that promise nothing can
    be sent, because the status is not known.

    Attributes:
        asked: The app's call.
        exchange: Takes the answer.
        sent_at: Seconds of `perf_counter` when the call was sent.
        first_byte: Seconds from there to the first byte of the reply; 0 when there was none.
    """

    __slots__ = (
        "_answer",
        "_call",
        "_headers",
        "_pieces",
        "_status",
        "asked",
        "exchange",
        "first_byte",
        "sent_at",
    )

    def __init__(self, asked: Asked, exchange: Exchange) -> None:
        """Sends nothing yet."""
        self.asked = asked
        self.exchange = exchange
        self.first_byte = 0.0
        self.sent_at = 0.0
        self._call: Call | None = None
        self._status = 0
        self._headers: Mapping[str, str] = _NONE
        self._pieces: list[bytes] = []
        self._answer: AnswerStream | None = None

    @abc.abstractmethod
    def finished(self, ended: Ended) -> None:
        """Takes how the call ended; called once, unless the passage is left before."""

    @property
    def raw(self) -> bytes:
        """The provider's reply so far."""
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def begin(self, client: Client, origin: Origin, data: Data) -> None:
        """Sends the call."""
        self._call = client.send(origin, data, self)
        self.sent_at = self.asked.wait()

    def leave(self) -> None:
        """Ends the call at once, since nobody waits for its answer any more."""
        call, self._call = self._call, None
        if call is not None:
            call.abort()

    # What the client calls.

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head of the reply."""
        self.first_byte = perf_counter() - self.sent_at
        self._status, self._headers = status, headers
        asked = self.asked
        if status == 200 and asked.request.stream and ends.is_events(headers):
            self._answer = asked.request.events(asked.shown)
            exchange, call = self.exchange, self._call
            exchange.on_silence = self._keep_alive
            if call is not None:
                exchange.on_pause, exchange.on_resume = call.pause, call.resume
                if exchange.paused:
                    call.pause()  # It was told so before anybody listened.

    def data(self, data: bytes) -> None:
        """Takes a piece; what an app may see of an event goes out at once."""
        self._pieces.append(data)
        answer = self._answer
        if answer is None:
            return
        asked = self.asked
        since = perf_counter()
        shown = answer.feed(data)
        if shown:
            exchange = self.exchange
            if exchange.started:
                exchange.write(shown)
            else:
                asked.go_on()
                exchange.start(200, asked.lines(EVENTS), shown)
            exchange.on_silence = None
        asked.spent += perf_counter() - since
        if answer.failed:
            self.leave()
            self.end()

    def end(self) -> None:
        """Takes the end of the reply.

        The handle is let go of, as always at the end: it holds us, and in a ring nothing is freed.
        """
        self._call = None
        self.asked.go_on()
        if self._answer is not None:
            self._answer.finish()
            ended = ends.streamed(self._answer, self.raw)
        else:
            ended = ends.whole(self._status, self._headers, self.raw, self.asked)
        self.finished(ended)

    def failure(self, failure: UpstreamFailure) -> None:
        """Takes why there is no whole reply."""
        self._call = None
        self.asked.go_on()
        if self._answer is not None:
            ended = ends.broken_off(failure, self._answer, self.raw)
        else:
            ended = ends.failed(failure, status=self._status)
        self.finished(ended)

    def _keep_alive(self) -> None:
        exchange = self.exchange
        if not exchange.started:
            exchange.start(200, self.asked.lines(EVENTS))
        exchange.write(_KEEP_ALIVE)


class Upstream:
    """Calls providers and waits. Never repeats a call by itself."""

    def __init__(self, client: Client) -> None:
        """Takes a connection pool that is closed elsewhere."""
        self._client = client

    async def call(
        self, target: Target, body: bytes, asked: Asked, exchange: Exchange
    ) -> tuple[Passage, Ended]:
        """Makes the call; events of a stream go to the app at once, its end does not.

        An app that has gone does not end the call: it is paid for, so its answer is kept.
        """
        passage = _Awaited(asked, exchange)
        passage.begin(self._client, target.origin, request(target_head(target), body))
        try:
            return passage, await passage.over
        except asyncio.CancelledError:
            passage.leave()
            raise


class _Awaited(Passage):
    """An answer whose end a task waits for."""

    __slots__ = ("over",)

    def __init__(self, asked: Asked, exchange: Exchange) -> None:
        super().__init__(asked, exchange)
        self.over: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def finished(self, ended: Ended) -> None:
        if not self.over.done():
            self.over.set_result(ended)


def target_head(target: Target) -> bytes:
    """Returns the head of every call to a target, up to the length of its body."""
    return request_head(target.origin, target.path, target.headers)


def request(head: bytes, body: bytes) -> Data:
    """Returns a request's bytes; a long body is not copied for it."""
    if len(body) < LONG:
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)
    return b"%b%d\r\n\r\n" % (head, len(body)), body

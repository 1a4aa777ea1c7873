"""Makes one call to a provider and passes the answer on: all but its last byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from burnish_interceptor import app_error
from burnish_interceptor.app_error import AppError
from burnish_interceptor.calls import Problem, StoredReply
from burnish_interceptor.dialects import AppRequest, Shown
from burnish_interceptor.dialects.allow import NotAnAnswer
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.providers import Target
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.transport.origin import UpstreamFailure
from burnish_interceptor.transport.reply import Reply

JSON = "application/json"
EVENTS = "text/event-stream"
# Refusals that no provider charges for.
_UNPAID = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 503, 529})
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NOT_SENT = "the call did not reach the model provider"
_NO_ANSWER = "the model provider gave no whole answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the app wants its answer.

    Attributes:
        request_id: Ours, told to the app.
        request: The app's call.
        shown: How the answer is shown.
        labels: Headers of the answer, beside those that say what it is.
    """

    request_id: str
    request: AppRequest
    shown: Shown
    labels: Mapping[str, str]

    def headers(self, content_type: str, *, attempts: int = 1) -> dict[str, str]:
        """Returns the headers of an answer.

        Args:
            content_type: What the answer is.
            attempts: How often the provider was called for it.
        """
        headers = {"content-type": content_type, **self.labels}
        headers["x-burnish-attempts"] = str(attempts)
        if content_type == EVENTS:
            headers["cache-control"] = "no-cache"
        return headers


@dataclass(slots=True, kw_only=True)
class Ended:
    """How a call ended, and what the app is still to be given.

    Attributes:
        reply: The provider's reply, when it may be replayed.
        usage: Tokens in and out.
        problem: Why there is no usable answer.
        not_sent: Whether the call is certainly unpaid.
        error: What the app is told; None when the answer is whole.
        body: Rest of the answer: all of it, or the end of its stream.
        first_byte: Monotonic seconds at the first byte of the reply.
        attempts: How often the provider was called.
        answer: The stream that the app was given the beginning of.
    """

    reply: StoredReply | None = None
    usage: tuple[int, int] | None = None
    problem: Problem | None = None
    not_sent: bool = False
    error: AppError | None = None
    body: bytes = field(default=b"", repr=False)
    first_byte: float = 0.0
    attempts: int = 1
    answer: AnswerStream | None = field(default=None, repr=False)

    def deliver(self, exchange: Exchange, asked: Asked) -> None:
        """Gives the app the rest: a whole answer, the end of a stream, or an error."""
        if self.error is None and asked.request.stream:
            if not exchange.started:
                exchange.start(200, asked.headers(EVENTS, attempts=self.attempts))
            exchange.write(self.body)
            exchange.end()
        elif self.error is None:
            exchange.send(200, asked.headers(JSON, attempts=self.attempts), self.body)
        elif exchange.started and self.answer is not None:
            exchange.write(self.answer.error(self.error, asked.request_id))
            exchange.end()
        elif exchange.started:
            exchange.abort()
        else:
            headers = {**asked.headers(JSON, attempts=self.attempts), **self.error.headers}
            exchange.send(self.error.status, headers, self.error.body(asked.request_id))


class Upstream:
    """Calls providers. Never repeats a call by itself."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes a connection pool that is closed elsewhere."""
        self._client = client
        self._clock = clock

    async def call(self, target: Target, body: bytes, asked: Asked, exchange: Exchange) -> Ended:
        """Makes the call; events of a stream go to the app at once, its end does not.

        An app that has gone does not end the call: it is paid for, so its answer is kept.
        """
        try:
            reply = await self._client.post(target.origin, target.path, target.headers, body)
        except UpstreamFailure as failure:
            return _failed(failure, first_byte=self._clock())
        first_byte = self._clock()
        try:
            if reply.status == 200 and asked.request.stream and _is(reply, EVENTS):
                ended = await self._events(reply, asked, exchange)
            else:
                ended = _whole(reply, await reply.read(), asked)
        except UpstreamFailure as failure:
            ended = _failed(failure, first_byte=first_byte)
        ended.first_byte = first_byte
        return ended

    async def _events(self, reply: Reply, asked: Asked, exchange: Exchange) -> Ended:
        answer = asked.request.events(asked.shown)
        kept = []
        try:
            async for piece in reply.pieces():
                kept.append(piece)
                shown = answer.feed(piece)
                if shown:
                    if not exchange.started:
                        exchange.start(200, asked.headers(EVENTS))
                    exchange.write(shown)
                    await exchange.drained()
                if answer.failed:
                    reply.abort()
                    break
        except UpstreamFailure as failure:
            return replace(_failed(failure, first_byte=0.0), answer=answer)
        if not answer.complete:
            reason = "UPSTREAM_ERROR_EVENT" if answer.failed else "UPSTREAM_CLOSED"
            return replace(_failed(UpstreamFailure(reason), first_byte=0.0), answer=answer)
        stored = StoredReply(status=200, content_type=EVENTS, body=b"".join(kept))
        return Ended(reply=stored, usage=answer.usage, body=answer.rest())


def replayed(stored: StoredReply, asked: Asked) -> Ended:
    """Returns a reply that was paid for before as the end of a call."""
    if stored.status != 200 or not stored.content_type.startswith(EVENTS):
        return replace(_stored(stored, asked, headers={}), attempts=0)
    answer = asked.request.events(asked.shown)
    shown = answer.feed(stored.body + b"\n\n")
    if not answer.complete:
        return _failed(UpstreamFailure("REPLAY_BROKEN"), first_byte=0.0)
    return Ended(reply=stored, usage=answer.usage, body=shown + answer.rest(), attempts=0)


def _whole(reply: Reply, body: bytes, asked: Asked) -> Ended:
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return _failed(UpstreamFailure("UPSTREAM_ENCODING"), first_byte=0.0)
    content_type = EVENTS if _is(reply, EVENTS) else JSON
    stored = StoredReply(status=reply.status, content_type=content_type, body=body)
    return _stored(stored, asked, headers=reply.headers)


def _stored(stored: StoredReply, asked: Asked, *, headers: Mapping[str, str]) -> Ended:
    if stored.status != 200:
        return _refused(stored, headers)
    if asked.request.stream:
        return _failed(UpstreamFailure("UPSTREAM_NO_STREAM"), first_byte=0.0)
    try:
        body, usage = asked.request.answer(stored.body, asked.shown)
    except NotAnAnswer:
        return _failed(UpstreamFailure("UPSTREAM_NO_ANSWER"), first_byte=0.0)
    return Ended(reply=stored, usage=usage, body=body)


def _refused(stored: StoredReply, headers: Mapping[str, str]) -> Ended:
    status = stored.status
    retryable = status in _RETRYABLE or status >= 500
    return Ended(
        reply=None if retryable else stored,
        problem=Problem(
            reason=f"PROVIDER_STATUS_{status}",
            message=f"the model provider answered with status {status}",
            retryable=retryable,
        ),
        not_sent=status in _UNPAID,
        error=app_error.from_provider(status, headers, _error_code(stored.body)),
    )


def _failed(failure: UpstreamFailure, *, first_byte: float) -> Ended:
    message = _NOT_SENT if failure.not_sent else _NO_ANSWER
    status, kind = (504, "timeout_error") if "TIMEOUT" in failure.reason else (502, "server_error")
    return Ended(
        problem=Problem(reason=failure.reason, message=message, retryable=True),
        not_sent=failure.not_sent,
        error=AppError(status=status, kind=kind, code=failure.reason.lower(), message=message),
        first_byte=first_byte,
    )


def _error_code(body: bytes) -> str | None:
    try:
        code = orjson.loads(body)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    return code if isinstance(code, str) else None


def _is(reply: Reply, content_type: str) -> bool:
    return reply.headers.get("content-type", "").lower().startswith(content_type)

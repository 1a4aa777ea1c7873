"""How a call to a provider ended, and what that means to the app and to the books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from burnish_interceptor import app_error
from burnish_interceptor.app_error import AppError
from burnish_interceptor.asked import EVENTS, JSON, Asked
from burnish_interceptor.calls import Problem, StoredReply
from burnish_interceptor.dialects.allow import NotAnAnswer
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.transport.exchange import Exchange
from burnish_interceptor.transport.origin import ADDRESS_REFUSED, BROKE, UpstreamFailure

# Refusals that no provider charges for.
_UNPAID = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 503, 529})
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NOT_SENT = "the call did not reach the model provider"
_NO_ANSWER = "the model provider gave no whole answer"
_UNREAD = "the suite failed to read the model provider's answer; see its log"


@dataclass(slots=True, kw_only=True)
class Ended:
    """How a call ended, and what the app is still to be given.

    Attributes:
        status: The provider's; 0 when it gave none.
        raw: The provider's reply as it came.
        events: Whether that is an event stream.
        replayable: Whether the reply may be given again in place of a new call.
        usage: Tokens in and out.
        problem: Why there is no usable answer.
        not_sent: Whether the call is certainly unpaid.
        error: What the app is told; None when the answer is whole.
        body: Rest of the answer: all of it, or the end of its stream.
        attempts: How often the provider was called.
        answer: The stream that the app was given the beginning of.
    """

    status: int = 0
    raw: bytes = field(default=b"", repr=False)
    events: bool = False
    replayable: bool = False
    usage: tuple[int, int] | None = None
    problem: Problem | None = None
    not_sent: bool = False
    error: AppError | None = None
    body: bytes = field(default=b"", repr=False)
    attempts: int = 1
    answer: AnswerStream | None = field(default=None, repr=False)

    @property
    def reply(self) -> StoredReply | None:
        """The reply for the books, when it may be given again."""
        if not self.replayable:
            return None
        content_type = EVENTS if self.events else JSON
        return StoredReply(status=self.status, content_type=content_type, body=self.raw)

    def deliver(self, exchange: Exchange, asked: Asked) -> int:
        """Gives the app the rest: a whole answer, the end of a stream, or an error.

        Returns:
            The status that the app was answered with.
        """
        if self.error is None:
            if not asked.request.stream:
                exchange.send(200, asked.lines(JSON, attempts=self.attempts), self.body)
                return 200
            if not exchange.started:
                exchange.start(200, asked.lines(EVENTS, attempts=self.attempts))
            exchange.end(self.body)
            return 200
        if not exchange.started:
            lines = asked.lines(JSON, attempts=self.attempts, more=self.error.headers)
            exchange.send(self.error.status, lines, self.error.body(asked.request_id))
        elif self.answer is not None:
            exchange.end(self.answer.error(self.error, asked.request_id))
        else:
            exchange.abort()
        return self.error.status


def whole(status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> Ended:
    """Returns the end of a call whose reply came in one piece."""
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.lower() not in ("", "identity"):
        return failed(UpstreamFailure("UPSTREAM_ENCODING"), status=status)
    if status != 200:
        return _refused(status, headers, body, events=is_events(headers))
    if asked.request.stream:
        return failed(UpstreamFailure("UPSTREAM_NO_STREAM"), status=status)
    return _answered(body, asked, events=is_events(headers))


def streamed(answer: AnswerStream, raw: bytes) -> Ended:
    """Returns the end of a call whose reply was a stream that the provider has ended."""
    if answer.complete:
        return Ended(
            status=200,
            raw=raw,
            events=True,
            replayable=True,
            usage=answer.usage,
            body=answer.rest(),
            answer=answer,
        )
    reason = "UPSTREAM_ERROR_EVENT" if answer.failed else "UPSTREAM_CLOSED"
    return broken_off(UpstreamFailure(reason), answer, raw)


def broken_off(failure: UpstreamFailure, answer: AnswerStream, raw: bytes) -> Ended:
    """Returns the end of a call whose stream broke off; behind the answer's end nothing is lost."""
    if answer.complete and failure.reason != BROKE:
        return streamed(answer, raw)
    ended = failed(failure, status=200)
    ended.answer, ended.raw, ended.events = answer, raw, True
    return ended


def replayed(stored: StoredReply, asked: Asked) -> Ended:
    """Returns a reply that was paid for before as the end of a call."""
    if stored.status != 200 or not stored.content_type.startswith(EVENTS):
        headers = {"content-type": stored.content_type}
        ended = whole(stored.status, headers, stored.body, asked)
    else:
        answer = asked.request.events(asked.shown)
        shown = answer.feed(stored.body + b"\n\n")
        if not answer.complete:
            return failed(UpstreamFailure("REPLAY_BROKEN"))
        ended = streamed(answer, stored.body)
        ended.body = shown + ended.body
    ended.attempts = 0
    return ended


def failed(failure: UpstreamFailure, *, status: int = 0) -> Ended:
    """Returns the end of a call that got no whole answer."""
    if failure.reason == BROKE:
        problem = Problem(reason=BROKE, message=_UNREAD, retryable=False)
        return Ended(status=status, problem=problem, error=app_error.broken())
    message = _NOT_SENT if failure.not_sent else _NO_ANSWER
    shown, kind = (504, "timeout_error") if "TIMEOUT" in failure.reason else (502, "server_error")
    # A name that resolves to where nobody may call does so again: nobody is to try again.
    lasting = failure.reason == ADDRESS_REFUSED
    if lasting:
        shown, kind = 424, "invalid_request_error"
    return Ended(
        status=status,
        problem=Problem(reason=failure.reason, message=message, retryable=not lasting),
        not_sent=failure.not_sent,
        error=AppError(status=shown, kind=kind, code=failure.reason.lower(), message=message),
    )


def is_events(headers: Mapping[str, str]) -> bool:
    """Tells whether a reply is an event stream."""
    return headers.get("content-type", "").lower().startswith(EVENTS)


def _answered(body: bytes, asked: Asked, *, events: bool) -> Ended:
    try:
        shown, usage = asked.request.answer(body, asked.shown)
    except NotAnAnswer:
        return failed(UpstreamFailure("UPSTREAM_NO_ANSWER"), status=200)
    return Ended(status=200, raw=body, events=events, replayable=True, usage=usage, body=shown)


def _refused(status: int, headers: Mapping[str, str], body: bytes, *, events: bool) -> Ended:
    code = _error_code(body)
    # Of an account without credit the provider says 429 too, and goes on saying it.
    retryable = (status in _RETRYABLE or status >= 500) and code != "insufficient_quota"
    return Ended(
        status=status,
        raw=body,
        events=events,
        replayable=not retryable,
        problem=Problem(
            reason=f"PROVIDER_STATUS_{status}",
            message=f"the model provider answered with status {status}",
            retryable=retryable,
        ),
        not_sent=status in _UNPAID,
        error=app_error.from_provider(status, headers, code),
    )


def _error_code(body: bytes) -> str | None:
    try:
        code = orjson.loads(body)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        return None
    return code if isinstance(code, str) else None

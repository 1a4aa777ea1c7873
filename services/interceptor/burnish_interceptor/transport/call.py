"""One request to an upstream: the handle that its maker holds, and what the answer is told to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import structlog

from burnish_interceptor.transport.origin import BROKE, Origin, UpstreamFailure
from burnish_interceptor.transport.outbox import Data

_log = structlog.get_logger("burnish.interceptor.upstream")


class Sink(Protocol):
    """Takes an answer: `head`, `data` as it comes, then `end`; or at any point `failure`.

    Nothing is called after `end`, `failure` or `Call.abort`, and nothing before `Client.send` has
    returned.
    """

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head, with those of its headers that are ever read, in lower case."""

    def data(self, data: bytes) -> None:
        """Takes a piece of the body."""

    def end(self) -> None:
        """The answer is whole."""

    def failure(self, failure: UpstreamFailure) -> None:
        """There will be no whole answer."""


class Line(Protocol):
    """What a call needs of the connection that carries it."""

    def abort(self) -> None:
        """Ends the connection."""

    def pause(self) -> None:
        """Stops to read."""

    def resume(self) -> None:
        """Reads on."""


class Call:
    """A request on its way.

    Attributes:
        origin: Where it goes.
        data: Head and body, in one piece or in parts.
        sink: Takes the answer.
        line: Connection that carries it; None while there is none.
        over: Whether the sink is told nothing more.
        paused: Whether the answer is held back.
    """

    __slots__ = ("data", "line", "origin", "over", "paused", "sink")

    def __init__(self, origin: Origin, data: Data, sink: Sink) -> None:
        self.origin = origin
        self.data = data
        self.sink = sink
        self.line: Line | None = None
        self.over = False
        self.paused = False

    def abort(self) -> None:
        """Ends the call; its connection is closed, so that the other side can stop its work."""
        if not self.over:
            self.over = True
            if self.line is not None:
                self.line.abort()

    def pause(self) -> None:
        """Holds the answer back."""
        self.paused = True
        if self.line is not None and not self.over:
            self.line.pause()

    def resume(self) -> None:
        """Lets the answer come."""
        self.paused = False
        if self.line is not None and not self.over:
            self.line.resume()

    def end(self) -> None:
        """Tells the sink that the answer is whole; one that breaks at it is told of that.

        Nobody above a connection's callback would: the app would wait for ever.
        """
        if self.over:
            return
        self.over = True
        try:
            self.sink.end()
        except Exception:
            _log.exception("answer_broke")
            self._fail(UpstreamFailure(BROKE))

    def fail(self, failure: UpstreamFailure) -> None:
        """Tells the sink that there will be no whole answer."""
        if not self.over:
            self.over = True
            self._fail(failure)

    def _fail(self, failure: UpstreamFailure) -> None:
        """Lets nothing through: it would stop the timer of all calls, and end other connections."""
        try:
            self.sink.failure(failure)
        except Exception:
            _log.exception("failure_broke")

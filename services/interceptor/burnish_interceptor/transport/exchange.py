"""One request and its answer on an HTTP/1.1 connection.

Whoever answers may set hooks: `on_gone` when the client has left, `on_pause` and `on_resume` when
it does not keep up and when it has, `on_silence` when nothing was written for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import structlog

_log = structlog.get_logger("burnish.interceptor.server")
REASONS = {status.value: status.phrase for status in HTTPStatus}
Hook = Callable[[], None]


class Head:
    """The head of a request. Requests that repeat it but for the length of their body share it.

    Attributes:
        method: In upper case.
        target: Path and query as they came.
        headers: By lower-case name; `content-length` is that of the first request.
        keep_alive: Whether the connection goes on after the answer.
        chunked_reply: Whether the client reads chunks.
        known: Whatever the handler keeps of what it read here, for the requests that repeat it.
    """

    __slots__ = ("chunked_reply", "headers", "keep_alive", "known", "method", "target")

    def __init__(self) -> None:
        self.method = ""
        self.target = ""
        self.headers: dict[str, str] = {}
        self.keep_alive = True
        self.chunked_reply = True
        self.known: object = None


class Request:
    """A request with its whole body."""

    __slots__ = ("body", "head")

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body


class Wire(Protocol):
    """What an exchange needs of its connection."""

    @property
    def lost(self) -> bool:
        """Whether the client has gone."""

    @property
    def ending(self) -> bool:
        """Whether the connection closes after this answer, whatever the client wishes."""

    @property
    def paused(self) -> bool:
        """Whether the client does not keep up."""

    def write(self, data: bytes) -> None:
        """Writes, unless the client has gone."""

    async def drained(self) -> None:
        """Waits while the client does not keep up."""

    def answered(self, *, keep_alive: bool) -> None:
        """Goes on to the next request, or closes."""

    def abort(self) -> None:
        """Breaks the connection."""


class Exchange:
    """The answer to one request. Writes to a client that has gone are dropped.

    Attributes:
        started: Whether a byte of the answer was written.
        left: Whether the client has closed its side.
        ended: Whether the answer is over, whole or broken off.
        on_gone: Called once when the client closes its side; without it the answer goes on.
        on_pause: Called when more is written than the client takes.
        on_resume: Called when it has caught up.
        on_silence: Called when nothing was written for the seconds of `Limits.silence`.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_keep_alive",
        "ended",
        "left",
        "on_gone",
        "on_pause",
        "on_resume",
        "on_silence",
        "started",
    )

    def __init__(self, connection: Wire, head: Head) -> None:
        self._connection = connection
        self._head = head
        self._keep_alive = head.keep_alive
        self._chunked = False
        self.started = False
        self.ended = False
        self.left = False
        self.on_gone: Hook | None = None
        self.on_pause: Hook | None = None
        self.on_resume: Hook | None = None
        self.on_silence: Hook | None = None

    @property
    def client_gone(self) -> bool:
        """Whether nobody reads the answer any more."""
        return self._connection.lost

    @property
    def paused(self) -> bool:
        """Whether more is written already than the client takes."""
        return self._connection.paused

    def send(self, status: int, headers: Mapping[str, str] | str, body: bytes) -> None:
        """Sends a whole answer.

        Args:
            status: HTTP status.
            headers: By name, or as lines that end in CRLF.
            body: All of it.
        """
        if self.ended:
            return
        head = self._begun(status, headers, f"content-length: {len(body)}\r\n")
        self.started = True
        self._connection.write(head if self._head.method == "HEAD" else head + body)
        self._over()

    def start(self, status: int, headers: Mapping[str, str] | str, data: bytes = b"") -> None:
        """Sends the head of an answer whose length is not known yet.

        Args:
            status: HTTP status.
            headers: See `send`.
            data: First piece of the body, which leaves with the head.
        """
        if self.ended:
            return
        chunked = self._head.chunked_reply
        if not chunked:
            self._keep_alive = False
        head = self._begun(status, headers, "transfer-encoding: chunked\r\n" if chunked else "")
        self.started, self._chunked = True, chunked
        piece = b"%x\r\n%b\r\n" % (len(data), data) if data and chunked else data
        self._connection.write(head + piece)

    def write(self, data: bytes) -> None:
        """Sends a piece of the body at once."""
        if data and not self.ended:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def drained(self) -> None:
        """Waits until the client has taken most of what was written, or has gone."""
        await self._connection.drained()

    def end(self, data: bytes = b"") -> None:
        """Ends the answer; the connection goes on to its next request.

        Args:
            data: Last piece of the body.
        """
        if self.ended:
            return
        if not self._chunked:
            self.write(data)
        elif data:
            self._connection.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        else:
            self._connection.write(b"0\r\n\r\n")
        self._over()

    def abort(self) -> None:
        """Breaks the connection, so that the client cannot take the answer for a whole one."""
        if not self.ended:
            self.ended = True
            self._connection.abort()

    def gone(self) -> None:
        """Tells whoever answers that the client has closed its side."""
        self.left = True
        hook, self.on_gone = self.on_gone, None
        if hook is not None and not self.ended:
            hook()

    def silent(self) -> None:
        """Tells whoever answers that nothing was written for a while.

        One that breaks at it ends its own connection, and not the timer of all of them.
        """
        if self.on_silence is None:
            return
        try:
            self.on_silence()
        except Exception:
            _log.exception("handler_broke")
            self.abort()

    def _over(self) -> None:
        self.ended = True
        self.on_gone = self.on_pause = self.on_resume = self.on_silence = None
        self._connection.answered(keep_alive=self._keep_alive)

    def _begun(self, status: int, headers: Mapping[str, str] | str, framing: str) -> bytes:
        if self._connection.ending:
            self._keep_alive = False
        lines = headers
        if not isinstance(lines, str):
            lines = "".join([f"{name}: {value}\r\n" for name, value in lines.items()])
        close = "" if self._keep_alive else "connection: close\r\n"
        try:
            return f"{_status_line(status)}{lines}{framing}{close}\r\n".encode("latin-1")
        except UnicodeEncodeError:
            # The app would wait for ever: who answers in callbacks has nobody above to tell it.
            self.abort()
            raise


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n"

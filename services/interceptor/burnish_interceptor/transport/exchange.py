"""One request and its answer on an HTTP/1.1 connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True, kw_only=True)
class Request:
    """A request with its whole body. Header names are in lower case."""

    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    chunked_reply: bool = True


class Wire(Protocol):
    """What an exchange needs of its connection."""

    @property
    def lost(self) -> bool:
        """Whether the client has gone."""

    def write(self, data: bytes) -> None:
        """Writes, unless the client has gone."""

    async def drained(self) -> None:
        """Waits while the client does not keep up."""

    def answered(self, *, keep_alive: bool) -> None:
        """Goes on to the next request, or closes."""

    def abort(self) -> None:
        """Breaks the connection."""


class Exchange:
    """The answer to one request. Writes to a client that has gone are dropped."""

    def __init__(self, connection: Wire, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._chunked = False
        self._ended = False
        self.started = False

    @property
    def client_gone(self) -> bool:
        """Whether nobody reads the answer any more."""
        return self._connection.lost

    def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Sends a whole answer."""
        self.started = True
        head = self._head(status, headers, f"content-length: {len(body)}\r\n")
        self._connection.write(head if self._request.method == "HEAD" else head + body)
        self.end()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Sends the head of an answer whose length is not known yet."""
        self.started = True
        self._chunked = self._request.chunked_reply
        if not self._chunked:
            self._request.keep_alive = False
        framing = "transfer-encoding: chunked\r\n" if self._chunked else ""
        self._connection.write(self._head(status, headers, framing))

    def write(self, data: bytes) -> None:
        """Sends a piece of the body at once."""
        if data:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def drained(self) -> None:
        """Waits until the client has taken most of what was written, or has gone."""
        await self._connection.drained()

    def end(self) -> None:
        """Ends the answer; the connection goes on to its next request."""
        if self._ended:
            return
        self._ended = True
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")
        self._connection.answered(keep_alive=self._request.keep_alive)

    def abort(self) -> None:
        """Breaks the connection, so that the client cannot take the answer for a whole one."""
        if not self._ended:
            self._ended = True
            self._connection.abort()

    def _head(self, status: int, headers: Mapping[str, str], framing: str) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        close = "" if self._request.keep_alive else "connection: close\r\n"
        reason = REASONS.get(status, "Unknown")
        return f"HTTP/1.1 {status} {reason}\r\n{lines}{framing}{close}\r\n".encode("latin-1")

"""What is checked in the head of a request before any byte of its body is kept."""

from __future__ import annotations

import re
from functools import lru_cache

from burnish_interceptor.transport.exchange import REASONS, Head, Request
from burnish_interceptor.transport.limits import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_RAW_BYTES

FRAMING = frozenset({"content-length", "transfer-encoding", "host"})
"""Headers that may come once only, because two readers could choose differently."""
_READ = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-type",
        "retry-after",
        "retry-after-ms",
        "transfer-encoding",
        "x-should-retry",
    }
)
_VERSIONS = frozenset({"1.0", "1.1"})
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,8})[ \t]*\r\n", re.IGNORECASE)
_MAX_DIGITS = 8
# By number, as a byte is found in half the time.
_RETURN = ord("\r")


class Refused(Exception):
    """A request that is answered with an error before it is whole."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@lru_cache(maxsize=1024)
def name(raw: bytes) -> str:
    """Returns a header's name in lower case."""
    return raw.decode("latin-1").lower()


@lru_cache(maxsize=1024)
def told(raw: bytes) -> str:
    """Returns the name of an answer's header in lower case; empty when nobody reads it.

    Providers send dozens that are not worth a copy each.
    """
    found = raw.decode("latin-1").lower()
    return found if found in _READ else ""


def chunked(coding: str | None) -> bool:
    """Tells whether a `transfer-encoding` frames a body: its last coding alone can."""
    return coding is not None and coding.rpartition(",")[2].strip(" \t").lower() == "chunked"


def too_long(size: int, *, body: bool) -> int:
    """Returns the status to refuse a request with that is so long on the wire; 0 when it is not.

    Args:
        size: Bytes so far, of what is not whole yet.
        body: Whether it is beyond its head.
    """
    if size <= (MAX_RAW_BYTES if body else MAX_HEAD_BYTES):
        return 0
    return 413 if body else 431


def refused(status: int) -> bytes:
    """Returns the answer to a request that is refused before it is whole."""
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-length: 0\r\nconnection: close"
    return f"{head}\r\n\r\n".encode()


def without_offer(asked: Head, target: bytes) -> bytes:
    """Returns a head as it would be if it did not offer another protocol, such as h2c."""
    offer = ("upgrade", "connection", "http2-settings")
    lines = [f"{k}: {v}" for k, v in asked.headers.items() if k not in offer]
    head = "\r\n".join([f"{asked.method} {target.decode('latin-1')} HTTP/1.1", *lines])
    return f"{head}\r\n\r\n".encode("latin-1")


def refusal(asked: Head, version: str) -> int:
    """Returns the status to refuse a head with; 0 when it is in order."""
    headers = asked.headers
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if version not in _VERSIONS:
        return 505
    if coding is not None:
        if length is not None or version == "1.0":
            return 400
        if coding.strip().lower() != "chunked":
            return 501
    if version == "1.1" and "host" not in headers:
        return 400
    if not asked.target.startswith("/") and asked.target != "*":
        return 400  # Nobody proxies through us: a target that names a host is a trick or a mistake.
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        return 415
    if length is not None:
        if not (length.isascii() and length.isdigit()):
            return 400
        if int(length) > MAX_BODY_BYTES:
            return 413
    if headers.get("expect", "100-continue").strip().lower() != "100-continue":
        return 417
    return 0


class Template:
    """A head that was parsed and found in order, to read its like without parsing.

    A client sends the same head again and again, but for the length of the body. What repeats the
    bytes around that length is the same request with another body: there is nothing to be read in
    it that the parser has not read before.
    """

    __slots__ = ("_after", "_before", "_head")

    def __init__(self, before: bytes, after: bytes, head: Head) -> None:
        self._before = before
        self._after = after
        self._head = head

    @classmethod
    def of(cls, data: bytes, request: Request) -> Template | None:
        """Returns the template of a request, or None when it is not of the usual kind.

        Args:
            data: Exactly the bytes of the request, from the boundary of messages on.
            request: What the parser read in them.
        """
        end = data.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(data, 0, end)
        usual = request.head.keep_alive and "expect" not in request.head.headers
        if length is None or not usual or len(data) - end != len(request.body):
            return None
        return cls(data[: length.start(1)], data[length.end(1) : end], request.head)

    def read(self, data: bytes) -> Request | None:
        """Returns the request when the data is exactly one like the first, else None."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(_RETURN, start, start + _MAX_DIGITS + 1)
        if end < 0 or not data.startswith(after, end):
            return None
        digits = data[start:end]
        body = end + len(after)
        if not digits.isdigit() or int(digits) != len(data) - body:
            return None
        return Request(self._head, data[body:])

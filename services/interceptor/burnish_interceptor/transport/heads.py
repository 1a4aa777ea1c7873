"""What is checked in the head of a request before any byte of its body is kept."""

from __future__ import annotations

from functools import lru_cache

from burnish_interceptor.transport.exchange import Request
from burnish_interceptor.transport.limits import MAX_BODY_BYTES

FRAMING = frozenset({"content-length", "transfer-encoding", "host"})
"""Headers that may come once only, because two readers could choose differently."""
_VERSIONS = frozenset({"1.0", "1.1"})


class Refused(Exception):
    """A request that is answered with an error before it is whole."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@lru_cache(maxsize=1024)
def name(raw: bytes) -> str:
    """Returns a header's name in lower case."""
    return raw.decode("latin-1").lower()


def refusal(request: Request, version: str) -> int:
    """Returns the status to refuse a head with; 0 when it is in order."""
    headers = request.headers
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
    if not request.target.startswith("/") and request.target != "*":
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

"""Where the HTTP client connects to, how long it waits, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BROKE = "ANSWER_BROKE"
"""Reason of an answer that came, and that we failed to read."""
ADDRESS_REFUSED = "UPSTREAM_ADDRESS_REFUSED"
"""Reason of a host that resolves to an address that is never connected to."""


class UpstreamFailure(Exception):
    """The other side gave no whole answer.

    Attributes:
        reason: UPPER_SNAKE_CASE.
        not_sent: Whether it is certain that it never saw the request.
    """

    def __init__(self, reason: str, *, not_sent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_sent = not_sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait, looked at a few times a second.

    Attributes:
        connect: For the connection, name and TLS included.
        head: From the request to the head of the answer.
        read: Between two pieces of the body.
        idle: How long an unused connection is kept.
        total: For the whole exchange.
        age: After which a connection is not used again, so that a name that moved is followed.
    """

    connect: float = 10.0
    head: float = 600.0
    read: float = 120.0
    idle: float = 15.0
    total: float = 1800.0
    age: float = 300.0

    @property
    def tick(self) -> float:
        """Seconds between two looks at the connections."""
        return min(1.0, min(self.head, self.read, self.total) / 4)


class Origin(NamedTuple):
    """Where connections go to."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """Value of the `host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

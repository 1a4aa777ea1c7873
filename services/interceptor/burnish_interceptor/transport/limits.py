"""What one connection, and all of them together, may take of the data plane."""

from __future__ import annotations

from dataclasses import dataclass

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 10 * 1024 * 1024
# A body in chunks of one byte is six times as long on the wire.
MAX_RAW_BYTES = 8 * MAX_BODY_BYTES
MAX_HEADERS = 100

FIRST, HEAD, BODY, IDLE, LINGER = range(5)
"""What a connection is in the middle of, unless it is being answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds after which a connection is ended, and how many connections there may be.

    Attributes:
        first: From the connect to the first byte, a TLS handshake included.
        head: From the first byte of a request to the end of its head.
        body_idle: Between two reads of a body.
        body: For a whole body.
        idle: Between two requests.
        write: For a client that does not read.
        linger: For a client that goes on sending after it was refused.
        silence: After which `Exchange.on_silence` is called.
        connections: At once, in all.
        connections_per_peer: At once from one address.
    """

    first: float = 10.0
    head: float = 10.0
    body_idle: float = 30.0
    body: float = 120.0
    idle: float = 75.0
    write: float = 60.0
    linger: float = 2.0
    silence: float = 15.0
    connections: int = 16_384
    connections_per_peer: int = 4_096

    @property
    def tick(self) -> float:
        """Seconds between two looks at the connections."""
        shortest = min(
            self.first, self.head, self.body_idle, self.idle, self.write, self.silence, self.linger
        )
        return min(1.0, shortest / 4)

    def over(self, phase: int, age: float, quiet: float) -> bool:
        """Tells whether a connection takes too long for what it is in the middle of.

        Args:
            phase: What that is.
            age: Seconds since it began.
            quiet: Seconds since anything came.
        """
        if phase == BODY:
            return age > self.body or quiet > self.body_idle
        return age > {FIRST: self.first, HEAD: self.head, IDLE: self.idle}.get(phase, self.linger)

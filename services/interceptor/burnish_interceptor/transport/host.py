"""What a connection of an app needs of the server that accepted it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from burnish_interceptor.transport.exchange import Exchange, Request
from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.outbox import Outbox

if TYPE_CHECKING:
    from burnish_interceptor.transport.connection import Connection


class Host(Protocol):
    """What a connection needs of its server.

    Attributes:
        limits: When connections are ended.
        draining: Whether connections close after their answer.
        outbox: What is written at the end of a turn of the loop.
    """

    limits: Limits
    draining: bool
    outbox: Outbox

    def run(self, request: Request, exchange: Exchange) -> None:
        """Starts to answer a request."""

    def opened(self, connection: Connection) -> bool:
        """Takes a connection under the timer; False when there are too many already."""

    def closed(self, connection: Connection) -> None:
        """Forgets a connection."""

    def over(self, exchange: Exchange) -> None:
        """Forgets an exchange that has ended, or whose client has gone."""

"""From a host's name to the addresses that may be connected to.

A name is resolved once for a connection, all its addresses are checked, and the connection goes to
one of those that were checked: a name that changes between two looks gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from burnish_interceptor.transport.origin import ADDRESS_REFUSED, UpstreamFailure
from burnish_runtime.egress import refused as refused

Lookup = Callable[[str, int], Awaitable[list[str]]]
_KEPT_SECONDS = 10.0
_MAX_KEPT = 1024


async def lookup(host: str, port: int) -> list[str]:
    """Asks the system's resolver.

    Raises:
        OSError: It knows no address, or this can be nobody's name.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(f"`{host}` is no host name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Addresses:
    """Resolves names, and remembers them for some seconds."""

    def __init__(self, *, lookup: Lookup = lookup, clock: Callable[[], float]) -> None:
        """Starts empty.

        Args:
            lookup: Resolves a host and a port.
            clock: Monotonic seconds.
        """
        self._lookup = lookup
        self._clock = clock
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}

    async def of(self, host: str, port: int) -> list[str]:
        """Returns the addresses to try, in order.

        Raises:
            OSError: The name has none.
            UpstreamFailure: One of them is of a kind that is never connected to.
        """
        known = self._known.get((host, port))
        now = self._clock()
        if known is not None and now - known[0] < _KEPT_SECONDS:
            return known[1]
        found = await self._lookup(host, port)
        if any(map(refused, found)):
            raise UpstreamFailure(ADDRESS_REFUSED, not_sent=True)
        if len(self._known) >= _MAX_KEPT:
            self._known.clear()
        self._known[host, port] = (now, found)
        return found

"""What every namespace of the client is made of: a channel, and how long a call may take."""

from __future__ import annotations

from collections.abc import Callable

import grpc


class Namespace:
    """One group of a client's calls."""

    def __init__(self, channel: Callable[[], grpc.aio.Channel], *, timeout: float) -> None:
        """Prepares the namespace.

        Args:
            channel: Returns the channel to call over.
            timeout: Most seconds for one call.
        """
        self._channel = channel
        self._timeout = timeout

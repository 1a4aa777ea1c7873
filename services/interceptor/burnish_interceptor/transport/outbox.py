"""Writes that wait until all that has arrived is read, and then leave together.

Each write wakes whoever reads at the other end. Written one by one, between reads, they wake it as
many times; written in one go they wake it about once, and both ends handle more at a time.
"""

from __future__ import annotations

import asyncio

_MAX_BYTES = 64 * 1024
Data = bytes | tuple[bytes, ...]


class Outbox:
    """What is to be written at the end of a turn of the loop."""

    __slots__ = ("_loop", "_size", "_waiting")

    def __init__(self) -> None:
        """Starts empty, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[asyncio.Transport, Data]] = []
        self._size = 0

    def put(self, transport: asyncio.Transport, data: Data) -> None:
        """Takes a write, perhaps in parts; those of one transport leave in their order."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append((transport, data))
        self._size += len(data) if isinstance(data, bytes) else sum(map(len, data))
        if self._size > _MAX_BYTES:
            self.flush()  # So that whoever writes more than is taken is told so in time.

    def flush(self) -> None:
        """Writes everything now, as before a transport is closed."""
        waiting, self._waiting = self._waiting, []
        self._size = 0
        for transport, data in waiting:
            if transport.is_closing():
                continue
            if isinstance(data, bytes):
                transport.write(data)
            else:
                transport.writelines(data)

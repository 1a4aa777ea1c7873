"""Writes that wait, under load, until all that has arrived is read, and then leave together.

Each write wakes whoever reads at the other end. Written one by one, between reads, they wake it as
many times; written in one go they wake it about once, and both ends handle more at a time. While
there is little to do nothing would be waited for, so writes that are few leave at once.
"""

from __future__ import annotations

import asyncio

_MAX_BYTES = 64 * 1024
# There is little to do while no more writes come in so many seconds. Long enough to see bursts, as
# of many streams whose events come at once, for what they are.
_FEW = 64
_STRETCH = 0.016
Data = bytes | tuple[bytes | memoryview, ...]


class Outbox:
    """What is to be written at the end of a turn of the loop.

    Attributes:
        flushes: How often what waited was written.
    """

    __slots__ = ("_calm", "_clock", "_count", "_loop", "_since", "_size", "_waiting", "flushes")

    def __init__(self) -> None:
        """Starts empty, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._waiting: list[tuple[asyncio.Transport, Data]] = []
        self._size = self._count = 0
        self._since = 0.0
        self._calm = True
        self.flushes = 0

    def put(self, transport: asyncio.Transport, data: Data) -> None:
        """Takes a write, perhaps in parts; those of one transport leave in their order."""
        waiting = self._waiting
        if not waiting:
            now = self._clock()
            if now - self._since >= _STRETCH:
                self._calm = self._count <= _FEW
                self._since, self._count = now, 0
            if self._calm and self._count < _FEW:
                self._count += 1
                _write(transport, data)
                return
            self._loop.call_soon(self.flush)
        self._size += len(data) if isinstance(data, bytes) else sum(map(len, data))
        if waiting and isinstance(data, bytes) and self._size <= _MAX_BYTES:
            last, before = waiting[-1]
            if last is transport and isinstance(before, bytes):
                # Left apart, each would be a write of its own, and wake whoever reads once more.
                waiting[-1] = (transport, before + data)
                return
        waiting.append((transport, data))
        if self._size > _MAX_BYTES:
            self.flush()  # So that whoever writes more than is taken is told so in time.

    def flush(self) -> None:
        """Writes everything now, as before a transport is closed."""
        waiting, self._waiting = self._waiting, []
        self._size = 0
        self.flushes += 1
        self._count += len(waiting)
        for transport, data in waiting:
            _write(transport, data)

    def holds(self, transport: asyncio.Transport) -> bool:
        """Whether something for a transport waits."""
        return any(to is transport for to, _ in self._waiting)


def _write(transport: asyncio.Transport, data: Data) -> None:
    if transport.is_closing():
        return
    if isinstance(data, bytes):
        transport.write(data)
    else:
        transport.writelines(data)

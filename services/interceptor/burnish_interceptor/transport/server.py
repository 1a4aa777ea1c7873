"""The data plane's HTTP/1.1 listener: a task per request, one coarse timer for all connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from burnish_interceptor.transport.connection import Connection, Limits
from burnish_interceptor.transport.exchange import Exchange, Request

Handler = Callable[[Request, Exchange], Awaitable[None]]


class Server:
    """What the connections of one listener share: the handler, the limits, and the timer."""

    def __init__(self, handler: Handler, *, limits: Limits | None = None) -> None:
        self._handler = handler
        self.limits = limits if limits is not None else Limits()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.draining = False

    @property
    def inflight(self) -> int:
        """Requests that are being answered."""
        return len(self._tasks)

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Starts to accept connections; returns the address."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self), host, port, backlog=4096
        )
        self._tick()
        bound = self._listener.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def run(self, request: Request, exchange: Exchange) -> None:
        """Starts to answer a request. The task outlives its client."""
        task = asyncio.ensure_future(self._handler(request, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Refuses new connections, closes idle ones, and waits for the calls in flight."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._connections):
            connection.close_if_idle()
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Ends everything that is left."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        if self._timer is not None:
            self._timer.cancel()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in tuple(self._connections):
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """Takes a connection under the timer."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forgets a connection."""
        self._connections.discard(connection)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._connections):
            connection.check(now)
        self._timer = loop.call_later(min(1.0, self.limits.head / 4), self._tick)

"""The data plane's HTTP/1.1 listener: callbacks, and one coarse timer for all connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from burnish_interceptor.transport.connection import Connection
from burnish_interceptor.transport.exchange import Exchange, Request
from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.outbox import Outbox
from burnish_interceptor.transport.tls import Certificate

_log = structlog.get_logger("burnish.interceptor.server")
Handler = Callable[[Request, Exchange], Coroutine[Any, Any, None] | None]
_BACKLOG = 4096


class Server:
    """What the connections of one listener share: the handler, the limits, and the timer.

    A handler answers by callbacks and returns None, or returns a coroutine, which then runs as a
    task that outlives its client.

    Attributes:
        limits: When connections are ended.
        draining: Whether connections close after their answer.
        outbox: What is written at the end of a turn of the loop; there once it listens.
    """

    outbox: Outbox

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits | None = None,
        outbox: Callable[[], Outbox] = Outbox,
    ) -> None:
        """Opens nothing yet.

        Args:
            handler: Answers requests.
            limits: When connections are ended.
            outbox: Gives, in the running loop, what writes leave by.
        """
        self._handler = handler
        self._make_outbox = outbox
        self.limits = limits if limits is not None else Limits()
        self.draining = False
        self._connections: set[Connection] = set()
        self._peers: Counter[str] = Counter()
        self._exchanges: set[Exchange] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settled: asyncio.Event | None = None
        self._certificate: Certificate | None = None

    @property
    def inflight(self) -> int:
        """Requests that are being answered, or worked on after their client has gone."""
        return len(self._tasks) + len(self._exchanges)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def listen(
        self,
        host: str,
        port: int,
        *,
        certificate: Certificate | None = None,
        reuse_port: bool = False,
    ) -> tuple[str, int]:
        """Starts to accept connections; returns the address.

        Args:
            host: Address to listen on.
            port: 0 takes a free one.
            certificate: Serves HTTPS with it, and looks now and then whether it has changed.
            reuse_port: Whether other processes may listen on the same port.
        """
        loop = asyncio.get_running_loop()
        self.outbox = self._make_outbox()
        self._certificate = certificate
        self._listener = await loop.create_server(
            lambda: Connection(self),
            host,
            port,
            backlog=_BACKLOG,
            ssl=certificate.context if certificate is not None else None,
            ssl_handshake_timeout=self.limits.first if certificate is not None else None,
            reuse_port=reuse_port or None,
        )
        self._tick()
        bound = self._listener.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def run(self, request: Request, exchange: Exchange) -> None:
        """Starts to answer a request."""
        try:
            work = self._handler(request, exchange)
        except Exception:
            _log.exception("handler_broke")
            exchange.abort()
            return
        if work is not None:
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, exchange))
        elif not exchange.ended:
            self._exchanges.add(exchange)

    def over(self, exchange: Exchange) -> None:
        """Forgets an exchange that has ended, or whose client has gone."""
        self._exchanges.discard(exchange)
        if self._settled is not None:
            self._settle()

    async def drain(self) -> None:
        """Refuses new connections, closes idle ones, and waits for the calls in flight."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._connections):
            connection.close_if_idle()
        while self.inflight:
            self._settled = asyncio.Event()
            await self._settled.wait()

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

    def opened(self, connection: Connection) -> bool:
        """Takes a connection under the timer; False when there are too many already."""
        self._connections.add(connection)
        self._peers[connection.peer] += 1
        return (
            len(self._connections) <= self.limits.connections
            and self._peers[connection.peer] <= self.limits.connections_per_peer
        )

    def closed(self, connection: Connection) -> None:
        """Forgets a connection."""
        self._connections.discard(connection)
        self._peers[connection.peer] -= 1
        if not self._peers[connection.peer]:
            del self._peers[connection.peer]

    def _done(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("handler_broke", exc_info=error)
            exchange.abort()
        if not exchange.ended and not exchange.client_gone:
            self._exchanges.add(exchange)  # The work went on in callbacks.
        self._settle()

    def _settle(self) -> None:
        if self._settled is not None and not self.inflight:
            self._settled.set()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._connections):
            connection.check(now)
        if self._certificate is not None:
            self._certificate.refresh()
        self._timer = loop.call_later(self.limits.tick, self._tick)

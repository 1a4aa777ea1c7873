"""A thin pooled HTTP/1.1 client on httptools: one request, its head, then its body piece by piece.

It never repeats a request, but for one case: a pooled connection that the other side had closed
already, so that not one byte came back. All deadlines of calls are on one coarse timer.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping

import structlog

from burnish_interceptor.transport.addresses import Addresses
from burnish_interceptor.transport.call import Call, Sink
from burnish_interceptor.transport.origin import Origin, Timeouts, UpstreamFailure
from burnish_interceptor.transport.outbox import Data, Outbox
from burnish_interceptor.transport.upstream_connection import UpstreamConnection

_log = structlog.get_logger("burnish.interceptor.upstream")
_MAX_IDLE = 1024


class Client:
    """A pool of connections per origin.

    Attributes:
        timeouts: How long is waited.
        repeated_count: Calls that were sent once more, because a pooled connection had closed.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            timeouts: How long to wait.
            tls: Context for TLS; by default certificates are verified against the system's roots.
            addresses: Resolves names.
        """
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        self._tls = tls
        self._addresses = addresses if addresses is not None else Addresses(clock=time.monotonic)
        self._idle: dict[Origin, list[UpstreamConnection]] = {}
        self._open: set[UpstreamConnection] = set()
        self._connects: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.repeated_count = 0
        self._outbox: Outbox | None = None

    @property
    def outbox(self) -> Outbox:
        """What is written at the end of a turn of the loop."""
        if self._outbox is None:
            self._outbox = Outbox()
        return self._outbox

    def send(self, origin: Origin, data: Data, sink: Sink) -> Call:
        """Sends a request whose answer is told to a sink; returns its handle.

        Args:
            origin: Where it goes.
            data: Head and body, in one piece or in parts.
            sink: Told what comes, once this method has returned.
        """
        call = Call(origin, data, sink)
        connection = self._pooled(origin)
        if connection is not None:
            connection.carry(call)
        else:
            self._send_afresh(call)
        return call

    def close(self) -> None:
        """Ends every connection."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._connects):
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    # What connections call.

    def opened(self, connection: UpstreamConnection) -> None:
        """Takes a connection under the timer."""
        self._open.add(connection)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.timeouts.tick, self._tick)

    def closed(self, connection: UpstreamConnection) -> None:
        """Forgets a connection."""
        self._open.discard(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Takes back a connection whose call is over."""
        idle = self._idle.setdefault(connection.origin, [])
        idle.append(connection)
        if len(idle) > _MAX_IDLE:
            idle.pop(0).abort()

    def repeat(self, call: Call) -> None:
        """Sends a call once more, on a fresh connection."""
        self.repeated_count += 1
        self._send_afresh(call)

    def _send_afresh(self, call: Call) -> None:
        if self._closed:
            # Later, as any other failure: whoever sends does not have its handle yet.
            failure = UpstreamFailure("UPSTREAM_CLOSED", not_sent=True)
            asyncio.get_running_loop().call_soon(call.fail, failure)
            return
        task = asyncio.ensure_future(self._connect(call))
        self._connects.add(task)
        task.add_done_callback(self._connects.discard)

    def _pooled(self, origin: Origin) -> UpstreamConnection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.fresh:
                return connection
            connection.abort()
        return None

    async def _connect(self, call: Call) -> None:
        """Connects and sends a call; tells its sink when that fails."""
        call.line = None
        origin = call.origin
        try:
            async with asyncio.timeout(self.timeouts.connect):
                connection = await self._connected(origin)
        except UpstreamFailure as failure:
            call.fail(failure)
        except ssl.SSLError:
            call.fail(UpstreamFailure("UPSTREAM_TLS", not_sent=True))
        except (OSError, TimeoutError):
            call.fail(UpstreamFailure("UPSTREAM_UNREACHABLE", not_sent=True))
        except asyncio.CancelledError:
            call.fail(UpstreamFailure("UPSTREAM_CLOSED", not_sent=True))
            raise
        except Exception:
            # Nobody looks at this task: the app would wait for ever.
            _log.exception("connect_broke", host=origin.host)
            call.fail(UpstreamFailure("UPSTREAM_UNREACHABLE", not_sent=True))
        else:
            if call.over:
                connection.idle_since = asyncio.get_running_loop().time()
                self.release(connection)
            elif connection.closed:
                call.fail(UpstreamFailure("UPSTREAM_CLOSED", not_sent=True))
            else:
                connection.carry(call)

    async def _connected(self, origin: Origin) -> UpstreamConnection:
        """Connects to the first address that answers, all of them checked before.

        Raises:
            OSError: None answered.
            TimeoutError: None answered in time.
        """
        loop = asyncio.get_running_loop()
        context = self._context() if origin.tls else None
        end = loop.time() + self.timeouts.connect
        addresses = await self._addresses.of(origin.host, origin.port)
        for left in range(len(addresses), 0, -1):
            try:
                async with asyncio.timeout((end - loop.time()) / left):
                    _, connection = await loop.create_connection(
                        lambda: UpstreamConnection(self, origin),
                        addresses[-left],
                        origin.port,
                        ssl=context,
                        server_hostname=origin.host if context is not None else None,
                    )
                return connection
            except ssl.SSLError:
                raise
            except (OSError, TimeoutError):
                if left == 1:
                    raise
        raise OSError(f"`{origin.host}` has no address")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._open):
            connection.check(now)
        for origin, idle in tuple(self._idle.items()):
            kept = [one for one in idle if one.fresh]
            for connection in set(idle) - set(kept):
                connection.abort()
            if kept:
                idle[:] = kept
            else:
                del self._idle[origin]
        self._timer = loop.call_later(self.timeouts.tick, self._tick) if self._open else None


def request_head(origin: Origin, path: str, headers: Mapping[str, str]) -> bytes:
    """Returns the head of a POST up to the value of its `content-length`."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: {origin.authority}\r\n{lines}content-length: "
    return head.encode("latin-1")

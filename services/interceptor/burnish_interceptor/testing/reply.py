"""An answer for those who await it: the head, then the body piece by piece, with push-back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from burnish_interceptor.transport.call import Call
from burnish_interceptor.transport.client import Client, request_head
from burnish_interceptor.transport.origin import Origin, UpstreamFailure

_HIGH_WATER = 256 * 1024


async def post(
    client: Client, origin: Origin, path: str, headers: Mapping[str, str], body: bytes
) -> Reply:
    """Sends one POST and waits for the head of its answer.

    Raises:
        UpstreamFailure: No head of an answer came.
    """
    reply = Reply()
    data = request_head(origin, path, headers) + b"%d\r\n\r\n%b" % (len(body), body)
    return await reply.opened(client.send(origin, data, reply))


class Reply:
    """An answer whose body is still to be read. Header names are in lower case.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
        queued: Bytes that came and were not read yet.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.queued = 0
        self._pieces: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._failure: UpstreamFailure | None = None
        self._headed = self._whole = False
        self._call: Call | None = None

    async def opened(self, call: Call) -> Reply:
        """Waits for the head.

        Raises:
            UpstreamFailure: None came.
        """
        self._call = call
        await self._until_news(lambda: self._headed)
        return self

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields the body as it comes.

        Raises:
            UpstreamFailure: It ended too early, or was too long or too slow.
        """
        while True:
            await self._until_news(lambda: bool(self._pieces) or self._whole)
            if not self._pieces:
                return
            piece = self._pieces.popleft()
            self.queued -= len(piece)
            if self.queued < _HIGH_WATER and self._call is not None and self._call.paused:
                self._call.resume()
            yield piece

    async def read(self) -> bytes:
        """Returns the whole body.

        Raises:
            UpstreamFailure: It ended too early, or was too long or too slow.
        """
        return b"".join([piece async for piece in self.pieces()])

    def abort(self) -> None:
        """Ends the connection with the rest of the body unread."""
        if self._call is not None:
            self._call.abort()

    # What the client calls.

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head."""
        self.status, self.headers, self._headed = status, headers, True
        self._news.set()

    def data(self, data: bytes) -> None:
        """Queues a piece."""
        self._pieces.append(data)
        self.queued += len(data)
        if self.queued > _HIGH_WATER and self._call is not None:
            self._call.pause()
        self._news.set()

    def end(self) -> None:
        """Marks the end of the body."""
        self._whole = True
        self._news.set()

    def failure(self, failure: UpstreamFailure) -> None:
        """Keeps why there is no more."""
        self._failure = failure
        self._news.set()

    async def _until_news(self, ready: Callable[[], bool]) -> None:
        try:
            while not ready():
                if self._failure is not None:
                    raise self._failure
                self._news.clear()
                await self._news.wait()
        except asyncio.CancelledError:
            self.abort()
            raise

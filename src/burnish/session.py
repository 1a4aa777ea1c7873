"""A backend held open by plain code: its client, and the suite when there is none elsewhere.

Everything runs in a loop of its own thread, so that the same session serves plain code and code
inside any event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from burnish.background import BackgroundLoop, close_items, next_item
from burnish.embedded import Backend, BackendChoice, open_backend

T = TypeVar("T")
Work = Callable[[Backend], Coroutine[Any, Any, T]]


class Session:
    """Opens the backend at its first use, and closes it with `close` or with the process."""

    def __init__(self, choice: BackendChoice | None = None) -> None:
        """Prepares a session; nothing is started yet.

        Args:
            choice: Where to run.
        """
        self._choice = choice
        self._lock = threading.Lock()
        self._opening = asyncio.Lock()
        self._loop: BackgroundLoop | None = None
        self._exits = contextlib.AsyncExitStack()
        self._backend: Backend | None = None

    def run(self, work: Work[T]) -> T:
        """Runs work on the backend and returns its result."""
        return self._opened().run(self._guarded(work))

    async def run_async(self, work: Work[T]) -> T:
        """Runs work on the backend from within an event loop, which goes on meanwhile."""
        loop = await asyncio.to_thread(self._opened)
        return await asyncio.wrap_future(loop.submit(self._guarded(work)))

    def iterate(self, items: Callable[[Backend], AsyncIterator[T]]) -> Iterator[T]:
        """Yields what the backend brings; what is done with it happens in the caller's thread."""
        loop = self._opened()
        backend = loop.run(self._ready())
        source = items(backend)
        try:
            while True:
                try:
                    yield loop.run(backend.guard(next_item(source)))
                except StopAsyncIteration:
                    return
        finally:
            loop.run(close_items(source))

    async def iterate_async(self, items: Callable[[Backend], AsyncIterator[T]]) -> AsyncIterator[T]:
        """Yields what the backend brings; what is done with it happens in the caller's loop."""
        loop = await asyncio.to_thread(self._opened)
        backend = await asyncio.wrap_future(loop.submit(self._ready()))
        source = items(backend)
        try:
            while True:
                item = loop.submit(backend.guard(next_item(source)))
                try:
                    yield await asyncio.wrap_future(item)
                except StopAsyncIteration:
                    return
        finally:
            await asyncio.wrap_future(loop.submit(close_items(source)))

    def close(self) -> None:
        """Closes the client, and stops the suite if it was started here."""
        with self._lock:
            loop, self._loop, self._backend = self._loop, None, None
            if loop is None:
                return
            atexit.unregister(self.close)
            try:
                loop.run(self._exits.aclose())
            finally:
                loop.close()

    def _opened(self) -> BackgroundLoop:
        with self._lock:
            if self._loop is None:
                self._loop = BackgroundLoop()
                atexit.register(self.close)
            return self._loop

    async def _ready(self) -> Backend:
        async with self._opening:
            if self._backend is None:
                self._backend = await self._exits.enter_async_context(open_backend(self._choice))
            return self._backend

    async def _guarded(self, work: Work[T]) -> T:
        backend = await self._ready()
        return await backend.guard(work(backend))

"""Every write of the process goes through one place and is committed in groups.

An embedded database takes one writer at a time and pays for every commit; so what arrives while one
commit is under way shares the next. `write` returns only after its commit. The writer is a thread
with a connection of its own: a statement then costs what the driver needs, and no turn of the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

_Result = TypeVar("_Result")
_MAX_GROUP = 256


@dataclass(slots=True)
class _Pending:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]
    result: object = None
    error: Exception | None = None


class Writer:
    """Runs pieces of work, each whole, in the order they were given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Starts committing; must be called inside the running loop."""
        loop = asyncio.get_running_loop()
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._run, args=(loop,), name="store-writer", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Commits what was given and stops."""
        if self._thread is not None:
            self._queue.put(None)
            # Not in the loop's executor, which the durable engine may have shut down by then.
            await self._ended.wait()
            self._thread.join()
            self._thread = None

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Runs one piece of work in a transaction and returns its result once it is durable.

        Args:
            work: Called in the writer's thread with a connection, perhaps twice when a neighbour
                in its group fails. It may raise, and then nothing of it is kept.
        """
        return await self.submit(work)

    def submit(self, work: Callable[[Connection], _Result]) -> asyncio.Future[_Result]:
        """Queues one piece of work at once, before anything that is given later.

        Args:
            work: As for `write`.
        """
        done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._queue.put(_Pending(work, done))
        return done

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._serve(loop)
        finally:
            loop.call_soon_threadsafe(self._ended.set)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        closing = False
        while not closing:
            group = self._next_group()
            closing = group[-1] is None
            given = [pending for pending in group if pending is not None]
            if given:
                self._commit(given)
                loop.call_soon_threadsafe(_settle, given)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next_group(self) -> Sequence[_Pending | None]:
        """Waits for work; returns all there is, up to a limit or to the end."""
        group = [self._queue.get()]
        while group[-1] is not None and len(group) < _MAX_GROUP:
            try:
                group.append(self._queue.get_nowait())
            except Empty:
                break
        return group

    def _commit(self, group: list[_Pending]) -> None:
        try:
            # Kept for life: to take it from the pool each time costs as much as two statements.
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                for pending in group:
                    pending.result = pending.work(self._connection)
        except Exception as error:  # a boundary: the error belongs to whoever gave the work
            if len(group) == 1:
                group[0].error = error
                return
            for pending in group:
                self._commit([pending])


def _settle(group: Sequence[_Pending]) -> None:
    for pending in group:
        if pending.done.cancelled():
            continue
        if pending.error is not None:
            pending.done.set_exception(pending.error)
        else:
            pending.done.set_result(pending.result)

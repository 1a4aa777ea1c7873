"""Every write of the process goes through one place and is committed in groups.

An embedded database takes one writer at a time and pays for every commit; so what arrives while one
commit is under way shares the next. `write` returns only after its commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

_Result = TypeVar("_Result")
_MAX_GROUP = 256


@dataclass(frozen=True, slots=True)
class _Pending:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class Writer:
    """Runs pieces of work, each whole, in the order they were given."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._queue: asyncio.Queue[_Pending] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts committing; must be called inside the running loop."""
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def close(self) -> None:
        """Commits what was given and stops."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def write(self, work: Callable[[Connection], _Result]) -> _Result:
        """Runs one piece of work in a transaction and returns its result once it is durable.

        Args:
            work: Called with a connection, perhaps twice when a neighbour in its group fails. It
                may raise, and then nothing of it is kept.
        """
        done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Pending(work, done))
        return await done

    async def _run(self) -> None:
        while True:
            group = [await self._queue.get()]
            while len(group) < _MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            try:
                await self._commit(group)
            finally:
                for _ in group:
                    self._queue.task_done()

    async def _commit(self, group: list[_Pending]) -> None:
        try:
            async with self._engine.begin() as connection:
                results = await connection.run_sync(
                    lambda sync: [pending.work(sync) for pending in group]
                )
        except Exception as error:  # a boundary: the error belongs to whoever gave the work
            if len(group) == 1:
                _settle(group[0], error=error)
                return
            for pending in group:
                await self._commit([pending])
            return
        for pending, result in zip(group, results, strict=True):
            _settle(pending, result=result)


def _settle(pending: _Pending, *, result: object = None, error: Exception | None = None) -> None:
    if pending.done.cancelled():
        return
    if error is not None:
        pending.done.set_exception(error)
    else:
        pending.done.set_result(result)

"""A backend for whoever has none: one that is configured or running, else a suite of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from burnish.client import AsyncClient
from burnish.connection import find_connection
from burnish.suite import Suite, SuiteOptions

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """Where to run.

    Attributes:
        target: Target of a controller; the environment and a running suite are asked when None.
        token: Bearer token of that controller.
        state_dir: State directory of a running or embedded suite; the environment's when None.
        options: How an embedded suite is started.
    """

    target: str | None = None
    token: str | None = None
    state_dir: Path | None = None
    options: SuiteOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A backend in use.

    Attributes:
        client: Talks to its controller.
        suite: The suite when it was started here; None when it runs elsewhere.
    """

    client: AsyncClient
    suite: Suite | None

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something, and ends it when the embedded suite can no longer run.

        Raises:
            ServiceKeepsDying: A service of the embedded suite died too often.
        """
        if self.suite is None:
            return await work
        task = asyncio.ensure_future(work)
        watch = asyncio.ensure_future(self.suite.wait())
        try:
            await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                watch.result()
            return await task
        finally:
            for one in (task, watch):
                one.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)


@contextlib.asynccontextmanager
async def open_backend(choice: BackendChoice | None = None) -> AsyncIterator[Backend]:
    """Connects to the backend that is configured or runs here, or starts a suite meanwhile.

    Raises:
        SuiteLocked: Another suite begins in the state directory at this moment.
        SuiteStartTimeout: The suite did not start.
    """
    chosen = choice or BackendChoice()
    found = find_connection(chosen.target, chosen.token, directory=chosen.state_dir)
    if found is not None:
        async with AsyncClient(found.target, token=found.token) as client:
            yield Backend(client=client, suite=None)
        return
    async with (
        Suite(chosen.state_dir, options=chosen.options) as suite,
        AsyncClient(suite.target, token=suite.token) as client,
    ):
        yield Backend(client=client, suite=suite)

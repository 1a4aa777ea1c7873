"""A rollout under way between interceptor processes, on the real ledger of a real controller."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.testing.providers import FakeProvider
from burnish_controller.testing import World, small_job
from burnish_controller.testing import world as worlds
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer

SCOPE = "roll-of-calls"
SECONDS = 30.0
PRICE = types_v1.Price(
    input_usd_per_million=10.0, output_usd_per_million=20.0, cached_input_usd_per_million=1.0
)


def body_of(text: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Sort it."}, {"role": "user", "content": text}]
    return {"model": "m", "messages": messages, **more}


class Process:
    """One interceptor, as it is served."""

    def __init__(self, process: Any, address: str) -> None:
        self.process, self.address = process, address

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def interceptor(world: World, folder: Path, number: int) -> Any:
    """Runs `python -m burnish_interceptor` on a port of its own."""
    ready = folder / f"ready-{number}.json"
    environ = {
        **os.environ,
        "BURNISH_AUTH_TOKEN": "test-token",
        "BURNISH_TOKEN_KEY": worlds._KEY,
        "BURNISH_CONTROLLER": world.target,
        "BURNISH_LISTEN": "127.0.0.1:0",
        "BURNISH_HTTP_LISTEN": "127.0.0.1:0",
        "BURNISH_READY_FILE": str(ready),
        "BURNISH_NODE_ID": f"node-{number}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish_interceptor", env=environ,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            while not ready.exists():  # noqa: ASYNC110 - only the file tells
                await asyncio.sleep(0.02)
        yield Process(process, json.loads(ready.read_text())["http"])
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


class Scene:
    """A rollout under way between two interceptors."""

    def __init__(self, world: World, provider: FakeProvider, processes: list[Process]) -> None:
        self.world, self.provider, self.processes = world, provider, processes
        self._session = aiohttp.ClientSession()

    async def call(
        self, number: int, body: dict[str, Any] | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Calls one of the interceptors, as an app of the rollout's first attempt would."""
        now = time.time()
        grant = RolloutGrant(
            rollout_id=SCOPE, attempt=1, policy="job1", candidate_id="",
            expire_time=int(now + 600), issue_time=now,
        )  # fmt: skip
        token = TokenSealer(worlds._KEY).seal(grant)
        url = f"http://{self.processes[number].address}/r/{token}/v1/chat/completions"
        async with self._session.post(
            url, json=body or body_of("where is it"), headers=headers
        ) as reply:
            return reply.status, await reply.read()

    def calls(self) -> list[dict[str, Any]]:
        database = sqlite3.connect(self.world.state_dir / "controller.db")
        database.row_factory = sqlite3.Row
        try:
            query = "SELECT * FROM calls WHERE scope = ? ORDER BY ordinal"
            return [dict(row) for row in database.execute(query, (SCOPE,))]
        finally:
            database.close()

    async def close(self) -> None:
        await self._session.close()


@asynccontextmanager
async def rollout_of(
    folder: Path, provider: FakeProvider, *, budget: job_v1.Budget | None = None
) -> AsyncIterator[Scene]:
    """Runs a controller whose job waits, two interceptors beside it, and opens a rollout."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(folder / "state"))
        world.program.gate.clear()
        spec = small_job(budget=budget)
        spec.policy_model.base_url = provider.base_url("openai_compatible")
        spec.policy_model.max_output_tokens = 50
        spec.policy_model.price.CopyFrom(PRICE)
        await world.create(spec)
        await world.open_scope(SCOPE, job_id="job1")
        processes = [
            await stack.enter_async_context(interceptor(world, folder, number))
            for number in range(2)
        ]
        made = Scene(world, provider, processes)
        stack.push_async_callback(made.close)
        yield made

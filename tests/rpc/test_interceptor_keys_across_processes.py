"""A key of the app's finds the paid call from any interceptor process, on the real ledger."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from burnish.api.types import v1 as types_v1
from burnish.testing.providers import FakeReply, fake_provider
from burnish_controller.testing import World, small_job
from burnish_controller.testing import world as worlds
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer

SCOPE = "roll-of-keys"
SECONDS = 30.0
BODY = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "where is it"},
    ],
}
PRICE = types_v1.Price(
    input_usd_per_million=10.0, output_usd_per_million=20.0, cached_input_usd_per_million=1.0
)
REPLY = FakeReply(
    text="arrival", input_tokens=50, output_tokens=9, cached_input_tokens=40, reasoning_tokens=3
)


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

    def __init__(
        self, world: World, provider: Any, processes: list[Process], replies: list[FakeReply]
    ) -> None:
        self.world, self.provider, self.processes = world, provider, processes
        self.replies = replies
        self._session = aiohttp.ClientSession()

    async def call(self, number: int, **headers: str) -> tuple[int, bytes]:
        """Calls one of the interceptors, as an app of the rollout's first attempt would."""
        now = time.time()
        grant = RolloutGrant(
            rollout_id=SCOPE, attempt=1, policy="job1", candidate_id="",
            expire_time=int(now + 600), issue_time=now,
        )  # fmt: skip
        token = TokenSealer(worlds._KEY).seal(grant)
        url = f"http://{self.processes[number].address}/r/{token}/v1/chat/completions"
        async with self._session.post(url, json=BODY, headers=headers) as reply:
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


@pytest.fixture
async def scene(tmp_path):
    async with AsyncExitStack() as stack:
        replies = [REPLY]
        provider = await stack.enter_async_context(fake_provider(answer=lambda _: replies[-1]))
        world = await stack.enter_async_context(World(tmp_path / "state"))
        world.program.gate.clear()
        spec = small_job()
        spec.policy_model.base_url = provider.base_url("openai_compatible")
        spec.policy_model.max_output_tokens = 50
        spec.policy_model.price.CopyFrom(PRICE)
        await world.create(spec)
        await world.open_scope(SCOPE, job_id="job1")
        processes = [
            await stack.enter_async_context(interceptor(world, tmp_path, number))
            for number in range(2)
        ]
        made = Scene(world, provider, processes, replies)
        yield made
        await made.close()


async def test_a_key_that_lands_on_another_process_finds_the_first_paid_call(scene):
    first = await scene.call(0, **{"idempotency-key": "one"})
    assert first[0] == 200
    assert await scene.call(1, **{"idempotency-key": "one"}) == first
    assert len(scene.provider.heard) == 1
    other = await scene.call(1, **{"idempotency-key": "two"})
    assert other[0] == 200
    assert len(scene.provider.heard) == 2
    assert await scene.call(0, **{"idempotency-key": "two"}) == other
    assert len(scene.provider.heard) == 2
    assert [row["state"] for row in scene.calls()] == ["done", "done"]


async def test_equal_samples_with_keys_are_retried_each_for_itself(scene):
    keys = [f"sample-{number}" for number in range(6)]
    made = await asyncio.gather(
        *(scene.call(number % 2, **{"idempotency-key": key}) for number, key in enumerate(keys))
    )
    assert {status for status, _ in made} == {200}
    again = await asyncio.gather(
        *(
            scene.call((number + 1) % 2, **{"idempotency-key": key, "x-stainless-retry-count": "1"})
            for number, key in enumerate(keys)
        )
    )
    assert again == made
    assert len(scene.provider.heard) == len(scene.calls()) == 6


async def test_a_retry_after_its_process_was_killed_is_a_second_try_and_no_second_call(scene):
    scene.replies.append(FakeReply(text="late", delay=60))
    leaving = asyncio.ensure_future(scene.call(0, **{"idempotency-key": "one"}))
    async with asyncio.timeout(SECONDS):
        while not scene.provider.heard:  # noqa: ASYNC110 - the provider has no event
            await asyncio.sleep(0.01)
    await scene.processes[0].kill()
    await asyncio.gather(leaving, return_exceptions=True)
    scene.replies.append(REPLY)
    status, _ = await scene.call(1, **{"idempotency-key": "one"})
    assert status == 200
    (row,) = scene.calls()
    assert (row["state"], row["lost_calls"]) == ("done", 1)
    assert len(scene.provider.heard) == 2


async def test_neither_the_key_nor_its_ledger_tells_what_the_app_wrote(scene):
    await scene.call(0, **{"idempotency-key": "a-secret-of-the-app"})
    database = (scene.world.state_dir / "controller.db").read_bytes()
    log = scene.world.state_dir / "controller.db-wal"
    stored = database + (log.read_bytes() if log.exists() else b"")
    assert b"a-secret-of-the-app" not in stored


async def test_cached_and_reasoning_tokens_are_booked_at_their_own_price(scene):
    await scene.call(0)
    (row,) = scene.calls()
    assert (row["input_tokens"], row["output_tokens"]) == (50, 9)
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (40, 3)
    assert row["cost_usd"] == pytest.approx((10 * 10.0 + 40 * 1.0 + 9 * 20.0) / 1e6)

"""The search service as a process of its own, killed and started again."""

import asyncio
import json
import os
import signal
import sys

import pytest

from burnish import rpc
from burnish.api.search import v1 as search_v1
from burnish.testing.search_driver import StudyDriver, World

TOKEN = "process-token"
START_SECONDS = 30


class Process:
    """`python -m burnish_search`."""

    def __init__(self, ready_file):
        self._ready_file = ready_file
        self._process: asyncio.subprocess.Process | None = None

    async def start(self):
        """Starts it and returns its target once it serves."""
        environment = {
            **os.environ,
            "BURNISH_READY_FILE": str(self._ready_file),
            "BURNISH_AUTH_TOKEN": TOKEN,
            "BURNISH_LISTEN": "127.0.0.1:0",
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish_search", env=environment
        )
        async with asyncio.timeout(START_SECONDS):
            while not self._ready_file.exists():
                assert self._process.returncode is None
                await asyncio.sleep(0.02)
        return json.loads(self._ready_file.read_text())["grpc"]

    async def stop(self, number):
        """Sends a signal and returns the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = await self._process.wait()
        self._ready_file.unlink(missing_ok=True)
        return code


def driver(channel) -> StudyDriver:
    world = World(instruction_count=4, demo_set_count=4, failure_share=0.05)
    study = search_v1.Study(
        name="studies/killed", algorithm="mipro", random_seed=11, stage_ids=world.stage_ids
    )
    study.settings.update({"batch_size": 6, "num_trials": 15, "max_parallel_trials": 2})
    study.online_pool.seeds.extend(range(40))
    study.validation_pool.seeds.extend(range(40, 52))
    return StudyDriver(channel=channel, world=world, study=study, budget=150)


@pytest.mark.slow
async def test_a_killed_process_is_refilled_and_gives_the_same_work(tmp_path):
    undisturbed = Process(tmp_path / "undisturbed.json")
    async with rpc.connect(await undisturbed.start(), token=TOKEN) as channel:
        whole = driver(channel)
        await whole.create()
        await whole.run()
        ranked = list(await whole.rank())
    assert await undisturbed.stop(signal.SIGTERM) == 0

    process = Process(tmp_path / "killed.json")
    target = await process.start()
    async with rpc.connect(target, token=TOKEN) as channel:
        killed = driver(channel)
        await killed.create()
        await killed.run(most_asks=4)
    for asks in (3, 1000):
        assert await process.stop(signal.SIGKILL) == -signal.SIGKILL
        async with rpc.connect(await process.start(), token=TOKEN) as channel:
            await killed.restore(channel)
            await killed.run(most_asks=asks)
            last = list(await killed.rank())
    assert await process.stop(signal.SIGTERM) == 0
    assert killed.works == whole.works
    assert last == ranked

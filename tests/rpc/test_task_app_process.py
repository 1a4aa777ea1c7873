"""A task app as a process: it says when it is ready, and ends in order when it is told to."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import InvalidArgument
from burnish.task_app import TaskApp, serve
from burnish.task_app.conformance import check_app
from burnish.task_app.probe import ProbeModel
from burnish_controller.task_apps import ModelChoice, RunRequest, connect

PROGRAM = """
import sys
from burnish.task_app import Result, TaskApp, serve

app = TaskApp(id="process", rows=["yes", "no"])

@app.rollout
async def run(task):
    reply = await task.chat([{"role": "user", "content": "?"}])
    return Result(reward=float(reply.text == task.row))

serve(app, port=0, grpc_port=0, ready_file=sys.argv[1])
"""
SECONDS = 60.0


@asynccontextmanager
async def started(
    folder: Path, program: str = PROGRAM
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    ready = folder / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "ready.json", cwd=folder
    )
    try:
        async with asyncio.timeout(SECONDS):
            # A file can only be looked for; nothing tells when it appears.
            while not ready.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield process, json.loads(ready.read_text())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def request(model: ProbeModel) -> RunRequest:
    return RunRequest(
        rollout_id="roll_1",
        seed=0,
        inference_url=f"{model.base_url}/r/t/v1",
        model=ModelChoice(model="m"),
    )


async def test_a_rollout_in_flight_is_finished_after_sigterm_and_the_exit_code_is_0(tmp_path):
    model = ProbeModel(text="yes", latency_seconds=0.5)
    await model.start()
    try:
        async with started(tmp_path) as (process, ready):
            assert ready["pid"] == process.pid
            clients = [connect(ready["http"]), connect(ready["grpc"])]
            for client in clients:
                await client.check()
            running = [asyncio.create_task(client.run(request(model))) for client in clients]
            async with asyncio.timeout(SECONDS):
                while len(model.calls) < 2:  # noqa: ASYNC110 - the probe keeps a list, no event
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            results = await asyncio.gather(*running)
            async with asyncio.timeout(SECONDS):
                code = await process.wait()
            for client in clients:
                await client.close()
    finally:
        await model.stop()
    assert [result.environment_reward for result in results] == [1.0, 1.0]
    assert code == 0


async def test_a_killed_app_is_a_failure_to_retry_and_never_a_reward_of_0(tmp_path):
    model = ProbeModel(text="yes", latency_seconds=30)
    await model.start()
    try:
        async with started(tmp_path) as (process, ready):
            clients = [connect(ready["http"]), connect(ready["grpc"])]
            for client in clients:
                await client.check()
            running = [asyncio.create_task(client.run(request(model))) for client in clients]
            async with asyncio.timeout(SECONDS):
                while len(model.calls) < 2:  # noqa: ASYNC110 - the probe keeps a list, no event
                    await asyncio.sleep(0.01)
            process.kill()
            results = await asyncio.gather(*running)
            for client in clients:
                await client.close()
    finally:
        await model.stop()
    failures = [result.failure for result in results if result.failure is not None]
    assert [result.environment_reward for result in results] == [None, None]
    assert [(told.reason, told.retryable) for told in failures] == [
        ("TASK_APP_UNREACHABLE", True)
    ] * 2


def test_an_app_that_is_to_listen_nowhere_is_refused():
    with pytest.raises(InvalidArgument, match="grpc_port"):
        serve(TaskApp(id="a", seed_count=1), port=None)


def _documented_program() -> str:
    page = Path(__file__).parents[2] / "docs" / "task-apps.md"
    return page.read_text().partition("```python\n")[2].partition("```")[0]


async def test_the_app_in_the_docs_passes_the_conformance_checks(tmp_path):
    program = _documented_program()
    assert program.count("\n") <= 40
    rows = "\n".join(f"message {n},{'yes' if n % 2 else 'no'}" for n in range(500))
    (tmp_path / "intents.csv").write_text(f"text,label\n{rows}\n")
    moved = program.replace("port=8101", "port=0, ready_file='ready.json'")
    assert moved != program
    async with started(tmp_path, moved) as (_, ready):
        results = await check_app(ready["http"])
    failed = [result for result in results if not result.passed]
    assert failed == []
    assert {result.name for result in results if result.state == "skipped"} == {"key", "program"}

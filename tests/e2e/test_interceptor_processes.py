"""Several interceptor processes on one port: ready together, started again, drained together."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from burnish import rpc
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import InterceptorServiceStub
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, TOKEN_KEY, Script, completion, events

COUNT = 2
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": BASELINE},
        {"role": "user", "content": "Query: where is my card"},
    ],
}
OURS = {"authorization": "Bearer suite-token"}


class Running:
    """The parent process and what it serves."""

    def __init__(self, process: Any, told: dict[str, Any], log: Path, provider: Any) -> None:
        self.process = process
        self.url = f"http://{told['http']}/p/live/v1/chat/completions"
        self.grpc = str(told["grpc"])
        self.log = log
        self.provider = provider

    def children(self) -> list[int]:
        pid = self.process.pid
        return [
            int(child)
            for thread in Path(f"/proc/{pid}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]

    async def ask(self, **more: Any) -> tuple[int, bytes]:
        """Asks on a connection of its own, so that the kernel chooses a process."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(self.url, json=BODY | more, headers=OURS) as response,
        ):
            return response.status, await response.read()


@asynccontextmanager
async def deployed(tmp_path: Path, answer: Any) -> Any:
    async with testing.controller() as controller, testing.provider(answer) as provider:
        controller.policies["policies/live"] = policy_v1.Policy(
            name="policies/live",
            version=1,
            job="jobs/1",
            stages=[testing.stage_policy()],
            candidates=[policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)],
        )
        controller.candidates[CANDIDATE] = testing.prompts("Name it.")
        ready, log = tmp_path / "ready.json", tmp_path / "log"
        environ = {
            **os.environ,
            "BURNISH_AUTH_TOKEN": "suite-token",
            "BURNISH_TOKEN_KEY": TOKEN_KEY,
            "BURNISH_CONTROLLER": controller.target,
            "BURNISH_OPENAI_API_KEY": "sk-provider",
            "BURNISH_OPENAI_BASE_URL": provider.base_url,
            "BURNISH_HTTP_PROCESSES": str(COUNT),
            "BURNISH_READY_FILE": str(ready),
            "BURNISH_DRAIN_SECONDS": "10",
        }
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "burnish_interceptor", env=environ, stderr=out
            )
        try:
            await until(ready.exists)
            yield Running(process, json.loads(ready.read_text()), log, provider)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), 30)


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - polls whatever a test asks for
            await asyncio.sleep(0.05)


def plain(request: Any) -> Script:
    return Script(body=completion())


async def test_every_process_serves_from_the_moment_of_readiness(tmp_path):
    async with deployed(tmp_path, plain) as running:
        replies = await asyncio.gather(*(running.ask() for _ in range(40)))
        assert {status for status, _ in replies} == {200}
        assert len(running.children()) == COUNT
        channel = rpc.connect(running.grpc, token="suite-token")
        status = await InterceptorServiceStub(channel).GetInterceptor(
            interceptor_v1.GetInterceptorRequest(), timeout=10
        )
        await channel.close()
        assert status.inflight_call_count == 0
        assert status.public_url.endswith(running.url.split("/")[2])


async def test_a_process_that_dies_is_started_again_and_the_others_serve_meanwhile(tmp_path):
    async with deployed(tmp_path, plain) as running:
        first = set(running.children())
        os.kill(min(first), signal.SIGKILL)
        await until(lambda: min(first) not in running.children())
        await until(lambda: "replica_started" in running.log.read_text())
        assert len(set(running.children()) - first) == 1
        replies = await asyncio.gather(*(running.ask() for _ in range(20)))
        assert {status for status, _ in replies} == {200}


async def test_sigterm_ends_all_processes_and_breaks_no_stream(tmp_path):
    gate = asyncio.Event()

    def stream(request: Any) -> Script:
        return Script(body=events(), content_type="text/event-stream", cut=200, gate=gate)

    async with deployed(tmp_path, stream) as running:
        calls = [asyncio.ensure_future(running.ask(stream=True)) for _ in range(6)]
        await until(lambda: len(running.provider.requests) == 6)
        children = running.children()
        running.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        gate.set()
        for status, body in await asyncio.gather(*calls):
            assert status == 200
            assert body.rstrip().endswith(b"data: [DONE]")
        assert await asyncio.wait_for(running.process.wait(), 30) == 0
        assert not any(alive(child) for child in children)


async def test_when_the_parent_is_killed_its_processes_end_too(tmp_path):
    async with deployed(tmp_path, plain) as running:
        children = running.children()
        running.process.kill()
        await running.process.wait()
        await until(lambda: not any(alive(child) for child in children))


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False

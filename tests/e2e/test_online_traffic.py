"""Online traffic over real processes: served without the controller, nothing lost or leaked."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager

import aiohttp
import pytest

from burnish.client import AsyncClient
from burnish.errors import BurnishError, NotFound
from burnish_interceptor import testing
from burnish_interceptor.testing import Script, completion

TOKEN = "suite-token-of-a-test"
KEY = "a token key that is long enough for the cipher"
CANARY = "Weigh verbs over nouns; let the walrus decide."
BODY = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "where is my card"},
    ],
}
STAGE = {
    "template": {
        "stage_id": "sort",
        "messages": [
            {"role": "system", "pattern": "Sort it."},
            {"role": "user", "pattern": "{query}"},
        ],
    },
    "model": {"provider": "openai", "model": "gpt-x"},
}


def spec(text=CANARY, *, weight=1.0, provider="openai"):
    stage = {**STAGE, "model": {"provider": provider, "model": "gpt-x"}}
    return {
        "stages": [stage],
        "arms": [
            {"arm": "baseline", "weight": 1.0},
            {"arm": "winner", "weight": weight, "prompts": {"sort": {"instruction": text}}},
        ],
    }


class Service:
    """One service as a process, started again at the same addresses."""

    def __init__(self, name, directory, **environ):
        self.name = name
        self._ready = directory / f"{name}.json"
        self._log = directory / f"{name}.log"
        self._environ = {
            **os.environ,
            "BURNISH_AUTH_TOKEN": TOKEN,
            "BURNISH_TOKEN_KEY": KEY,
            "BURNISH_NODE_ID": f"{name}-0",
            "BURNISH_READY_FILE": str(self._ready),
            "BURNISH_STATE_DIR": str(directory / name),
            "BURNISH_METRICS_LISTEN": "127.0.0.1:0",
            **environ,
        }
        self._process = None
        self.grpc = self.http = self.metrics = ""

    @property
    def log(self):
        return self._log.read_text()

    async def start(self):
        self._ready.unlink(missing_ok=True)
        if self.grpc:
            self._environ["BURNISH_LISTEN"] = self.grpc
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"burnish_{self.name}", env=self._environ, stderr=log
            )
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(self._ready.exists):
                assert self._process.returncode is None, self.log
                await asyncio.sleep(0.05)
        found = json.loads(await asyncio.to_thread(self._ready.read_text))
        self.grpc, self.http, self.metrics = found["grpc"], found["http"], found["metrics"]

    async def end(self, number=signal.SIGTERM):
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await asyncio.wait_for(self._process.wait(), 30)


class Deployment:
    """A controller and an interceptor as processes, and a provider."""

    def __init__(self, controller, interceptor, provider, client):
        self.controller = controller
        self.interceptor = interceptor
        self.provider = provider
        self.policies = client.policies
        self.traces = client.traces
        self.session = aiohttp.ClientSession()
        self.calls = 0

    async def ask(self, rollout, *, policy="live", **headers):
        """Makes a call; returns its status, its headers and its body."""
        self.calls += 1
        url = f"http://{self.interceptor.http}/p/{policy}/v1/chat/completions"
        headers = {
            "authorization": f"Bearer {TOKEN}",
            "x-burnish-rollout": rollout,
            **headers,
        }
        async with self.session.post(url, json=BODY, headers=headers) as response:
            told = {name.lower(): value for name, value in response.headers.items()}
            return response.status, told, await response.read()

    async def serves(self, version):
        """Waits until the interceptor says that it serves a version of `live`."""

        async def served():
            found = await self.policies.get("live")
            applied = any(one.applied and one.connected for one in found.replicas)
            return found.version == version and applied

        await self.until(served)

    async def until(self, condition):
        """Waits until an asynchronous condition holds."""
        async with asyncio.timeout(30):
            while not await condition():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.05)

    async def metric(self, service, name):
        """Returns the sum of a metric's samples."""
        async with self.session.get(f"http://{service.metrics}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    async def traced(self, rollouts):
        """Returns the calls of each rollout, once they have all arrived."""
        found = {}
        async with asyncio.timeout(60):
            for rollout in rollouts:
                while rollout not in found:
                    try:
                        session = await self.traces.session(rollout)
                        found[rollout] = session["event_history"]
                    except NotFound:
                        await asyncio.sleep(0.1)
        return found


@asynccontextmanager
async def deployed(tmp_path, **environ):
    script = Script(body=completion())
    nobody = "127.0.0.1:9"
    async with testing.provider(lambda _: script) as provider:
        controller = Service(
            "controller",
            tmp_path,
            BURNISH_SEARCH=nobody,
            BURNISH_PROPOSER=nobody,
            BURNISH_VERIFIER=nobody,
            BURNISH_INTERCEPTOR_URL="http://interceptor.test",
        )
        await controller.start()
        interceptor = Service(
            "interceptor",
            tmp_path,
            BURNISH_CONTROLLER=controller.grpc,
            BURNISH_OPENAI_API_KEY="sk-provider-0123456789abcdef",
            BURNISH_OPENAI_BASE_URL=provider.base_url,
            **environ,
        )
        try:
            await interceptor.start()
            async with AsyncClient(controller.grpc, token=TOKEN) as client:
                running = Deployment(controller, interceptor, provider, client)
                try:
                    yield running
                finally:
                    await running.session.close()
        finally:
            await interceptor.end(signal.SIGKILL)
            await controller.end(signal.SIGKILL)


async def without_controller(running, seconds):
    """Kills the controller, asks for so long, starts it again; returns rollouts and statuses."""
    await running.controller.end(signal.SIGKILL)
    ends = time.monotonic() + seconds
    statuses: Counter[int] = Counter()
    rollouts: list[str] = []
    while time.monotonic() < ends:
        rollouts.append(f"away-{len(rollouts)}")
        status, _, _ = await running.ask(rollouts[-1])
        statuses[status] += 1
        await asyncio.sleep(0.02)
    await running.controller.start()
    return rollouts, statuses


async def survives(running, seconds):
    await running.policies.publish_spec("live", spec())
    await running.serves(1)
    rollouts, statuses = await without_controller(running, seconds)
    assert set(statuses) == {200}
    assert len(running.provider.requests) == running.calls
    found = await running.traced(rollouts)
    assert all(len(events) == 1 for events in found.values())
    # The watch is taken up where it was left, and changes arrive again.
    await running.policies.set_weights("live", {"baseline": 0.0})
    await running.serves(2)
    _, headers, _ = await running.ask("after")
    assert headers["x-burnish-policy-version"] == "2"
    assert running.provider.bodies[-1]["messages"][0]["content"] == CANARY


async def test_a_controller_that_is_killed_is_not_missed_and_every_trace_arrives(tmp_path):
    async with deployed(tmp_path) as running:
        await survives(running, 4.0)
        assert await running.metric(running.controller, "burnish_traces_lost_total") == 0


@pytest.mark.slow
async def test_a_controller_that_is_away_for_a_minute_is_not_missed(tmp_path):
    async with deployed(tmp_path) as running:
        await survives(running, 60.0)


async def test_traces_beyond_the_bound_are_counted_and_told_when_the_controller_is_back(tmp_path):
    async with deployed(tmp_path, BURNISH_TRACE_BUFFER_BYTES="30000") as running:
        await running.policies.publish_spec("live", spec())
        await running.serves(1)
        rollouts, statuses = await without_controller(running, 3.0)
        assert set(statuses) == {200}
        assert len(rollouts) > 30
        lost = await running.metric(running.interceptor, "burnish_trace_dropped_total")
        assert 0 < lost < len(rollouts)
        stored, told = "burnish_traces_stored_total", "burnish_traces_lost_total"

        async def all_told():
            # Those of the time before are stored in the first controller's count.
            kept = await running.metric(running.controller, stored)
            return kept + await running.metric(running.controller, told) >= len(rollouts)

        await running.until(all_told)
        assert await running.metric(running.controller, told) == lost
        assert await running.metric(running.controller, stored) + lost == len(rollouts)


async def test_a_policy_changes_while_it_is_served_and_is_gone_when_deleted(tmp_path):
    async with deployed(tmp_path) as running:
        assert (await running.ask("r0"))[0] == 503
        await running.policies.publish_spec("live", spec(weight=0.0))
        await running.serves(1)
        _, headers, _ = await running.ask("r1")
        assert running.provider.bodies[-1]["messages"][0]["content"] == "Sort it."
        await running.policies.set_weights("live", {"baseline": 0.0, "winner": 1.0})
        await running.serves(2)
        status, headers, body = await running.ask("r2")
        assert status == 200
        assert running.provider.bodies[-1]["messages"][0]["content"] == CANARY
        assert CANARY.encode() not in body
        assert not any("cand_" in value or "walrus" in value for value in headers.values())
        await running.policies.delete("live")

        async def gone():
            return (await running.ask("r3"))[0] != 200

        await running.until(gone)
        status, headers, _ = await running.ask("r4")
        assert status == 503
        assert int(headers["retry-after"]) > 0


async def test_a_version_that_cannot_be_served_is_refused_and_said_so(tmp_path):
    async with deployed(tmp_path) as running:
        await running.policies.publish_spec("live", spec())
        await running.serves(1)
        await running.policies.publish_spec("live", spec(provider="groq"))

        async def refused():
            return (await running.policies.get("live")).replicas[0].rejection is not None

        await running.until(refused)
        replica = (await running.policies.get("live")).replicas[0]
        assert replica.node_id == "interceptor-0"
        assert not replica.applied
        assert replica.rejection is not None
        assert "groq" in replica.rejection[1]
        status, headers, _ = await running.ask("still")
        assert (status, headers["x-burnish-policy-version"]) == (200, "1")


async def test_calls_follow_the_apps_trace_and_read_as_one_session(tmp_path):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with deployed(tmp_path) as running:
        await running.policies.publish_spec("live", spec())
        await running.serves(1)
        for _ in range(2):
            _, headers, _ = await running.ask(
                "roll", traceparent=f"00-{trace_id}-00f067aa0ba902b7-01"
            )
            assert headers["x-burnish-trace-id"] == trace_id
            assert headers["traceparent"].startswith(f"00-{trace_id}-")

        async def arrived():
            return len((await running.traced(["roll"]))["roll"]) == 2

        await running.until(arrived)
        session = await running.traces.session("roll")
        assert "walrus" not in json.dumps(session)
        for event in session["event_history"]:
            assert event["trace_id"] == trace_id
            assert event["metadata"]["stage_id"] == "sort"
            assert event["metadata"]["arm"] in {"baseline", "winner"}
            assert event["metadata"]["overhead_ms"] > 0
            assert event["call_records"][0]["output_text"] == "card_arrival"
        for service in (running.interceptor, running.controller):
            async with running.session.get(f"http://{service.metrics}/metrics") as response:
                text = await response.text()
            for secret in ("walrus", "roll", trace_id, "cand_", TOKEN):
                assert f'"{secret}' not in text
            assert "walrus" not in service.log
        assert await running.metric(running.interceptor, "burnish_proxy_requests_total{") >= 2
        assert await running.metric(running.controller, "burnish_llm_tokens_total{") == 28


async def test_a_policy_nobody_knows_is_a_503_with_the_controller_away_too(tmp_path):
    async with deployed(tmp_path) as running:
        await running.policies.publish_spec("live", spec())
        await running.serves(1)
        await running.controller.end(signal.SIGKILL)
        status, headers, _ = await running.ask("r", policy="other")
        assert status == 503
        assert "retry-after" in headers
        assert (await running.ask("r"))[0] == 200
        with pytest.raises(BurnishError):
            await running.policies.get("live")

"""The interceptor as a process of its own: real SDKs, kill, drain, and what it logs."""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import groq
import openai
import pytest

from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, TOKEN_KEY, Script, completion, events
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer

CANARY = "Weigh verbs over nouns; let the walrus decide."
KEY = "sk-provider-0123456789abcdef"
MESSAGES: Any = [
    {"role": "system", "content": BASELINE},
    {"role": "user", "content": "Query: where is my card"},
]


def url(address: str, *, attempt: int = 1) -> str:
    grant = RolloutGrant(
        rollout_id="roll_1",
        attempt=attempt,
        policy="job-1",
        candidate_id=CANDIDATE,
        expire_time=int(time.time()) + 600,
    )
    return f"http://{address}/r/{TokenSealer(TOKEN_KEY).seal(grant)}/v1"


class Process:
    """One interceptor process after another, on the same port."""

    def __init__(self, environ: dict[str, str], directory: Path) -> None:
        self._environ = environ
        self._ready = directory / "ready.json"
        self._log = directory / "stderr.log"
        self.running: Any = None
        self.address = ""

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        environ = dict(self._environ, BURNISH_READY_FILE=str(self._ready))
        if self.address:
            environ["BURNISH_HTTP_LISTEN"] = self.address
        with self._log.open("ab") as log:
            self.running = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "burnish_interceptor", env=environ, stderr=log
            )
        await testing.until(self._ready.exists)
        self.address = json.loads(self._ready.read_text())["http"]

    async def end(self, number: int) -> int:
        self.running.send_signal(number)
        return int(await asyncio.wait_for(self.running.wait(), 20))


@asynccontextmanager
async def deployed(tmp_path: Path, answer: Any = None) -> Any:
    script = Script(body=completion())
    async with (
        testing.controller() as controller,
        testing.provider(answer or (lambda request: script)) as provider,
    ):
        controller.policies["policies/job-1"] = testing.offline_policy()
        controller.candidates[CANDIDATE] = testing.prompts(CANARY)
        environ = {
            **os.environ,
            "BURNISH_AUTH_TOKEN": "suite-token",
            "BURNISH_TOKEN_KEY": TOKEN_KEY,
            "BURNISH_CONTROLLER": controller.target,
            "BURNISH_OPENAI_API_KEY": KEY,
            "BURNISH_OPENAI_BASE_URL": provider.base_url,
            "BURNISH_LOG_LEVEL": "DEBUG",
            "BURNISH_DRAIN_SECONDS": "10",
        }
        process = Process(environ, tmp_path)
        await process.start()
        try:
            yield process, controller, provider
        finally:
            if process.running.returncode is None:
                await process.end(signal.SIGKILL)


def ask_openai(base_url: str, **more: Any) -> Any:
    with openai.OpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
        return client.chat.completions.create(model="m", messages=MESSAGES, **more)


async def test_the_official_clients_and_curl_work_unchanged(tmp_path):
    def answer(request: Any) -> Script:
        if json.loads(request.body).get("stream"):
            return Script(body=events(), content_type="text/event-stream", cut=50)
        return Script(body=completion())

    def stream(base_url: str) -> str:
        with openai.OpenAI(base_url=base_url, api_key="x") as client:
            reply: Any = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return "".join(event.choices[0].delta.content or "" for event in reply)

    def ask_groq(base_url: str) -> Any:
        with groq.Groq(base_url=base_url.removesuffix("/v1"), api_key="x") as client:
            return client.chat.completions.create(model="m", messages=MESSAGES)

    async with deployed(tmp_path, answer) as (process, _, provider):
        base_url = url(process.address)
        reply = await asyncio.to_thread(ask_openai, base_url)
        assert reply.choices[0].message.content == "card_arrival"
        assert await asyncio.to_thread(stream, base_url) == "card_arrival"
        reply = await asyncio.to_thread(ask_groq, base_url)
        assert reply.choices[0].message.content == "card_arrival"
        if (curl := shutil.which("curl")) is not None:
            body = json.dumps({"model": "m", "messages": MESSAGES, "seed": 7})
            called = await asyncio.create_subprocess_exec(
                curl, "-sS", "--max-time", "10", "-H", "expect: 100-continue",
                "-H", "transfer-encoding: chunked", "-d", body, base_url + "/chat/completions",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await called.communicate()
            assert json.loads(out)["choices"][0]["message"]["content"] == "card_arrival"
        assert all(body["messages"][0]["content"] == CANARY for body in provider.bodies)


async def test_after_a_kill_nothing_journaled_is_paid_again(tmp_path):
    async with deployed(tmp_path) as (process, controller, provider):
        await asyncio.to_thread(ask_openai, url(process.address))
        await process.end(signal.SIGKILL)
        await process.start()
        reply = await asyncio.to_thread(ask_openai, url(process.address, attempt=2))
        assert reply.choices[0].message.content == "card_arrival"
        assert len(provider.requests) == len(controller.calls) == 1


async def test_a_kill_in_the_middle_of_a_call_leaves_it_unfinished_and_a_retry_makes_it(tmp_path):
    gate = asyncio.Event()

    def answer(request: Any) -> Script:
        return Script(body=completion(), gate=gate)

    async with deployed(tmp_path, answer) as (process, controller, provider):
        call = asyncio.ensure_future(asyncio.to_thread(ask_openai, url(process.address)))
        await testing.until(lambda: len(provider.requests) == 1)
        await process.end(signal.SIGKILL)
        with pytest.raises(openai.APIConnectionError):
            await call
        gate.set()
        await process.start()
        retry = {"x-stainless-retry-count": "1"}
        reply = await asyncio.to_thread(ask_openai, url(process.address), extra_headers=retry)
        assert reply.choices[0].message.content == "card_arrival"
        unfinished = [one for one in controller.calls.values() if one.finish is None]
        assert len(unfinished) == 1
        assert len(controller.finished) == 1


async def test_sigterm_lets_a_call_in_flight_finish_and_be_journaled(tmp_path):
    gate = asyncio.Event()

    def answer(request: Any) -> Script:
        return Script(body=completion(), gate=gate)

    async with deployed(tmp_path, answer) as (process, controller, provider):
        call = asyncio.ensure_future(asyncio.to_thread(ask_openai, url(process.address)))
        await testing.until(lambda: len(provider.requests) == 1)
        process.running.send_signal(signal.SIGTERM)
        await testing.until(lambda: "stopping" in process.log)
        gate.set()
        assert (await call).choices[0].message.content == "card_arrival"
        assert await asyncio.wait_for(process.running.wait(), 20) == 0
        assert len(controller.finished) == 1


async def test_the_log_holds_no_candidate_key_or_token_at_any_level(tmp_path):
    def answer(request: Any) -> Script:
        status = 500 if len(request.body) % 2 else 400
        return Script(status=status, body=b'{"error":{"message":"%b"}}' % CANARY.encode())

    async with deployed(tmp_path, answer) as (process, controller, _):
        base_url = url(process.address)
        for temperature in (0.0, 0.25):
            with pytest.raises(openai.APIStatusError):
                await asyncio.to_thread(ask_openai, base_url, temperature=temperature)
        await controller.stop()
        other = url(process.address).replace("/r/", "/r/x")
        with pytest.raises(openai.APIStatusError):
            await asyncio.to_thread(ask_openai, other)
        assert await process.end(signal.SIGTERM) == 0
        log = process.log
        assert '"event": "request"' in log
        token = base_url.split("/r/")[1].removesuffix("/v1")
        for secret in (
            CANARY,
            "walrus",
            CANDIDATE,
            KEY,
            TOKEN_KEY,
            "suite-token",
            token,
            token[:40],
        ):
            assert secret not in log

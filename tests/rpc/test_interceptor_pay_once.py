"""Nothing is paid twice: over several interceptors on one ledger, and when an app leaves."""

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion, events, faults
from burnish_runtime.server import ServiceServer

MESSAGES = [
    {"role": "system", "content": BASELINE},
    {"role": "user", "content": "Query: where"},
]
RETRY = {"x-stainless-retry-count": "1"}
TIMES = 10


@asynccontextmanager
async def pair(answer: Any = None) -> Any:
    """Runs two interceptors on one ledger, and gives a way to call each by its number."""
    async with testing.suite(answer) as first, aiohttp.ClientSession() as session:
        app, settings = testing.interceptor(
            first.controller.target, base_url=first.provider.base_url
        )
        second = ServiceServer(app, settings)
        try:
            await second.start()
            addresses = [first.app.http_address, app.http_address]

            async def call(number: int, *, attempt: int = 1, **more: Any) -> Any:
                token, stream = first.token(first.attempt(attempt)), more.pop("stream", False)
                url = f"http://{addresses[number]}/r/{token}/v1/chat/completions"
                body = {"model": "m", "messages": MESSAGES, "stream": stream}
                async with session.post(url, json=body, **more) as reply:
                    return reply.status, await reply.read()

            yield first, call
        finally:
            await second.stop()


async def test_a_retry_that_comes_to_another_interceptor_is_replayed():
    async with pair() as (running, call):
        first = await call(0)
        assert await call(1, headers=RETRY) == first
        assert await call(0, headers=RETRY) == first
        assert await call(1, attempt=2) == first
        assert first[0] == 200
        assert len(running.provider.requests) == len(running.controller.calls) == 1


async def test_a_retry_that_overtakes_its_call_at_another_interceptor_waits_for_it():
    gate = asyncio.Event()
    script = Script(body=completion(), gate=gate)
    async with pair(lambda _: script) as (running, call):
        first = asyncio.ensure_future(call(0))
        await testing.until(lambda: len(running.provider.requests) == 1)
        second = asyncio.ensure_future(call(1, headers=RETRY))
        done, _ = await asyncio.wait([first, second], timeout=0.1)
        assert not done
        gate.set()
        assert await first == await second
        assert len(running.provider.requests) == 1


async def test_equal_samples_stay_separate_calls_over_interceptors_and_replay_one_by_one():
    answers = iter(range(100))

    def answer(request: Any) -> Script:
        return Script(body=completion(f"sample {next(answers)}"))

    async with pair(answer) as (running, call):
        made = await asyncio.gather(*(call(number % 2) for number in range(6)))
        assert len(running.provider.requests) == len(running.controller.calls) == 6
        assert len({body for _, body in made}) == 6
        again = await asyncio.gather(*(call(number % 2, attempt=2) for number in range(6)))
        assert {body for _, body in again} == {body for _, body in made}
        assert len(running.provider.requests) == 6


def heard(running: Any, number: int) -> bool:
    return len(running.provider.requests) == number


def journaled(running: Any, number: int) -> bool:
    return len(running.controller.finished) == number


@pytest.mark.parametrize("stream", [True, False])
async def test_an_app_that_leaves_loses_no_call_that_is_paid(stream):
    gate = asyncio.Event()
    body = events() if stream else completion()
    kind = "text/event-stream" if stream else "application/json"
    script = Script(body=body, content_type=kind, cut=len(body) // 2 + 1, gate=gate)
    async with pair(lambda _: script) as (running, call):
        for number in range(1, TIMES + 1):
            gate.clear()
            leaving = asyncio.ensure_future(call(0, stream=stream))
            await testing.until(partial(heard, running, number))
            leaving.cancel()
            await asyncio.wait([leaving])
            gate.set()
            await testing.until(partial(journaled, running, number))
            finish = running.controller.finished[-1]
            assert finish.reply.body == body
            assert not finish.HasField("failure")
            status, replayed = await call(1, stream=stream, headers=RETRY)
            assert status == 200
            assert b"arrival" in replayed
        assert len(running.provider.requests) == TIMES


async def begun(heard: faults.Heard) -> None:
    """Sends the beginning of a stream, and then nothing."""
    heard.head(transfer_encoding="chunked")
    heard.chunk(events()[:400])
    await asyncio.sleep(60)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("play", [begun, faults.FAULTS["hang"]])
async def test_an_online_app_that_leaves_ends_the_providers_work_at_once(play, stream):
    weights = [policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)]
    live = policy_v1.Policy(
        name="policies/live",
        version=1,
        job="jobs/1",
        stages=[testing.stage_policy()],
        candidates=weights,
    )
    async with testing.controller() as controller, faults.faulty(play) as provider:
        controller.policies["policies/live"] = live
        controller.candidates[CANDIDATE] = testing.prompts("Name it.")
        app, settings = testing.interceptor(controller.target, base_url=f"{provider.root}/v1")
        server = ServiceServer(app, settings)
        await server.start()
        try:
            for number in range(1, TIMES + 1):
                await left_alone(
                    str(app.http_address),
                    provider,
                    number,
                    events=stream and play is begun,
                    stream=stream,
                )
            assert len(provider.heard) == TIMES
            assert controller.calls == {}
            await testing.until(lambda: app._http.inflight == 0)
        finally:
            await server.stop()


async def left_alone(
    address: str, provider: Any, number: int, *, stream: bool, events: bool
) -> None:
    """Makes a call, leaves it once the provider has it, and sees the provider let go.

    Args:
        address: Of the interceptor.
        provider: The provider.
        number: Of the call, from 1.
        stream: Whether events are asked for.
        events: Whether the first is waited for.
    """
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": stream}).encode()
    writer.write(
        b"POST /p/live/v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer suite-token"
        b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    await testing.until(lambda: len(provider.heard) == number)
    if events:
        await asyncio.wait_for(reader.readuntil(b"data: "), 10)
    writer.close()
    await testing.until(lambda: provider.open == 0)

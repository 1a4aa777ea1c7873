"""Every fault of a provider, on every kind of upstream, whole and as events, booked and online."""

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import aiohttp
import pytest

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.app import InterceptorApp
from burnish_interceptor.compiled import compiled
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.chat_reply import ChatStream
from burnish_interceptor.providers import Account, Providers
from burnish_interceptor.testing import BASELINE, CANDIDATE, TOKEN_KEY, faults
from burnish_interceptor.transport.origin import Timeouts
from burnish_interceptor.transport.settings import HttpSettings
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer
from burnish_runtime.server import ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings

CANARY = "Weigh verbs over nouns; let the walrus decide."
KEY = "sk-provider-0123456789abcdef"
TIMEOUTS = Timeouts(connect=1.0, head=1.0, read=1.0, total=1.5)
PATIENCE = 20.0
UPSTREAMS = ("openai_compatible", "groq", "google", "google_native")
CALLS = [
    (upstream, mode, stream)
    for upstream, mode, stream in product(UPSTREAMS, ("offline", "online"), (False, True))
]
UNPAID, MAYBE, DONE = "unpaid", "possibly paid", "done"


@dataclass(frozen=True)
class Told:
    """What a fault comes to. `late` is told in the stream once it has begun."""

    status: int
    booked: str
    retry: bool = True
    late: bool = False


def refused(code: int, booked: str, *, retry: bool) -> tuple[Told, Told]:
    return Told(code, booked, retry), Told(code, booked, retry)


GOOD = Told(200, DONE)
BAD = Told(502, MAYBE)
LATE = Told(200, MAYBE, late=True)
SLOW = Told(504, MAYBE)
# What a whole answer comes to, and what a stream does.
EXPECTED: dict[str, tuple[Told, Told]] = {
    **{str(code): refused(code, UNPAID, retry=False) for code in (400, 401, 403, 404)},
    **{str(code): refused(code, MAYBE, retry=True) for code in (408, 500, 502)},
    **{str(code): refused(code, UNPAID, retry=True) for code in (429, 503, 529)},
    "429 with a wait": refused(429, UNPAID, retry=True),
    "302": refused(502, MAYBE, retry=False),
    "hang": (SLOW, SLOW),
    "drip": (SLOW, SLOW),
    "reset": (BAD, LATE),
    "early reset": (BAD, BAD),
    "cut": (BAD, LATE),
    "no end mark": (GOOD, GOOD),
    "invalid JSON": (BAD, BAD),
    "HTML": (BAD, BAD),
    "too long a length": (BAD, GOOD),
    "too short a length": (BAD, LATE),
    "50 MB": (BAD, LATE),
    "gzip bomb": (BAD, BAD),
    "duplicated chunk": (GOOD, GOOD),
    "role only": (GOOD, GOOD),
    "no choices": (BAD, BAD),
    # The usage stands behind the answer's end, where nothing that cannot be read matters any more.
    "NaN usage": (BAD, GOOD),
    "negative usage": (GOOD, GOOD),
    "endless usage": (GOOD, GOOD),
}
# Google's own API tells the usage with the event that ends the answer.
OTHERWISE = {("NaN usage", "google_native"): (BAD, LATE)}


def base_url(root: str, upstream: str) -> str:
    return root + {"google": "/v1beta/openai", "google_native": "/v1beta"}.get(upstream, "/v1")


class Scene:
    """An interceptor with a policy for each upstream, of a job and online."""

    def __init__(self, controller: Any, app: InterceptorApp) -> None:
        self.controller = controller
        self.app = app

    def url(self, upstream: str, mode: str, number: int = 0) -> str:
        root = f"http://{self.app.http_address}"
        if mode == "online":
            return f"{root}/p/live-{upstream}/v1/chat/completions"
        grant = RolloutGrant(
            rollout_id=f"roll-{upstream}-{number}",
            attempt=1,
            policy=f"job-{upstream}",
            candidate_id=CANDIDATE,
            expire_time=int(time.time()) + 600,
        )
        return f"{root}/r/{TokenSealer(TOKEN_KEY).seal(grant)}/v1/chat/completions"

    async def call(self, session: Any, call: tuple[str, str, bool]) -> tuple[int, Any, bytes]:
        upstream, mode, stream = call
        messages = [
            {"role": "system", "content": BASELINE},
            {"role": "user", "content": "Query: where"},
        ]
        body = {"model": "m", "messages": messages, "stream": stream, "max_tokens": 50}
        async with session.post(
            self.url(upstream, mode, int(stream)),
            json=body,
            headers={"authorization": "Bearer suite-token"},
        ) as reply:
            return reply.status, reply.headers, await reply.read()

    def booked(self, call: tuple[str, str, bool]) -> Any:
        scope = f"roll-{call[0]}-{int(call[2])}"
        return [one.finish for one in self.controller.calls.values() if one.key[0] == scope]


@asynccontextmanager
async def scene(root: str) -> Any:
    async with testing.controller() as controller:
        for upstream in UPSTREAMS:
            stage = testing.stage_policy()
            stage.model.provider = upstream
            job = testing.offline_policy(stage)
            job.name = f"policies/job-{upstream}"
            weights = [policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)]
            live = policy_v1.Policy(
                name=f"policies/live-{upstream}",
                version=1,
                job="jobs/1",
                stages=[stage],
                candidates=weights,
            )
            controller.policies.update({job.name: job, live.name: live})
        controller.candidates[CANDIDATE] = testing.prompts(CANARY)
        accounts = {
            upstream: Account(
                base_url=base_url(root, upstream),
                key=Secret(KEY),
                gemini=upstream == "google_native",
            )
            for upstream in UPSTREAMS
        }
        settings = ServiceSettings(
            service="interceptor",
            auth_token=Secret("suite-token"),
            token_key=Secret(TOKEN_KEY),
            controller_target=controller.target,
            drain_seconds=1.0,
        )
        http = HttpSettings(timeouts=TIMEOUTS)
        app = InterceptorApp(settings, providers=Providers(accounts), http=http)
        server = ServiceServer(app, settings)
        try:
            await server.start()
            yield Scene(controller, app)
        finally:
            await server.stop()


def would_retry(status: int, headers: Any) -> bool:
    """Tells what the SDKs of OpenAI and Groq do."""
    said = headers.get("x-should-retry")
    return said == "true" or (said is None and (status in (408, 409, 429) or status >= 500))


def told(status: int, headers: Any, raw: bytes, *, stream: bool) -> tuple[int, bool, bool, bool]:
    """Returns status, whether the SDK tries again, whether an error came late, and a whole end."""
    if status != 200:
        error = json.loads(raw)["error"]
        assert {"message", "type", "code"} <= error.keys()
        return status, would_retry(status, headers), False, False
    if not stream:
        return 200, True, False, json.loads(raw)["object"] == "chat.completion"
    late = b"event: error\n" in raw
    return 200, True, late, raw.endswith(b"data: [DONE]\n\n") and not late


def booking(finish: Any) -> str:
    if finish.HasField("failure"):
        return UNPAID if finish.not_sent else MAYBE
    assert not finish.not_sent
    assert finish.HasField("reply")
    usage = finish.usage
    assert usage.input_tokens >= 0
    assert usage.output_tokens >= 0
    return DONE


def problems(one: Scene, call: tuple[str, str, bool], got: Any, expected: Told) -> list[str]:
    status, headers, raw = got
    found = []
    seen = told(status, headers, raw, stream=call[2])
    # Within a stream nobody is told whether to try again.
    retry = expected.retry or expected.status == 200
    wanted = (expected.status, retry, expected.late, expected == GOOD)
    if not retry and headers.get("x-should-retry") != "false":
        found.append("not told that no retry helps")
    if seen != wanted:
        found.append(f"told {seen}, not {wanted}: {raw[:200]!r}")
    if any(
        word in part for part in (raw, str(headers).encode()) for word in (b"walrus", b"sk-pro")
    ):
        found.append("a leak")
    if any(name.lower() in {"set-cookie", "x-echo", "location"} for name in headers):
        found.append(f"a header of the provider's: {headers}")
    if call[1] == "offline":
        finishes = one.booked(call)
        if len(finishes) != 1 or finishes[0] is None:
            found.append(f"booked {finishes}")
        elif booking(finishes[0]) != expected.booked:
            found.append(f"booked as {booking(finishes[0])}, not {expected.booked}")
        elif expected.booked != DONE and finishes[0].failure.retryable is not expected.retry:
            found.append("the retry that the books tell is not that of the app")
    return [f"{call}: {problem}" for problem in found]


async def settled(one: Scene, before: Counter[str]) -> None:
    """Waits until nothing of the calls is left but pooled connections."""
    app: Any = one.app
    client = app._client
    await testing.until(lambda: not app._http.inflight and not app._http.connections)
    await testing.until(lambda: not client._connects)
    idle = {each for pool in client._idle.values() for each in pool}
    await testing.until(lambda: set(client._open) <= idle)
    await testing.until(lambda: tasks() <= before)


def tasks() -> Counter[str]:
    """Counts what runs of the interceptor itself."""
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return Counter(
        code.co_qualname
        for code in codes
        if code is not None
        and "burnish_interceptor" in code.co_filename
        and "testing" not in code.co_filename
    )


async def check(root: str, fault: str, expected: tuple[Told, Told], width: int) -> None:
    async with scene(root) as one:
        before = tasks()
        gate = asyncio.Semaphore(width)

        async def made(call: tuple[str, str, bool]) -> list[str]:
            async with gate, asyncio.timeout(PATIENCE):
                got = await one.call(session, call)
            told = OTHERWISE.get((fault, call[0]), expected)
            return problems(one, call, got, told[call[2]])

        async with aiohttp.ClientSession() as session:
            found = await asyncio.gather(*map(made, CALLS))
        assert [problem for each in found for problem in each] == []
        await settled(one, before)


@pytest.mark.parametrize("fault", faults.FAULTS)
async def test_a_fault_is_told_and_booked_for_what_it_is(fault):
    assert faults.FAULTS.keys() == EXPECTED.keys()
    async with faults.faulty(faults.FAULTS[fault]) as provider:
        await check(provider.root, fault, EXPECTED[fault], 2 if fault == "50 MB" else len(CALLS))
        assert len(provider.heard) == len(CALLS), "a call was repeated by itself"
        await testing.until(lambda: provider.open == 0)


async def test_a_provider_that_refuses_connections_is_certainly_unpaid():
    async with faults.faulty(faults.fine) as provider:
        root = provider.root
    away = Told(502, UNPAID)
    await check(root, "refused", (away, away), len(CALLS))


async def test_a_provider_without_a_valid_certificate_is_certainly_unpaid():
    async with faults.faulty(faults.fine) as provider:
        root = provider.root.replace("http://", "https://")
        away = Told(502, UNPAID)
        await check(root, "TLS", (away, away), len(CALLS))
        assert provider.heard == []


async def test_the_time_to_wait_reaches_the_app():
    async with (
        faults.faulty(faults.FAULTS["429 with a wait"]) as provider,
        scene(provider.root) as one,
        aiohttp.ClientSession() as session,
    ):
        for call in CALLS:
            assert (await one.call(session, call))[1]["retry-after"] == "7"


async def test_a_good_provider_is_seen_as_one():
    async with faults.faulty(faults.fine) as provider:
        await check(provider.root, "fine", (GOOD, GOOD), len(CALLS))


@pytest.mark.skipif(compiled(), reason="what is compiled calls its own methods")
@pytest.mark.parametrize("call", [one for one in CALLS if "google" in one[0]])
async def test_an_answer_that_we_fail_to_read_ends_the_call_all_the_same(call, monkeypatch):
    def broken(*_: object) -> Any:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(ChatRequest, "answer", broken)
    monkeypatch.setattr(ChatStream, "rest", broken)
    async with (
        faults.faulty(faults.fine) as provider,
        scene(provider.root) as one,
        aiohttp.ClientSession() as session,
        asyncio.timeout(PATIENCE),
    ):
        got = await one.call(session, call)
        expected = Told(500, MAYBE, retry=False)
        if call[2]:
            expected = Told(200, MAYBE, retry=False, late=True)
        assert problems(one, call, got, expected) == []
        await testing.until(lambda: one.app._http.inflight == 0)


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.parametrize("late", [True, False])
async def test_only_a_connection_that_was_closed_while_idle_is_taken_for_stale(mode, late):
    plays = ["good", "closed", "good"]

    async def play(heard: faults.Heard) -> None:
        if plays.pop(0) == "good":
            heard.answer(heard.good())
        else:
            # Much later than a close that crossed the call: the provider was at work on it.
            await asyncio.sleep(0.7 if late else 0)
            heard.writer.close()

    async with (
        faults.faulty(play) as provider,
        scene(provider.root) as one,
        aiohttp.ClientSession() as session,
    ):
        assert (await one.call(session, ("groq", mode, False)))[0] == 200
        call = ("groq", mode, True)
        expected = Told(502, MAYBE) if late else GOOD
        assert problems(one, call, await one.call(session, call), expected) == []
        assert len(provider.heard) == (2 if late else 3)

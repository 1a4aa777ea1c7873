"""Online traffic, aliases of Synth's clients, and the service that operators ask."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from burnish import rpc
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import InterceptorServiceStub
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE
from burnish_runtime.server import ServiceServer

BODY = {
    "model": "m",
    "messages": [
        {"role": "system", "content": BASELINE},
        {"role": "user", "content": "Query: where"},
    ],
}
OURS = {"authorization": "Bearer suite-token"}


def online(name: str = "live", **more: Any) -> policy_v1.Policy:
    weights = [policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)]
    return policy_v1.Policy(
        name=f"policies/{name}",
        version=1,
        job="jobs/1",
        stages=[testing.stage_policy()],
        candidates=weights,
        **more,
    )


async def post(url: str, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=BODY, headers=headers) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize(
    "shape",
    ["/api/interceptor/v1/{}?cid=c1", "/api/interceptor/v1/{}/v1/chat/completions",
     "/api/interceptor/v1/{}?cid=c1/chat/completions", "/api/mipro/v1/{}/roll/chat/completions",
     "/api/mipro/v1/{}/roll", "/api/gepa/v1/{}/chat/completions",
     "/api/gepa/v1/{}/c1/v1/chat/completions", "/r/{}", "/r/{}/openai/v1/chat/completions"],
)  # fmt: skip
async def test_every_published_shape_carries_a_rollout(shape):
    async with testing.suite(instruction="Name it.") as running:
        status, _ = await post(running.root + shape.format(running.token()))
        assert status == 200
        assert running.provider.bodies[0]["messages"][0]["content"] == "Name it."
        assert len(running.controller.finished) == 1


async def test_an_online_policy_serves_its_candidate_and_no_ledger_is_asked():
    async with testing.suite(instruction="Name it.") as running:
        running.controller.policies["policies/live"] = online()
        status, reply = await post(f"{running.root}/p/live/v1/chat/completions", **OURS)
        assert status == 200
        assert reply["choices"][0]["message"]["content"] == "card_arrival"
        assert running.provider.bodies[0]["messages"][0]["content"] == "Name it."
        assert running.controller.calls == {}


@pytest.mark.parametrize("kept", ["full", "off"])
async def test_calls_that_repeat_each_other_leave_whole_and_are_traced_as_they_left(
    kept, monkeypatch
):
    monkeypatch.setenv("BURNISH_TRACE_PROVIDER_REQUEST", kept)
    policy = online()
    policy.stages[0].CopyFrom(testing.stage_policy(user="{query}"))
    texts = [f"where is card {number}" for number in range(6)]
    # The last are not copied to leave.
    texts += ["and what of this: " + "x" * 20_000, 'of "that" \n' + "é" * 20_000]
    async with testing.suite(instruction="Name it.") as running:
        running.controller.policies["policies/live"] = policy
        url = f"{running.root}/p/live/v1/chat/completions"
        async with aiohttp.ClientSession(headers=OURS) as session:
            for text in texts:
                messages = [BODY["messages"][0], {"role": "user", "content": text}]
                async with session.post(url, json={**BODY, "messages": messages}) as response:
                    assert response.status == 200
        sent = [body["messages"] for body in running.provider.bodies]
        wanted = [{"role": "system", "content": "Name it."}]
        assert sent == [[*wanted, {"role": "user", "content": text}] for text in texts]
        await testing.until(lambda: len(running.controller.traces) == len(texts))
        found = [one.call.provider_request for one in running.controller.traces.values()]
        if kept == "off":
            assert set(found) == {b""}
        else:
            assert [json.loads(one)["messages"] for one in found] == sent
        told = [one.call.bindings["query"] for one in running.controller.traces.values()]
        assert told == texts


@pytest.mark.parametrize("key", ["", "Bearer wrong", "Bearer sk-provider-0123456789abcdef"])
async def test_an_online_url_alone_opens_nothing(key):
    async with testing.suite() as running:
        running.controller.policies["policies/live"] = online()
        url = f"{running.root}/p/live/v1/chat/completions"
        status, _ = await post(url, **({"authorization": key} if key else {}))
        assert status == 401
        assert running.provider.requests == []


async def test_an_unknown_online_policy_is_a_503_and_never_a_relay():
    async with testing.suite() as running:
        status, reply = await post(f"{running.root}/p/none/v1/chat/completions", **OURS)
        assert (status, reply["error"]["code"]) == (503, "policy_unknown")
        assert running.provider.requests == []


async def test_the_policy_of_a_job_serves_no_calls_that_nobody_books():
    async with testing.suite() as running:
        status, reply = await post(f"{running.root}/p/job-1/v1/chat/completions", **OURS)
        assert (status, reply["error"]["code"]) == (403, "policy_offline")
        assert running.provider.requests == []


async def test_a_watched_policy_is_served_without_asking_and_goes_when_removed():
    async with testing.suite(instruction="Name it.") as running:
        change = policy_v1.WatchPoliciesResponse
        changes = running.controller.changes
        changes.put_nowait(change(revision=4, snapshot=True, policies=[online()]))
        url = f"{running.root}/p/live/v1/chat/completions"
        await testing.until(lambda: running.app.applied_revision == 4)
        assert (await post(url, **OURS))[0] == 200
        assert running.controller.fetches["policies/live"] == 0
        changes.put_nowait(change(revision=5, removed=["policies/live"]))
        await testing.until(lambda: running.app.applied_revision == 5)
        assert (await post(url, **OURS))[0] == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("HEAD", "/healthz", 200), ("OPTIONS", "/r/x/v1", 204),
     ("GET", "/r/x/v1/chat/completions", 404), ("DELETE", "/healthz", 405), ("GET", "/nope", 404),
     ("POST", "/r/x/v1/responses", 404)],
)  # fmt: skip
async def test_other_requests(method, path, status):
    async with (
        testing.suite() as running,
        aiohttp.ClientSession() as session,
        session.request(method, running.root + path) as response,
    ):
        assert response.status == status


async def test_a_get_on_a_chat_path_is_not_allowed():
    async with (
        testing.suite() as running,
        aiohttp.ClientSession() as session,
        session.get(running.url() + "/chat/completions") as response,
    ):
        assert response.status == 405
        assert "POST" in response.headers["allow"]


async def test_operators_see_what_a_replica_serves_and_can_drain_it():
    async with testing.controller() as controller:
        app, settings = testing.interceptor(controller.target, base_url="http://127.0.0.1:9/v1")
        server = ServiceServer(app, settings)
        addresses = await server.start()
        try:
            async with rpc.connect(addresses.grpc, token="suite-token") as channel:
                stub = InterceptorServiceStub(channel)
                reply = await stub.GetInterceptor(interceptor_v1.GetInterceptorRequest(), timeout=5)
                assert reply.public_url == f"http://{app.http_address}"
                assert reply.inflight_call_count == 0
                await stub.DrainInterceptor(interceptor_v1.DrainInterceptorRequest(), timeout=5)
                with pytest.raises(ConnectionError):
                    await asyncio.open_connection(*str(app.http_address).split(":"))
        finally:
            await server.stop()

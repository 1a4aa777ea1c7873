"""Policies and traces between an interceptor and a controller, over real channels."""

import json
from typing import Any

import aiohttp
import pytest

from burnish import rpc, trace_v3
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import InterceptorServiceStub
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion, events
from burnish_runtime.server import ServiceServer

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": BASELINE},
        {"role": "user", "content": "Query: where"},
    ],
}
OURS = {"authorization": "Bearer suite-token", "x-burnish-rollout": "roll-7"}


def online(version: int = 1, *, provider: str = "openai", **more: Any) -> policy_v1.Policy:
    stage = testing.stage_policy()
    stage.model.provider = provider
    served = policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0, arm="winner")
    fields = {"stages": [stage], "candidates": [served], **more}
    return policy_v1.Policy(name="policies/live", version=version, **fields)


def change(revision: int, *policies: policy_v1.Policy, **more: Any) -> Any:
    return policy_v1.WatchPoliciesResponse(revision=revision, policies=list(policies), **more)


async def served(running: Any, policy: policy_v1.Policy | None = None) -> None:
    """Has the interceptor serve a policy."""
    first = change(1, policy or online(), snapshot=True)
    running.controller.changes.put_nowait(first)
    await testing.until(lambda: running.app.applied_revision == 1)


async def post(running: Any, body: Any = BODY, **headers: str) -> tuple[int, Any, bytes]:
    url = f"{running.root}/p/live/v1/chat/completions"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers={**OURS, **headers}) as response,
    ):
        return response.status, response.headers, await response.read()


async def traced(running: Any, count: int = 1) -> list[Any]:
    await testing.until(lambda: len(running.controller.traces) == count)
    return list(running.controller.traces.values())


async def test_a_call_leaves_a_trace_of_what_was_asked_sent_answered_and_paid():
    async with testing.suite(instruction="Name it, walrus.") as running:
        await served(running)
        status, headers, _ = await post(running)
        assert status == 200
        (trace,) = await traced(running)
        assert (trace.rollout_id, trace.policy, trace.policy_version) == (
            "roll-7", "policies/live", 1,
        )  # fmt: skip
        assert (trace.provider, trace.model, trace.arm) == ("openai", "gpt-x", "winner")
        assert (trace.call.stage_id, trace.call.candidate_id) == ("classify", CANDIDATE)
        assert json.loads(trace.call.app_request) == BODY
        assert trace.call.provider_request == b""
        assert trace.provider_request_hash == b""
        assert trace.reply.body == completion()
        assert (trace.usage.input_tokens, trace.usage.output_tokens) == (11, 3)
        assert trace.match_ratio > 0.9
        assert trace.overhead.ToNanoseconds() > 0
        assert trace.trace_id == headers["x-burnish-trace-id"]
        assert dict(trace.call.bindings) == {"query": "where"}


async def test_a_stream_leaves_a_trace_that_reads_as_its_message():
    script = Script(body=events(), content_type="text/event-stream", cut=40)
    async with testing.suite(lambda _: script) as running:
        await served(running)
        await post(running, {**BODY, "stream": True})
        (trace,) = await traced(running)
        record = trace_v3.session("roll-7", [trace])["event_history"][0]["call_records"][0]
        assert record["output_text"] == "card_arrival"
        assert record["usage"]["total_tokens"] == 14


async def test_a_failed_call_leaves_a_trace_with_its_reason():
    script = Script(status=500, body=b'{"error":{"message":"walrus"}}')
    async with testing.suite(lambda _: script) as running:
        await served(running)
        status, _, _ = await post(running)
        assert status == 500
        (trace,) = await traced(running)
        assert trace.failure.reason == "PROVIDER_STATUS_500"
        assert not trace.HasField("usage")


async def test_calls_of_offline_rollouts_are_journaled_and_not_written_twice():
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        async with session.post(running.url() + "/chat/completions", json=BODY) as response:
            assert response.status == 200
        assert len(running.controller.finished) == 1
        await served(running)
        await post(running)
        (trace,) = await traced(running)
        assert trace.policy == "policies/live"


async def test_traces_that_wait_are_sent_before_the_interceptor_ends():
    async with testing.suite() as running:
        await served(running)
        for _ in range(20):
            await post(running)
        await running.app.drain()
        assert len(running.controller.traces) == 20


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(online(2, provider="nobody"), "PROVIDER"), (online(2, stages=[]), "POLICY_INVALID"),
     (online(2, candidates=[policy_v1.WeightedCandidate(candidate_id="cand_0", weight=1)]),
      "NOT_FOUND")],
)  # fmt: skip
async def test_a_bad_version_is_refused_told_and_the_good_one_goes_on(bad, reason):
    async with testing.suite(instruction="Name it.") as running:
        await served(running)
        running.controller.changes.put_nowait(change(2, bad))
        await testing.until(lambda: running.app.applied_revision == 2)
        await testing.until(lambda: bool(running.controller.reports[-1].rejected))
        report = running.controller.reports[-1]
        assert report.applied_revision == 2
        assert reason in report.rejected["policies/live"].reason
        status, headers, _ = await post(running)
        assert (status, headers["x-burnish-policy-version"]) == (200, "1")
        running.controller.changes.put_nowait(change(3, online(3)))
        await testing.until(lambda: running.controller.reports[-1].applied_revision == 3)
        assert not running.controller.reports[-1].rejected
        assert (await post(running))[1]["x-burnish-policy-version"] == "3"


async def test_every_heartbeat_is_answered_with_what_is_served():
    async with testing.suite() as running:
        await served(running)
        await testing.until(lambda: len(running.controller.reports) == 1)
        running.controller.changes.put_nowait(change(1))
        await testing.until(lambda: len(running.controller.reports) == 2)
        assert {one.applied_revision for one in running.controller.reports} == {1}


async def test_operators_see_refused_policies_and_traces_that_wait():
    async with testing.controller() as controller:
        app, settings = testing.interceptor(controller.target, base_url="http://127.0.0.1:9/v1")
        server = ServiceServer(app, settings)
        addresses = await server.start()
        try:
            bad = online(provider="nobody")
            controller.changes.put_nowait(change(4, bad, snapshot=True))
            await testing.until(lambda: app.applied_revision == 4)
            async with rpc.connect(addresses.grpc, token="suite-token") as channel:
                stub = InterceptorServiceStub(channel)
                reply = await stub.GetInterceptor(interceptor_v1.GetInterceptorRequest(), timeout=5)
            assert list(reply.rejected) == ["policies/live"]
            assert reply.watching
            assert (reply.applied_revision, reply.buffered_trace_byte_count) == (4, 0)
        finally:
            await server.stop()


async def test_traces_are_not_to_be_had_over_http_with_a_token_or_without():
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        await served(running)
        await post(running)
        await traced(running)
        for headers in ({}, OURS):
            for cid in ("roll-7", running.token()):
                url = f"{running.root}/api/interceptor/v1/trace/by-correlation/{cid}"
                async with session.get(url, headers=headers) as response:
                    assert response.status == 404

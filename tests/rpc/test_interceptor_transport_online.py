"""Online calls in callbacks: clients that leave, answers that are late, policies not here yet."""

import asyncio
import gc
import json
from typing import Any

import aiohttp
import pytest

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.online_call import OnlineCall
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion, events

OURS = {"authorization": "Bearer suite-token"}


def body(query: str = "where", **more: Any) -> bytes:
    messages = [
        {"role": "system", "content": BASELINE},
        {"role": "user", "content": f"Query: {query}"},
    ]
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


def live() -> policy_v1.Policy:
    return policy_v1.Policy(
        name="policies/live",
        version=1,
        job="jobs/1",
        stages=[testing.stage_policy()],
        candidates=[policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)],
    )


async def watched(running: Any) -> str:
    """Serves the policy by its watch, so that nothing has to be fetched."""
    changes = running.controller.changes
    change = policy_v1.WatchPoliciesResponse(revision=4, snapshot=True, policies=[live()])
    changes.put_nowait(change)
    await testing.until(lambda: running.app.applied_revision == 4)
    return f"{running.root}/p/live/v1/chat/completions"


async def sent(running: Any, data: bytes) -> tuple[Any, Any]:
    """Sends a call over a bare socket."""
    host, _, port = running.app.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /p/live/v1/chat/completions HTTP/1.1\r\nhost: h\r\n"
        f"authorization: Bearer suite-token\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    return reader, writer


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_provider_s_work_at_once(stream):
    gate = asyncio.Event()

    def answer(request: Any) -> Script:
        if stream:
            return Script(body=events(), content_type="text/event-stream", cut=200, gate=gate)
        return Script(body=completion(), gate=gate)

    async with testing.suite(answer) as running:
        await watched(running)
        reader, writer = await sent(running, body(stream=stream))
        await testing.until(lambda: len(running.provider.requests) == 1)
        if stream:
            await reader.readuntil(b"data: ")
        writer.close()
        connections = running.provider._server._connections
        await testing.until(lambda: all(one._half_closed for one in connections))
        await testing.until(lambda: running.app._http.inflight == 0)
        await testing.until(lambda: len(running.controller.traces) == 1)
        gate.set()


async def test_comments_keep_a_stream_alive_until_its_first_event(monkeypatch):
    monkeypatch.setenv("BURNISH_HTTP_KEEP_ALIVE_SECONDS", "0.1")
    gate = asyncio.Event()

    def answer(request: Any) -> Script:
        return Script(body=events(), content_type="text/event-stream", gate=gate)

    async with testing.suite(answer) as running:
        await watched(running)
        reader, writer = await sent(running, body(stream=True))
        early = await asyncio.wait_for(reader.readuntil(b": keep-alive\n\n"), 10)
        assert early.startswith(b"HTTP/1.1 200")
        assert b"text/event-stream" in early
        assert b"data:" not in early
        gate.set()
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        events_from = rest.index(b"data:")
        assert b": keep-alive" not in rest[events_from:]
        assert b"data: [DONE]" in rest
        writer.close()


async def test_no_comment_is_sent_where_no_stream_was_promised(monkeypatch):
    monkeypatch.setenv("BURNISH_HTTP_KEEP_ALIVE_SECONDS", "0.05")
    gate = asyncio.Event()

    def answer(request: Any) -> Script:
        return Script(status=429, body=b"{}", headers={"retry-after": "7"}, gate=gate)

    async with testing.suite(answer) as running:
        await watched(running)
        reader, writer = await sent(running, body(stream=True))
        early = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        done, _ = await asyncio.wait([early], timeout=0.3)
        assert not done
        gate.set()
        reply = await asyncio.wait_for(early, 10)
        assert reply.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 7" in reply
        writer.close()


async def test_calls_of_one_form_are_each_served_their_own_words():
    def answer(request: Any) -> Script:
        said = json.loads(request.body)["messages"][-1]["content"]
        return Script(body=completion(said))

    async with testing.suite(answer, instruction="Name it.") as running:
        url = await watched(running)
        async with aiohttp.ClientSession() as session:
            for query in ["a", "b", 'c "d"', "é\n\\", "e" * 5000, "f", "g"]:
                async with session.post(url, data=body(query), headers=OURS) as response:
                    reply = await response.json()
                    assert reply["choices"][0]["message"]["content"] == f"Query: {query}"
                    assert float(response.headers["x-burnish-overhead-ms"]) >= 0
        assert all(sent["messages"][0]["content"] == "Name it." for sent in running.provider.bodies)
        await testing.until(lambda: len(running.controller.traces) == 7)
        said = [json.loads(t.call.app_request) for t in running.controller.traces.values()]
        assert len({one["messages"][1]["content"] for one in said}) == 7


async def test_a_drain_waits_for_online_calls_and_breaks_none():
    gate = asyncio.Event()

    def answer(request: Any) -> Script:
        return Script(body=events(), content_type="text/event-stream", cut=300, gate=gate)

    async with testing.suite(answer) as running:
        await watched(running)
        reader, writer = await sent(running, body(stream=True))
        await reader.readuntil(b"data: ")
        drain = asyncio.ensure_future(running.app.drain())
        await asyncio.sleep(0.05)
        assert not drain.done()
        gate.set()
        assert (await reader.readuntil(b"0\r\n\r\n")).rstrip().endswith(b"0")
        await asyncio.wait_for(drain, 10)
        writer.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_is_over_is_freed_without_the_collector(stream):
    def answer(request: Any) -> Script:
        if stream:
            return Script(body=events(), content_type="text/event-stream")
        return Script(body=completion())

    async with testing.suite(answer) as running, aiohttp.ClientSession() as session:
        url = await watched(running)
        gc.collect()
        gc.disable()
        try:
            for number in range(5):
                data = body(f"query {number}", stream=stream)
                async with session.post(url, data=data, headers=OURS) as response:
                    await response.read()
            _, writer = await sent(running, body(stream=stream))
            await testing.until(lambda: len(running.provider.requests) == 6)
            writer.close()
            await testing.until(lambda: running.app._http.inflight == 0)
            left = [one for one in gc.get_objects() if isinstance(one, OnlineCall)]
            assert left == []
        finally:
            gc.enable()

"""Traces over a real channel: stored once, listed in order, priced, and written in format 3."""

import contextlib
import json
import sqlite3
from typing import Any

import pytest
import zstandard

from burnish import rpc
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.trace import v1 as trace_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument, NotFound
from burnish_controller.testing import World, small_job

REQUEST: dict[str, Any] = {
    "model": "gpt-x",
    "temperature": 0.5,
    "messages": [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "where is it"},
    ],
}
REPLY = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "arrival"},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
}  # fmt: skip
CANARY = "let the walrus decide"


class Traced(World):
    """A world with a stub of the trace service."""

    traces: trace_v1.TraceServiceStub


@pytest.fixture
async def traces(tmp_path):
    async with Traced(tmp_path) as world, rpc.connect(world.target, token="test-token") as channel:
        world.traces = trace_v1.TraceServiceStub(channel)
        yield world


def trace(call_id, rollout="roll-1", *, second=0, candidate="cand_1", version=1, **more):
    sent = {**REQUEST, "messages": [{"role": "system", "content": CANARY}, REQUEST["messages"][1]]}
    call = ledger_v1.CallTrace(
        stage_id="main",
        candidate_id=candidate,
        app_request=json.dumps(REQUEST).encode(),
        provider_request=json.dumps(sent).encode(),
    )
    call.start_time.FromSeconds(1_700_000_000 + second)
    call.latency.FromMilliseconds(250)
    return trace_v1.Trace(
        call_id=call_id,
        rollout_id=rollout,
        policy="policies/live",
        policy_version=version,
        call=call,
        reply=ledger_v1.CallReply(
            status=200, content_type="application/json", body=json.dumps(REPLY).encode()
        ),
        usage=types_v1.Usage(input_tokens=11, output_tokens=3, call_count=1),
        provider="openai",
        model="gpt-4o-mini",
        trace_id="a" * 32,
        **more,
    )


async def write(world, *found, **fields):
    request = trace_v1.WriteTracesRequest(node_id="n", traces=found, **fields)
    async with rpc.translated():
        return await world.traces.WriteTraces(request, timeout=10)


async def listed(world, rollout="roll-1", **fields):
    async with rpc.translated():
        request = trace_v1.ListTracesRequest(rollout_id=rollout, **fields)
        return await world.traces.ListTraces(request, timeout=10)


async def session(world, rollout="roll-1", **fields):
    async with rpc.translated():
        request = trace_v1.GetSessionTraceRequest(rollout_id=rollout, **fields)
        response = await world.traces.GetSessionTrace(request, timeout=10)
    return json.loads(response.session_trace)


async def test_traces_are_stored_once_and_listed_in_the_order_their_calls_began(traces):
    await write(traces, trace("b", second=2), trace("c", second=1))
    await write(traces, trace("c", second=1), trace("a", second=3))
    found = await listed(traces, page_size=2)
    assert [one.call_id for one in found.traces] == ["c", "b"]
    rest = await listed(traces, page_token=found.next_page_token)
    assert [one.call_id for one in rest.traces] == ["a"]


async def test_a_known_price_is_put_on_and_an_unknown_one_stays_unknown(traces):
    known, unknown = trace("a"), trace("b")
    unknown.model = "nobody-knows-it"
    await write(traces, known, unknown)
    costs = {one.call_id: one.usage for one in (await listed(traces)).traces}
    assert costs["a"].cost_usd > 0
    assert not costs["b"].HasField("cost_usd")


async def test_traces_without_ids_are_refused_and_the_rest_is_kept(traces):
    response = await write(traces, trace(""), trace("b"), trace("c", rollout=""))
    assert {one.reason for one in response.rejected.values()} == {"TRACE_INVALID"}
    assert [one.call_id for one in (await listed(traces)).traces] == ["b"]
    with pytest.raises(InvalidArgument):
        await write(traces, *(trace(f"x{n}") for n in range(1025)))


def columns(*calls):
    found = trace_v1.TraceColumns()
    shared = found.shared.add().trace
    shared.policy, shared.provider, shared.model = "policies/live", "openai", "gpt-4o-mini"
    for position, call_id in enumerate(calls):
        found.shared_indexes.append(0)
        found.call_ids.append(call_id)
        found.rollout_ids.append("roll-1")
        for bodies, body in (
            (found.app_requests, json.dumps(REQUEST).encode()),
            (found.replies, json.dumps(REPLY).encode()),
            (found.bindings, b""),
        ):
            bodies.joined += body
            bodies.lengths.append(len(body))
        found.reply_statuses.append(200)
        found.streams.append(False)
        found.start_times.append(1_700_000_000 + position)
        for column in (found.latencies, found.first_byte_latencies, found.overheads):
            column.append(0.25)
        found.input_tokens.append(11)
        found.output_tokens.append(3)
        found.match_ratios.append(-1)
        found.trace_ids.append("")
    return found


async def test_traces_in_columns_are_stored_like_any_other(traces):
    for _ in range(2):
        await write(traces, columns=columns("b", "a"))
    found = (await listed(traces)).traces
    assert [one.call_id for one in found] == ["b", "a"]
    assert found[0].usage.cost_usd > 0
    assert not found[0].HasField("match_ratio")
    event = (await session(traces))["event_history"][0]
    assert event["call_records"][0]["output_text"] == "arrival"


def packed(found, *, frames=1):
    """The same with its bodies compressed, in frames one after another."""
    for bodies in (found.app_requests, found.replies):
        step = -(-len(bodies.joined) // frames)
        pieces = [bodies.joined[at : at + step] for at in range(0, len(bodies.joined), step)]
        bodies.zstd = b"".join(zstandard.compress(piece) for piece in pieces)
        bodies.ClearField("joined")
    return found


@pytest.mark.parametrize("frames", [1, 3])
async def test_compressed_bodies_are_stored_like_any_other(traces, frames):
    await write(traces, columns=packed(columns("b", "a"), frames=frames))
    found = (await listed(traces)).traces
    assert [one.call_id for one in found] == ["b", "a"]
    assert found[1].call.app_request == json.dumps(REQUEST).encode()
    event = (await session(traces))["event_history"][0]
    assert event["call_records"][0]["output_text"] == "arrival"


async def test_compressed_bodies_that_do_not_unpack_are_refused(traces):
    endless, garbage, cut = (packed(columns("a")) for _ in range(3))
    endless.replies.zstd = zstandard.compress(bytes(100_000_000))
    garbage.replies.zstd = b"no frame"
    cut.replies.zstd = cut.replies.zstd[:-5]
    for broken in (endless, garbage, cut):
        with pytest.raises(InvalidArgument, match="replies"):
            await write(traces, columns=broken)
    with pytest.raises(NotFound):
        await listed(traces)


@pytest.mark.parametrize("column", ["replies", "shared_indexes", "bindings", "input_tokens"])
async def test_columns_that_do_not_tell_the_same_calls_are_refused(traces, column):
    broken = columns("a", "b")
    values = getattr(broken, column)
    del getattr(values, "lengths", values)[1:]
    with pytest.raises(InvalidArgument, match=column):
        await write(traces, columns=broken)
    broken = columns("a", "b")
    for lengths in ((1, 1), (-1, len(broken.replies.joined) + 1)):
        broken.replies.lengths[:] = lengths
        with pytest.raises(InvalidArgument, match="replies"):
            await write(traces, columns=broken)
    astray = columns("a")
    astray.shared_indexes[0] = 7
    with pytest.raises(InvalidArgument, match="shared"):
        await write(traces, columns=astray)


@pytest.mark.parametrize(
    ("second", "mixed"),
    [({}, False), ({"candidate": ""}, False), ({"candidate": "cand_2"}, True),
     ({"version": 2}, True), ({"candidate": "", "arm": "baseline"}, True)],
)  # fmt: skip
async def test_a_rollout_that_saw_two_candidates_or_versions_is_marked(traces, second, mixed):
    await write(traces, trace("a", arm="winner"), trace("b", **second))
    assert {one.mixed for one in (await listed(traces)).traces} == {mixed}
    assert (await session(traces))["metadata"]["mixed"] is mixed


async def test_a_session_shows_the_apps_own_messages_and_nothing_of_the_candidate(traces):
    await write(traces, trace("a"))
    for form in (trace_v1.TRACE_FORM_SESSION, trace_v1.TRACE_FORM_COMPACT):
        document = json.dumps(await session(traces, form=form))
        assert "Sort it." in document
        assert CANARY not in document
        assert "cand_1" not in document
        full = json.dumps(await session(traces, form=form, view=trace_v1.TRACE_VIEW_PROVIDER))
        assert CANARY in full


async def test_a_journaled_call_of_a_job_reads_like_any_other(traces):
    await traces.create(small_job())
    await traces.finished()
    with contextlib.closing(sqlite3.connect(traces.state_dir / "controller.db")) as database:
        (rollout,) = database.execute("SELECT scope FROM calls LIMIT 1").fetchone()
    document = await session(traces, rollout)
    assert len(document["event_history"]) == 1
    assert document["event_history"][0]["model_name"] == "fake"


async def test_a_rollout_that_nobody_saw_is_not_found(traces):
    with pytest.raises(NotFound):
        await listed(traces, "nobody")
    with pytest.raises(NotFound):
        await session(traces, "nobody")

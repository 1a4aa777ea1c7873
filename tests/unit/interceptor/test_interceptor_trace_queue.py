"""Traces on their way to the controller: bounded in bytes, sent in batches, never lost unsaid."""

import asyncio
import hashlib
import tracemalloc
from dataclasses import replace

import pytest

from burnish.errors import InvalidArgument, Unavailable
from burnish_interceptor import convert_trace, testing
from burnish_interceptor.calls import Problem
from burnish_interceptor.seen import SeenCall, Served, trace_context
from burnish_interceptor.trace_batch import TraceBatch
from burnish_interceptor.trace_queue import TraceQueue, TraceSettings, TraceSettingsInvalid
from burnish_runtime import trace_columns

SERVED = Served(
    mode="online",
    provider="openai",
    model="gpt-x",
    policy_id="live",
    policy_version=3,
    stage_id="main",
    candidate_id="cand_1",
    arm="winner",
    price=(1.0, 2.0),
)


def call(number=0, size=0, **more):
    given = {
        "served": SERVED,
        "call_id": f"call-{number}",
        "rollout_id": "roll",
        "status": 200,
        "start_time": 1_700_000_000.25,
        "latency": 0.5,
        "app_request": b"x" * size,
        **more,
    }
    return SeenCall(**given)


def written(seen, kept):
    (found,) = trace_columns.traces(columns([seen], kept))
    return found


def columns(calls, kept="off"):
    batch = TraceBatch(kept)
    batch.extend(calls[:1])
    batch.extend(calls[1:])
    return convert_trace.traces_request("n", batch, dropped=0).columns


class Sink:
    """A controller that a test takes away and brings back."""

    def __init__(self):
        self.away = False
        self.refusing = False
        self.batches = []
        self.dropped = 0
        self.tries = 0

    async def write(self, batch, *, dropped):
        self.tries += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("gone")
        if self.refusing:
            raise InvalidArgument("never")
        self.batches.append(list(batch.call_ids))
        self.dropped += dropped
        return 0

    @property
    def written(self):
        return [one for batch in self.batches for one in batch]


@pytest.fixture
async def sink():
    return Sink()


async def test_everything_put_arrives_in_order_in_batches_that_fit_a_message(sink):
    queue = TraceQueue(sink)
    queue.start()
    for number in range(0, 1_200, 16):
        queue.extend([call(number + more) for more in range(16)])
    await queue.drain()
    assert sink.written == [f"call-{number}" for number in range(1_200)]
    assert [len(batch) for batch in sink.batches] == [1024, 176]
    assert (queue.byte_count, len(queue), queue.dropped_count) == (0, 0, 0)
    sink.batches.clear()
    for number in range(4):
        queue.extend([call(number, size=600_000)])
    await queue.drain()
    assert [len(batch) for batch in sink.batches] == [3, 1]
    await queue.stop()


async def test_traces_that_never_stop_coming_still_wait_for_company(sink):
    queue = TraceQueue(sink)
    write = sink.write

    async def slow(batch, *, dropped):
        await asyncio.sleep(0.003)
        return await write(batch, dropped=dropped)

    sink.write = slow
    queue.start()
    for number in range(900):
        queue.extend([call(number)])
        await asyncio.sleep(0.001)
    await queue.drain()
    assert sink.written == [f"call-{number}" for number in range(900)]
    assert len(sink.batches) < 30, "a batch for each little that came while another left"
    await queue.stop()


async def test_packed_traces_take_the_memory_that_they_are_counted_for(sink):
    queue = TraceQueue(sink)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(0, 320, 8):
            queue.extend([call(number + more, size=60_000) for more in range(8)])
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(queue) == 320
    assert after - before < queue.byte_count + 600_000


async def test_a_body_too_large_for_a_message_is_left_out(sink):
    queue = TraceQueue(sink)
    queue.extend([call(size=3_000_000)])
    assert queue.byte_count < 10_000


async def test_a_controller_that_is_away_loses_nothing_within_the_bound(sink):
    sink.away = True
    queue = TraceQueue(sink, settings=TraceSettings(max_bytes=1_000_000))
    queue.start()
    for number in range(50):
        queue.extend([call(number, size=1_000)])
    await testing.until(lambda: sink.tries >= 2)
    assert len(queue) == 50
    sink.away = False
    await queue.drain()
    assert sink.written == [f"call-{number}" for number in range(50)]
    assert sink.dropped == 0
    await queue.stop()


async def test_what_is_beyond_the_bound_is_counted_and_told_once_the_controller_is_back(sink):
    sink.away = True
    queue = TraceQueue(sink, settings=TraceSettings(max_bytes=50_000))
    queue.start()
    for number in range(100):
        queue.extend([call(number, size=1_000)])
        assert queue.byte_count <= 50_000
    kept = len(queue)
    assert 0 < kept < 100
    assert queue.dropped_count == 100 - kept
    sink.away = False
    await queue.drain()
    assert (len(sink.written), sink.dropped) == (kept, 100 - kept)
    await queue.stop()


async def test_drops_during_the_last_batch_are_told_though_nothing_follows(sink):
    queue = TraceQueue(sink, settings=TraceSettings(max_bytes=3_000))
    writing = asyncio.Event()
    gate = asyncio.Event()
    write = sink.write

    async def held(batch, *, dropped):
        writing.set()
        await gate.wait()
        return await write(batch, dropped=dropped)

    sink.write = held
    queue.start()
    queue.extend([call(0, size=1_000)])
    await writing.wait()
    queue.extend([call(1, size=2_000)])
    gate.set()
    await queue.drain()
    assert (sink.written, sink.dropped) == (["call-0"], 1)
    await queue.stop()


async def test_a_batch_that_is_refused_for_good_does_not_hold_up_the_rest(sink):
    sink.refusing = True
    queue = TraceQueue(sink)
    queue.start()
    queue.extend([call(0)])
    await testing.until(lambda: queue.dropped_count == 1)
    sink.refusing = False
    queue.extend([call(1)])
    await queue.drain()
    assert (sink.written, sink.dropped) == (["call-1"], 1)
    await queue.stop()


def test_the_bound_and_what_is_kept_are_settings():
    given = {"BURNISH_TRACE_BUFFER_BYTES": "1000", "BURNISH_TRACE_PROVIDER_REQUEST": "full"}
    assert TraceSettings.from_environment(given) == TraceSettings(
        max_bytes=1000, provider_request="full"
    )
    assert TraceSettings.from_environment({}) == TraceSettings()
    with pytest.raises(TraceSettingsInvalid) as error:
        TraceSettings.from_environment({name: "-5" for name in given})
    assert "BUFFER_BYTES" in error.value.message
    assert "PROVIDER_REQUEST" in error.value.message


@pytest.mark.parametrize("kept", ["full", "hash", "off"])
def test_a_trace_holds_the_call_and_of_the_providers_request_what_is_asked_for(kept):
    body = b'{"messages":[]}'
    seen = call(
        provider_request=body,
        reply=b"{}",
        reply_status=200,
        usage=(1_000, 500),
        match_ratio=0.0,
        overhead=0.000123,
        call_id="req_" + "ab" * 16,
        bindings={"query": "where"},
    )
    message = written(seen, kept)
    assert message.call.provider_request == (body if kept == "full" else b"")
    hashed = hashlib.sha256(body).digest()
    assert message.provider_request_hash == (hashed if kept == "hash" else b"")
    assert (message.policy, message.policy_version, message.arm) == ("policies/live", 3, "winner")
    assert message.call.start_time.ToNanoseconds() == 1_700_000_000_250_000_000
    assert message.call.latency.ToMilliseconds() == 500
    assert message.overhead.ToNanoseconds() == pytest.approx(123_000, abs=1)
    assert message.HasField("match_ratio")
    assert message.usage.cost_usd == pytest.approx(0.002)
    assert message.call.bindings == {"query": "where"}
    assert message.trace_id == "ab" * 16


def test_calls_of_one_batch_keep_what_is_their_own_and_share_the_rest():
    other = replace(SERVED, arm="baseline", candidate_id="", price=None)
    calls = [
        call(0, usage=(1, 2)),
        call(1)._replace(served=other, usage=(3, 4)),
        call(2, problem=Problem(reason="GONE", message="gone", retryable=True)),
        call(3, reply=b"data: x", reply_status=200, stream=True),
    ]
    told = columns(calls)
    assert len(told.shared) == 2
    found = trace_columns.traces(told)
    assert [one.call_id for one in found] == [f"call-{number}" for number in range(4)]
    assert [one.arm for one in found] == ["winner", "baseline", "winner", "winner"]
    assert [one.usage.HasField("cost_usd") for one in found] == [True, False, False, False]
    assert [one.HasField("usage") for one in found] == [True, True, False, False]
    assert [one.failure.reason for one in found] == ["", "", "GONE", ""]
    assert [one.reply.content_type for one in found] == ["", "", "", "text/event-stream"]


def test_a_call_without_an_answer_says_why():
    problem = Problem(reason="UPSTREAM_CLOSED", message="gone", retryable=True)
    message = written(call(problem=problem), "off")
    assert message.failure.reason == "UPSTREAM_CLOSED"
    assert not message.HasField("reply")
    assert not message.HasField("usage")
    assert not message.HasField("match_ratio")


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "followed"),
    [(f"00-{TRACE}-{SPAN}-01", True), (f"00-{TRACE}-{SPAN}-00", True),
     (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True), ("", False), ("rubbish", False),
     (f"ff-{TRACE}-{SPAN}-01", False), (f"00-{'0' * 32}-{SPAN}-01", False),
     (f"00-{TRACE}-{'0' * 16}-01", False), (f"00-{TRACE.upper()}-{SPAN}-01", False),
     (f"00-{TRACE}-{SPAN}", False), (f"00-{TRACE}-{SPAN}-01\r\nx: y", False)],
)  # fmt: skip
def test_the_apps_trace_is_gone_on_with_when_it_is_valid(given, followed):
    own = "0123456789abcdef" * 2
    found = trace_context(given, call=own)
    assert found.trace_id == (TRACE if followed else own)
    assert found.parent_span_id == (SPAN if followed else "")
    assert found.span_id == own[:16]
    assert found.traceparent.count("-") == 3


def test_calls_have_their_own_trace_unless_the_app_names_one():
    ids = [f"req_{number:032x}" for number in range(1, 6)]
    theirs = "a" * 32
    calls = [call(call_id=one) for one in ids]
    calls[3] = call(call_id=ids[3], traceparent=f"00-{theirs}-{'b' * 16}-01")
    batch = TraceBatch("off")
    batch.extend(calls[:2])
    assert not batch.trace_ids
    batch.extend(calls[2:4])
    batch.extend(calls[4:])
    told = convert_trace.traces_request("n", batch, dropped=0).columns
    own = [one[-32:] for one in ids]
    assert [one.trace_id for one in trace_columns.traces(told)] == [*own[:3], theirs, own[4]]

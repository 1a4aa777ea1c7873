"""Stored traces: each once, within a bound, and the oldest make room."""

import pytest

from burnish.api.trace import v1 as trace_v1
from burnish.errors import InvalidArgument
from burnish_controller.store.database import open_database
from burnish_controller.store.traces import DEFAULT_MAX_BYTES, TraceStore, max_bytes_from
from burnish_controller.store.writer import Writer


@pytest.fixture
async def opened(tmp_path):
    database = await open_database(tmp_path)
    writer = Writer(database.write_engine)
    writer.start()
    yield database, writer
    await writer.close()
    await database.close()


def trace(number, size=1_000):
    found = trace_v1.Trace(call_id=f"c{number:05}", rollout_id=f"r{number}")
    found.call.app_request = b"x" * size
    return found


def store(opened, max_bytes=DEFAULT_MAX_BYTES):
    ticks = iter(range(1_000_000))
    return TraceStore(*opened, tenant="t", max_bytes=max_bytes, clock=lambda: float(next(ticks)))


async def kept(traces, numbers):
    return [number for number in numbers if await traces.of_rollout(f"r{number}")]


async def test_a_trace_is_stored_once(opened):
    traces = store(opened)
    assert len(await traces.add([trace(1), trace(2), trace(1)])) == 2
    assert await traces.add([trace(2)]) == []
    assert await traces.add([]) == []


async def test_beyond_the_bound_the_oldest_make_room_also_after_a_restart(opened):
    traces = store(opened, max_bytes=1_000_000)
    for start in range(0, 2_000, 500):
        await traces.add([trace(number) for number in range(start, start + 500)])
    left = await kept(traces, range(0, 2_000, 100))
    assert left
    assert left == [number for number in range(0, 2_000, 100) if number >= left[0]]
    assert left[-1] == 1_900
    assert left[0] >= 1_000
    again = store(opened, max_bytes=1_000)
    await again.add([trace(5_000)])
    assert await kept(again, range(0, 2_000, 100)) == []


async def test_tenants_do_not_make_room_for_each_other(opened):
    other = TraceStore(*opened, tenant="other")
    await other.add([trace(1)])
    small = store(opened, max_bytes=100)
    await small.add([trace(2)])
    assert len(await other.of_rollout("r1")) == 1
    assert await small.of_rollout("r1") == []


def test_the_bound_is_a_setting():
    assert max_bytes_from({}) == DEFAULT_MAX_BYTES
    assert max_bytes_from({"BURNISH_TRACE_STORE_BYTES": "500"}) == 500
    with pytest.raises(InvalidArgument, match="BURNISH_TRACE_STORE_BYTES"):
        max_bytes_from({"BURNISH_TRACE_STORE_BYTES": "4 GiB"})

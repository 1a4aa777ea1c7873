"""Pausing, resuming, cancelling and restarting jobs over a real channel."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from dbos import DBOS

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.errors import FailedPrecondition
from burnish_controller.testing import World, small_job
from burnish_controller.testing.program import Fate

PAUSING, PAUSED, RUNNING = (
    job_v1.JOB_STATE_PAUSING, job_v1.JOB_STATE_PAUSED, job_v1.JOB_STATE_RUNNING,
)  # fmt: skip
CANCELLING, CANCELLED = job_v1.JOB_STATE_CANCELLING, job_v1.JOB_STATE_CANCELLED


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        yield running


async def pause(world: World) -> job_v1.Job:
    async with rpc.translated():
        request = job_v1.PauseJobRequest(name="jobs/job1")
        return (await world.jobs.PauseJob(request, timeout=10)).job


async def resume(world: World) -> job_v1.Job:
    async with rpc.translated():
        request = job_v1.ResumeJobRequest(name="jobs/job1")
        return (await world.jobs.ResumeJob(request, timeout=10)).job


async def cancel(world: World) -> job_v1.Job:
    async with rpc.translated():
        request = job_v1.CancelJobRequest(name="jobs/job1")
        return (await world.jobs.CancelJob(request, timeout=10)).job


async def until(world: World, state: int) -> None:
    async with asyncio.timeout(20):
        while (await world.job()).state != state:  # noqa: ASYNC110 - a pause is polled
            await asyncio.sleep(0.01)


async def running_rollouts(world: World) -> None:
    async with asyncio.timeout(20):
        while not world.program.running:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.005)


async def held(world: World, **fields: object) -> None:
    """Creates a job whose first rollouts wait at the gate."""
    world.program.gate.clear()
    await world.create(small_job(**fields))
    await running_rollouts(world)


def states(events: list[job_v1.JobEvent]) -> list[int]:
    return [one.state_changed.to_state for one in events if one.HasField("state_changed")]


async def test_a_paused_job_waits_until_it_is_resumed_and_then_finishes(world):
    await held(world)
    assert (await pause(world)).state == PAUSING
    world.program.gate.set()
    await until(world, PAUSED)
    paid = world.program.paid.total()
    await asyncio.sleep(0.05)
    assert world.program.paid.total() == paid < 20
    assert (await resume(world)).state == RUNNING
    events = await world.finished()
    assert states(events) == [
        job_v1.JOB_STATE_PENDING, RUNNING, PAUSING, PAUSED, RUNNING, job_v1.JOB_STATE_SUCCEEDED,
    ]  # fmt: skip
    assert set(world.program.paid.values()) == {1}


async def test_pausing_twice_and_resuming_twice_are_each_logged(world):
    await held(world)
    await pause(world)
    await pause(world)
    await resume(world)
    await resume(world)
    await pause(world)
    world.program.gate.set()
    await until(world, PAUSED)
    await resume(world)
    events = await world.finished()
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    assert states(events)[2:-1] == [PAUSING, RUNNING, PAUSING, PAUSED, RUNNING]
    for one in (one.state_changed for one in events if one.HasField("state_changed")):
        assert one.from_state != one.to_state


async def undisturbed(folder: Path) -> job_v1.JobResult:
    """What the small job finds when it is left alone."""
    async with World(folder) as alone:
        await alone.create(small_job())
        await alone.finished()
        return await alone.result()


async def test_a_paused_job_has_the_same_result_as_one_left_alone(tmp_path):
    wanted = await undisturbed(tmp_path / "alone")
    async with World(tmp_path / "paused") as world:
        await held(world)
        await pause(world)
        world.program.gate.set()
        await until(world, PAUSED)
        await resume(world)
        await world.finished()
        assert (await world.result()).candidates == wanted.candidates


PHASES = {
    "before it began": None,
    "check": "phase: check",
    "baseline": "phase: baseline",
    "bootstrap": "phase: bootstrap",
    "propose": "phase: propose",
    "search": "phase: search",
    "test": "phase: test",
}


@pytest.mark.parametrize("message", PHASES.values(), ids=PHASES.keys())
async def test_a_cancelled_job_ends_cancelled_whatever_it_was_doing(world, message):
    await world.create(small_job())
    if message is not None:
        async for event in world.watch():
            if event.message == message:
                break
    assert (await cancel(world)).state in {CANCELLING, CANCELLED}
    events = await world.finished()
    assert states(events)[-2:] == [CANCELLING, CANCELLED]
    job = await world.job()
    assert job.state == CANCELLED
    assert job.termination_reason == job_v1.TERMINATION_REASON_CANCELLED
    assert not any(one.HasField("winner_chosen") for one in events)
    assert world.program.running == 0


async def test_a_paused_job_can_be_cancelled(world):
    await held(world)
    await pause(world)
    world.program.gate.set()
    await until(world, PAUSED)
    await cancel(world)
    assert states(await world.finished())[-3:] == [PAUSED, CANCELLING, CANCELLED]


async def test_a_job_that_is_being_cancelled_cannot_be_paused_and_still_ends(world):
    await held(world)
    await cancel(world)
    with pytest.raises(FailedPrecondition) as refused:
        await pause(world)
    assert refused.value.reason == "JOB_NOT_RUNNING"
    world.program.gate.set()
    assert states(await world.finished())[-1] == CANCELLED


async def test_cancelling_again_and_after_the_end_changes_nothing(world):
    await held(world)
    await cancel(world)
    await cancel(world)
    world.program.gate.set()
    events = await world.finished()
    assert states(events).count(CANCELLING) == 1
    assert (await cancel(world)).state == CANCELLED
    assert len(await world.finished()) == len(events)


async def test_an_ended_job_can_be_neither_paused_nor_resumed(world):
    await held(world)
    await cancel(world)
    world.program.gate.set()
    await world.finished()
    for call in (pause, resume):
        with pytest.raises(FailedPrecondition) as refused:
            await call(world)
        assert refused.value.reason == "JOB_NOT_RUNNING"


async def test_a_cancel_while_the_baseline_is_learnt_is_no_failure(world):
    spec = small_job()
    del spec.stages[:]
    world.program.gate.clear()
    await world.create(spec)
    await running_rollouts(world)
    world.program.fate = lambda number: Fate.UNSENT
    await cancel(world)
    world.program.gate.set()
    assert states(await world.finished())[-1] == CANCELLED


# Restarts.


async def test_a_stopped_controller_goes_on_where_it_was_and_pays_nothing_twice(tmp_path):
    wanted = await undisturbed(tmp_path / "alone")
    async with World(tmp_path / "stopped") as world:
        await world.create(small_job())
        await world.reached("baseline_evaluated")
        await world.stop()
        await world.start()
        await world.finished()
        found = await world.result()
    assert set(world.program.paid.values()) == {1}
    assert found.candidates == wanted.candidates
    assert found.history == wanted.history


@pytest.mark.parametrize("kind", ["component_added", "bootstrap_completed", "trial_started"])
async def test_a_restart_in_any_phase_leaves_a_log_without_gaps_or_repeats(world, kind):
    await world.create(small_job())
    await world.reached(kind)
    await world.stop()
    await world.start()
    events = await world.finished()
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    kept = [
        one.SerializeToString()
        for one in events
        if one.WhichOneof("kind") not in {"progress", "budget_updated"}
        and not one.ClearField("event_time")
        and not one.ClearField("sequence")
    ]
    assert len(set(kept)) == len(kept)
    assert (await world.job()).state == job_v1.JOB_STATE_SUCCEEDED


async def test_a_pause_is_remembered_over_a_restart(world):
    await held(world)
    await pause(world)
    world.program.gate.set()
    await until(world, PAUSED)
    await world.stop()
    await world.start()
    assert (await world.job()).state == PAUSED
    paid = world.program.paid.total()
    await asyncio.sleep(0.1)
    assert world.program.paid.total() == paid
    await resume(world)
    assert states(await world.finished())[-3:] == [PAUSED, RUNNING, job_v1.JOB_STATE_SUCCEEDED]


async def test_a_cancel_is_remembered_over_a_restart(world):
    await held(world)
    await cancel(world)
    await world.stop()
    world.program.gate.set()
    await world.start()
    assert states(await world.finished())[-2:] == [CANCELLING, CANCELLED]


async def test_an_engine_that_closes_longer_than_a_drain_may_last_is_waited_for(world, monkeypatch):
    await held(world)
    await running_rollouts(world)
    destroy, closed = DBOS.destroy, threading.Event()

    def slowly(**options: bool) -> None:
        destroy(**options)
        # Longer than the world's second of draining: what a busy machine makes of it.
        threading.Event().wait(1.5)
        closed.set()

    monkeypatch.setattr(DBOS, "destroy", slowly)
    await world.stop()
    assert closed.is_set()
    assert await asyncio.to_thread(lambda: "threads") == "threads"
    await world.start()
    world.program.gate.set()
    events = await world.finished()
    assert events[-1].state_changed.to_state == job_v1.JOB_STATE_SUCCEEDED


async def test_a_job_that_has_ended_is_not_touched_by_a_restart(world):
    await world.create(small_job())
    before = await world.finished()
    paid = world.program.paid.total()
    await world.stop()
    await world.start()
    assert await world.finished() == before
    assert world.program.paid.total() == paid


async def test_a_job_whose_end_was_never_written_fails_at_the_next_start(world):
    await held(world)
    await world.stop()
    with sqlite3.connect(world.state_dir / "controller.db") as database:
        database.execute("UPDATE workflow_status SET status = 'ERROR' WHERE workflow_uuid = 'job1'")
    database.close()
    world.program.gate.set()
    await world.start()
    events = await world.finished()
    failed = events[-1].state_changed
    assert (failed.to_state, failed.failure.reason) == (job_v1.JOB_STATE_FAILED, "JOB_LOST")
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))

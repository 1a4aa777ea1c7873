"""How jobs end: the bill first, the final state last, and both although the disk is full."""

import asyncio

import pytest
from sqlalchemy.exc import OperationalError

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.durable import until_written
from burnish_controller.phases import ending

FULL = OperationalError("INSERT", {}, Exception("database or disk is full"))
FAILURE = types_v1.Failure(reason="NOTHING_SCORED", message="none of 6 rollouts got a reward")


class FullDisk:
    """Lets a number of writes pass and fails those that follow, until it is mended."""

    def __init__(self, writer, *, passes: int) -> None:
        self._write = writer.write
        self.passes = passes
        writer.write = self.write

    async def write(self, work):
        if self.passes <= 0:
            raise FULL
        self.passes -= 1
        return await self._write(work)


async def kinds(scene) -> list[str]:
    return [event.WhichOneof("kind") for event in await scene.events()]


async def test_a_job_that_ends_is_billed_before_its_final_state(make_scene):
    scene = await make_scene()
    await ending.begin(scene.services, scene.job.job)
    await ending.succeed(scene.services, scene.job.job)
    assert await kinds(scene) == [
        "state_changed", "billing_started", "budget_updated", "billing_ended", "job_concluded",
        "state_changed",
    ]  # fmt: skip
    (budget,) = await scene.events("budget_updated")
    assert budget.budget_updated.final
    assert scene.job.job.last_sequence == 6


async def test_a_job_that_was_cancelled_is_billed_but_not_concluded(make_scene):
    scene = await make_scene()
    await ending.cancel(scene.services, scene.job.job)
    assert await kinds(scene) == ["budget_updated", "billing_ended", "state_changed"]
    assert scene.job.job.termination_reason == job_v1.TERMINATION_REASON_CANCELLED


async def test_an_end_that_runs_again_after_a_crash_logs_nothing_twice(make_scene):
    scene = await make_scene()
    await ending.fail(scene.services, scene.job.job, FAILURE)
    once = await kinds(scene)
    await ending.fail(scene.services, scene.job.job, FAILURE)
    assert await kinds(scene) == once


@pytest.mark.parametrize("passes", range(6))
async def test_a_failure_that_cannot_be_written_is_written_when_it_can(make_scene, passes):
    scene = await make_scene()
    disk = FullDisk(scene.stores.writer, passes=passes)
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        # What nobody can read must not be believed either.
        assert scene.job.job.state == job_v1.JOB_STATE_PENDING
        waited.append(seconds)
        disk.passes = 100 if len(waited) == 3 else 0

    async def fail() -> None:
        await ending.fail(scene.services, scene.job.job, FAILURE)

    await until_written(fail, sleep=sleep)
    assert waited == [0.5, 1.0, 2.0]
    stored = await scene.stores.restarted().jobs.get("job1")
    assert (stored.state, stored.failure) == (job_v1.JOB_STATE_FAILED, FAILURE)
    assert await kinds(scene) == [
        "budget_updated", "billing_ended", "job_concluded", "state_changed",
    ]  # fmt: skip


async def test_a_change_of_state_that_was_not_stored_is_undone(make_scene):
    scene = await make_scene()
    job = scene.job.job
    disk = FullDisk(scene.stores.writer, passes=0)
    with pytest.raises(OperationalError):
        await scene.services.states.move(job, job_v1.JOB_STATE_PAUSING)
    with pytest.raises(OperationalError):
        await scene.services.states.begin(job)
    assert job.state == job_v1.JOB_STATE_PENDING
    assert not job.HasField("start_time")
    disk.passes = 100
    await scene.services.states.begin(job)
    assert job.state == job_v1.JOB_STATE_RUNNING


async def test_a_change_of_state_is_stored_and_logged_although_its_asker_is_cut_off_between(
    make_scene, eventually
):
    scene = await make_scene()
    between, go_on = asyncio.Event(), asyncio.Event()
    append = scene.services.events.append_state

    async def append_later(job_id, event):
        between.set()
        await go_on.wait()
        return await append(job_id, event)

    scene.services.events.append_state = append_later
    pausing = asyncio.create_task(
        scene.services.states.move(scene.job.job, job_v1.JOB_STATE_PAUSED)
    )
    await between.wait()
    pausing.cancel()
    await asyncio.wait([pausing])
    assert pausing.cancelled()
    go_on.set()

    async def logged() -> bool:
        return await kinds(scene) == ["state_changed"]

    await eventually(logged)
    assert scene.job.job.state == job_v1.JOB_STATE_PAUSED

"""Moves a job from state to state; each change is stored and logged once, also after a crash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.store.events import FINAL_STATES, EventLog
from burnish_controller.store.jobs import JobStore


class JobStates:
    """The one place where jobs change their state, one change after the other."""

    def __init__(self, *, jobs: JobStore, events: EventLog) -> None:
        self._jobs = jobs
        self._events = events
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()

    async def move(self, job: job_v1.Job, state: job_v1.JobState.ValueType) -> None:
        """Moves a job to a state that is not final; one that has ended stays as it is."""
        await self._whole(self._move(job, state))

    async def _move(self, job: job_v1.Job, state: job_v1.JobState.ValueType) -> None:
        async with self._changing:
            if is_final(job):
                return
            with _undone_unless_written(job):
                job.state = state
                await self._jobs.save(job)
                await self._log(job, job_v1.JobEvent(message=name_of(state)))

    async def begin(self, job: job_v1.Job) -> None:
        """Notes that a job's first phase begins; a job that was begun before goes on."""
        await self._whole(self._begin(job))

    async def _begin(self, job: job_v1.Job) -> None:
        async with self._changing:
            if job.HasField("start_time"):
                return
            now = time.time_ns()
            with _undone_unless_written(job):
                job.start_time.FromNanoseconds(now)
                if job.state == job_v1.JOB_STATE_PENDING:
                    job.state = job_v1.JOB_STATE_RUNNING
                await self._jobs.save(job, start_time=now / 1e9)
                await self._log(job, job_v1.JobEvent(message=name_of(job.state)))

    async def succeed(self, job: job_v1.Job) -> None:
        """Ends a job that did all it had to do."""
        await self._whole(self._end(job, job_v1.JOB_STATE_SUCCEEDED))

    async def cancel(self, job: job_v1.Job) -> None:
        """Ends a job that was asked to stop."""
        await self._whole(self._end(job, job_v1.JOB_STATE_CANCELLED))

    async def fail(self, job: job_v1.Job, failure: types_v1.Failure) -> None:
        """Ends a job that cannot go on."""
        await self._whole(self._end(job, job_v1.JOB_STATE_FAILED, failure=failure))

    async def _whole(self, change: Coroutine[None, None, None]) -> None:
        """Makes a change to its end, also when whoever asked for it is cut off between its writes.

        A state that is stored and not logged would be in nobody's log once it is left again.
        """
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changed)
        await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            # Marks a failure as seen: nobody awaits the change of one that was cut off.
            task.exception()

    async def _end(
        self,
        job: job_v1.Job,
        state: job_v1.JobState.ValueType,
        *,
        failure: types_v1.Failure | None = None,
    ) -> None:
        event = job_v1.JobEvent(message=name_of(state))
        async with self._changing:
            with _undone_unless_written(job):
                job.state = state
                job.end_time.FromNanoseconds(time.time_ns())
                if state == job_v1.JOB_STATE_CANCELLED:
                    job.termination_reason = job_v1.TERMINATION_REASON_CANCELLED
                if failure is not None:
                    job.failure.CopyFrom(failure)
                    job.termination_reason = job_v1.TERMINATION_REASON_ERROR
                    event.level = job_v1.EVENT_LEVEL_ERROR
                    event.message = f"failed: {failure.message}"
                    event.state_changed.failure.CopyFrom(failure)
                elif state == job_v1.JOB_STATE_SUCCEEDED and job.HasField("best_reward"):
                    event.state_changed.best_reward.CopyFrom(job.best_reward)
                await self._jobs.save(job)
                job.last_sequence = await self._log(job, event)
                await self._jobs.save(job)

    async def _log(self, job: job_v1.Job, event: job_v1.JobEvent) -> int:
        event.state_changed.to_state = job.state
        return await self._events.append_state(job.name.removeprefix("jobs/"), event)


@contextmanager
def _undone_unless_written(job: job_v1.Job) -> Iterator[None]:
    """Puts a job back as it was when a change of it could not be stored.

    The message is shared, so a state that only memory knows would be taken for the truth, and the
    change would not be tried again.
    """
    before = job_v1.Job()
    before.CopyFrom(job)
    try:
        yield
    except BaseException:
        job.CopyFrom(before)
        raise


def is_final(job: job_v1.Job) -> bool:
    """Whether a job has ended."""
    return job.state in FINAL_STATES


def name_of(state: job_v1.JobState.ValueType) -> str:
    """Returns a state's name as people read it."""
    return job_v1.JobState.Name(state).removeprefix("JOB_STATE_").lower()

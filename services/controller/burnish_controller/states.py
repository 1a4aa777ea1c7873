"""Moves a job from state to state; each change is stored and logged once, also after a crash."""

from __future__ import annotations

import asyncio
import time

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

    async def move(self, job: job_v1.Job, state: job_v1.JobState.ValueType) -> None:
        """Moves a job to a state that is not final; one that has ended stays as it is."""
        async with self._changing:
            if is_final(job):
                return
            job.state = state
            await self._jobs.save(job)
            await self._log(job, job_v1.JobEvent(message=name_of(state)))

    async def begin(self, job: job_v1.Job) -> None:
        """Notes that a job's first phase begins; a job that was begun before goes on."""
        async with self._changing:
            if job.HasField("start_time"):
                return
            now = time.time_ns()
            job.start_time.FromNanoseconds(now)
            if job.state == job_v1.JOB_STATE_PENDING:
                job.state = job_v1.JOB_STATE_RUNNING
            await self._jobs.save(job, start_time=now / 1e9)
            await self._log(job, job_v1.JobEvent(message=name_of(job.state)))

    async def succeed(self, job: job_v1.Job) -> None:
        """Ends a job that did all it had to do."""
        await self._end(job, job_v1.JOB_STATE_SUCCEEDED)

    async def cancel(self, job: job_v1.Job) -> None:
        """Ends a job that was asked to stop."""
        job.termination_reason = job_v1.TERMINATION_REASON_CANCELLED
        await self._end(job, job_v1.JOB_STATE_CANCELLED)

    async def fail(self, job: job_v1.Job, failure: types_v1.Failure) -> None:
        """Ends a job that cannot go on."""
        job.failure.CopyFrom(failure)
        job.termination_reason = job_v1.TERMINATION_REASON_ERROR
        await self._end(job, job_v1.JOB_STATE_FAILED)

    async def _end(self, job: job_v1.Job, state: job_v1.JobState.ValueType) -> None:
        async with self._changing:
            job.state = state
            job.end_time.FromNanoseconds(time.time_ns())
            event = job_v1.JobEvent(message=name_of(state))
            if state == job_v1.JOB_STATE_FAILED:
                event.level = job_v1.EVENT_LEVEL_ERROR
                event.message = f"failed: {job.failure.message}"
                event.state_changed.failure.CopyFrom(job.failure)
            await self._jobs.save(job)
            job.last_sequence = await self._log(job, event)
            await self._jobs.save(job)

    async def _log(self, job: job_v1.Job, event: job_v1.JobEvent) -> int:
        event.state_changed.to_state = job.state
        return await self._events.append_state(job.name.removeprefix("jobs/"), event)


def is_final(job: job_v1.Job) -> bool:
    """Whether a job has ended."""
    return job.state in FINAL_STATES


def name_of(state: job_v1.JobState.ValueType) -> str:
    """Returns a state's name as people read it."""
    return job_v1.JobState.Name(state).removeprefix("JOB_STATE_").lower()

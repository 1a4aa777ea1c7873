"""`JobService`: creates, shows, steers and follows jobs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from grpc import aio

from burnish.api.job import v1 as job_v1
from burnish.errors import InvalidArgument
from burnish.resources import JobName
from burnish_controller.creation import JobCreator
from burnish_controller.records import list_rollouts
from burnish_controller.registry import JobRegistry
from burnish_controller.results import ResultBuilder
from burnish_controller.store.events import FINAL_STATES, EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.rollouts import RolloutStore

_HEARTBEAT_SECONDS = 10.0
_PAGE = 50
_MAX_PAGE = 1000
_Context = aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobServices:
    """What the servicer works with."""

    jobs: JobStore
    events: EventLog
    registry: JobRegistry
    results: ResultBuilder
    creator: JobCreator
    rollouts: RolloutStore


class JobServicer(job_v1.JobServiceServicer):
    """Jobs over gRPC."""

    def __init__(self, services: JobServices) -> None:
        self._services = services

    async def CreateJob(
        self, request: job_v1.CreateJobRequest, context: _Context
    ) -> job_v1.CreateJobResponse:
        """Creates and starts a job."""
        return job_v1.CreateJobResponse(job=await self._services.creator.create(request))

    async def GetJob(
        self, request: job_v1.GetJobRequest, context: _Context
    ) -> job_v1.GetJobResponse:
        """Returns a job."""
        job = await self._services.jobs.get(JobName.parse(request.name).id)
        return job_v1.GetJobResponse(job=job)

    async def ListJobs(
        self, request: job_v1.ListJobsRequest, context: _Context
    ) -> job_v1.ListJobsResponse:
        """Lists jobs, newest first."""
        size = _page_size(request.page_size)
        before = _position(request.page_token) if request.page_token else None
        found = await self._services.jobs.page(size=size + 1, before=before)
        response = job_v1.ListJobsResponse(jobs=found[:size])
        if len(found) > size:
            response.next_page_token = _token(found[size - 1])
        return response

    async def PauseJob(
        self, request: job_v1.PauseJobRequest, context: _Context
    ) -> job_v1.PauseJobResponse:
        """Asks a job to pause."""
        job = await self._services.registry.request_pause(JobName.parse(request.name).id)
        return job_v1.PauseJobResponse(job=job)

    async def ResumeJob(
        self, request: job_v1.ResumeJobRequest, context: _Context
    ) -> job_v1.ResumeJobResponse:
        """Lets a paused job go on."""
        job = await self._services.registry.request_resume(JobName.parse(request.name).id)
        return job_v1.ResumeJobResponse(job=job)

    async def CancelJob(
        self, request: job_v1.CancelJobRequest, context: _Context
    ) -> job_v1.CancelJobResponse:
        """Asks a job to stop."""
        job = await self._services.registry.request_cancel(JobName.parse(request.name).id)
        return job_v1.CancelJobResponse(job=job)

    async def WatchJob(
        self, request: job_v1.WatchJobRequest, context: _Context
    ) -> AsyncIterator[job_v1.WatchJobResponse]:
        """Streams a job's events, then follows it to its end."""
        job_id = JobName.parse(request.name).id
        await self._services.jobs.get(job_id)
        log = self._services.events
        last = await log.last(job_id)
        if last is not None and _ends(last) and request.after_sequence >= last.sequence:
            return
        async for event in log.follow(
            job_id, after=request.after_sequence, heartbeat=_HEARTBEAT_SECONDS
        ):
            yield job_v1.WatchJobResponse(event=event)
            if event is not None and _ends(event):
                return

    async def GetJobResult(
        self, request: job_v1.GetJobResultRequest, context: _Context
    ) -> job_v1.GetJobResultResponse:
        """Returns what a job found."""
        result = await self._services.results.build(JobName.parse(request.name).id)
        return job_v1.GetJobResultResponse(result=result)

    async def ListRollouts(
        self, request: job_v1.ListRolloutsRequest, context: _Context
    ) -> job_v1.ListRolloutsResponse:
        """Lists a job's finished rollouts with the parts of their rewards."""
        return await list_rollouts(self._services.jobs, self._services.rollouts, request)


def _ends(event: job_v1.JobEvent) -> bool:
    return event.state_changed.to_state in FINAL_STATES


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidArgument(f"`page_size` is {asked}; use a number of at least 0")
    return min(asked or _PAGE, _MAX_PAGE)


def _token(job: job_v1.Job) -> str:
    created = job.create_time.ToNanoseconds()
    return base64.urlsafe_b64encode(f"{created}/{JobName.parse(job.name).id}".encode()).decode()


def _position(token: str) -> tuple[float, str]:
    try:
        created, _, job_id = base64.urlsafe_b64decode(token).decode().partition("/")
        return int(created) / 1e9, job_id
    except (ValueError, binascii.Error):
        raise InvalidArgument(
            "`page_token` is not one of ours; begin again without it", reason="PAGE_TOKEN_INVALID"
        ) from None

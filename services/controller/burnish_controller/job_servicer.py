"""`JobService`: creates, shows, steers and follows jobs."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from grpc import aio

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.errors import AlreadyExists, InvalidArgument
from burnish.resources import JobName
from burnish_controller.context import LEARNT_STAGE, JobContext, pools_of, stages_of
from burnish_controller.durable import DurableEngine
from burnish_controller.peers import CALL_SECONDS, Peers
from burnish_controller.registry import AppConnector, JobRegistry
from burnish_controller.results import ResultBuilder
from burnish_controller.secrets import SecretBox
from burnish_controller.store.events import FINAL_STATES, EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.validation import check_spec

_JOB_ID = re.compile(r"[a-z][a-z0-9_-]{3,62}")
_HEARTBEAT_SECONDS = 10.0
_PAGE = 50
_MAX_PAGE = 1000
_Context = aio.ServicerContext[Any, Any]


class JobIdInvalid(InvalidArgument):
    """A job id that cannot be used."""

    default_reason = "JOB_ID_INVALID"


class JobExists(AlreadyExists):
    """A job of that id that is not the same job."""

    default_reason = "JOB_EXISTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobServices:
    """What the servicer works with."""

    jobs: JobStore
    events: EventLog
    registry: JobRegistry
    engine: DurableEngine
    results: ResultBuilder
    peers: Peers
    secrets: SecretBox
    connect: AppConnector


class JobServicer(job_v1.JobServiceServicer):
    """Jobs over gRPC."""

    def __init__(self, services: JobServices) -> None:
        self._services = services

    async def CreateJob(
        self, request: job_v1.CreateJobRequest, context: _Context
    ) -> job_v1.CreateJobResponse:
        """Creates and starts a job."""
        services = self._services
        warnings = check_spec(request.spec)
        job_id = request.job_id or f"pl_{secrets.token_hex(8)}"
        if not _JOB_ID.fullmatch(job_id):
            raise JobIdInvalid(
                f"`job_id` is `{job_id}`; use 4 to 63 characters of a-z, 0-9, `_` and `-`,"
                " beginning with a letter",
                metadata={"job_id": job_id},
            )
        await self._check_peers(job_id, request)
        job = job_v1.Job(
            name=f"jobs/{job_id}",
            spec=request.spec,
            state=job_v1.JOB_STATE_PENDING,
            study=f"studies/{job_id}",
            warnings=warnings,
        )
        if request.validate_only:
            return job_v1.CreateJobResponse(job=job)
        secret = None
        if request.task_app_api_key:
            secret = services.secrets.seal(request.task_app_api_key)
        stored = await services.jobs.create(job, request_id=request.request_id, secret=secret)
        if stored.spec != request.spec:
            raise JobExists(
                f"`{stored.name}` is another job; choose another id", metadata={"job": stored.name}
            )
        stored_id = JobName.parse(stored.name).id
        event = job_v1.JobEvent(message="created")
        event.state_changed.to_state = job_v1.JOB_STATE_PENDING
        if await services.events.last(stored_id) is None:
            await services.events.append_state(stored_id, event)
        if stored.state not in FINAL_STATES:
            await services.engine.start(stored_id)
        return job_v1.CreateJobResponse(job=stored)

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

    async def _check_peers(self, job_id: str, request: job_v1.CreateJobRequest) -> None:
        """Has the search judge its settings and the app say that it is well."""
        services = self._services
        spec = request.spec
        stages = [stage.template.stage_id for stage in stages_of(spec, None)] or [LEARNT_STAGE]
        app = services.connect(spec.task_app.uri, request.task_app_api_key or None)
        draft = JobContext(
            job_id=job_id,
            job=job_v1.Job(name=f"jobs/{job_id}", spec=spec),
            pools=pools_of(spec),
            app=app,
        )
        study = draft.study()
        del study.stage_ids[:]
        study.stage_ids.extend(stages)
        try:
            async with rpc.translated():
                await services.peers.search.CreateStudy(
                    search_v1.CreateStudyRequest(study=study, validate_only=True),
                    timeout=CALL_SECONDS,
                )
            await app.check()
        finally:
            await app.close()


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

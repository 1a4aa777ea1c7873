"""A scripted `JobService` on a real port, for tests of whatever talks to a controller.

A job that is created runs through a fixed log at once, or, when `hold_after` is set, stops after so
many events until `release` is called.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.rpc import error_details_pb2, status_pb2

from burnish.api.job.v1 import (
    job_event_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
)
from burnish.background import BackgroundLoop
from burnish.errors import DOMAIN
from burnish.testing.fake_story import scripted_result, story

if TYPE_CHECKING:  # generic in the stubs only
    Context = grpc.aio.ServicerContext[Any, Any]

TOKEN = "fake-controller-token"  # noqa: S105

_FINAL = frozenset(
    {
        job_event_pb2.JOB_STATE_SUCCEEDED,
        job_event_pb2.JOB_STATE_FAILED,
        job_event_pb2.JOB_STATE_CANCELLED,
    }
)


class FakeController(job_service_pb2_grpc.JobServiceServicer):
    """A controller that runs nothing.

    Attributes:
        target: Where it listens, while it is started.
        created: Requests that made a job, in order.
        calls: Names of the RPCs that came, in order.
        jobs: Jobs by name.
        fail_jobs: Jobs fail in place of succeeding.
        hold_after: Events after which a job waits for `release`; None runs through.
        break_watch_after: Events after which a watch breaks once as if the controller died.
        refuse_with: Status and reason that CreateJob is refused with.
    """

    def __init__(self) -> None:
        self.target = ""
        self.created: list[job_service_pb2.CreateJobRequest] = []
        self.calls: list[str] = []
        self.jobs: dict[str, job_service_pb2.Job] = {}
        self.fail_jobs = False
        self.hold_after: int | None = None
        self.break_watch_after: int | None = None
        self.refuse_with: tuple[grpc.StatusCode, str, str] | None = None
        self._log: dict[str, list[job_event_pb2.JobEvent]] = {}
        self._changed: asyncio.Condition | None = None
        self._server: grpc.aio.Server | None = None
        self._loop: BackgroundLoop | None = None

    async def start(self) -> None:
        """Starts listening on a free port of this machine."""
        self._changed = asyncio.Condition()
        self._server = grpc.aio.server()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.target = f"127.0.0.1:{port}"

    async def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            await self._server.stop(grace=None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        self._loop = BackgroundLoop()
        self._loop.run(self.start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            self._loop.run(self.stop())
            self._loop.close()

    async def release(self) -> None:
        """Lets every held job go on to its end."""
        for name, job in self.jobs.items():
            if job.state not in _FINAL:
                self._append(name, story(failed=self.fail_jobs)[len(self._log[name]) :])
        await self._notify()

    async def CreateJob(
        self, request: job_service_pb2.CreateJobRequest, context: Context
    ) -> job_service_pb2.CreateJobResponse:
        """Creates a job."""
        await self._called("CreateJob", context)
        if self.refuse_with is not None:
            await _refuse(context, *self.refuse_with)
        name = f"jobs/{request.job_id or f'pl_{len(self.jobs) + 1:04d}'}"
        job = job_service_pb2.Job(
            name=name, spec=request.spec, state=job_event_pb2.JOB_STATE_PENDING
        )
        if request.validate_only:
            return job_service_pb2.CreateJobResponse(job=job)
        job.create_time.GetCurrentTime()
        self.created.append(request)
        self.jobs[name] = job
        self._log[name] = []
        self._append(name, story(failed=self.fail_jobs)[: self.hold_after])
        await self._notify()
        return job_service_pb2.CreateJobResponse(job=job)

    async def GetJob(
        self, request: job_service_pb2.GetJobRequest, context: Context
    ) -> job_service_pb2.GetJobResponse:
        """Gets a job."""
        await self._called("GetJob", context)
        return job_service_pb2.GetJobResponse(job=await self._find(request.name, context))

    async def ListJobs(
        self, request: job_service_pb2.ListJobsRequest, context: Context
    ) -> job_service_pb2.ListJobsResponse:
        """Lists jobs, newest first."""
        await self._called("ListJobs", context)
        newest_first = list(reversed(self.jobs.values()))
        start = int(request.page_token or 0)
        end = start + (request.page_size or 50)
        token = str(end) if end < len(newest_first) else ""
        return job_service_pb2.ListJobsResponse(jobs=newest_first[start:end], next_page_token=token)

    async def PauseJob(
        self, request: job_service_pb2.PauseJobRequest, context: Context
    ) -> job_service_pb2.PauseJobResponse:
        """Pauses a job."""
        await self._called("PauseJob", context)
        job = await self._find(request.name, context)
        await self._move(job, job_event_pb2.JOB_STATE_PAUSED)
        return job_service_pb2.PauseJobResponse(job=job)

    async def ResumeJob(
        self, request: job_service_pb2.ResumeJobRequest, context: Context
    ) -> job_service_pb2.ResumeJobResponse:
        """Lets a job go on."""
        await self._called("ResumeJob", context)
        job = await self._find(request.name, context)
        await self._move(job, job_event_pb2.JOB_STATE_RUNNING)
        return job_service_pb2.ResumeJobResponse(job=job)

    async def CancelJob(
        self, request: job_service_pb2.CancelJobRequest, context: Context
    ) -> job_service_pb2.CancelJobResponse:
        """Cancels a job."""
        await self._called("CancelJob", context)
        job = await self._find(request.name, context)
        await self._move(job, job_event_pb2.JOB_STATE_CANCELLED)
        return job_service_pb2.CancelJobResponse(job=job)

    async def WatchJob(
        self, request: job_service_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        """Streams a job's events to its end."""
        await self._called("WatchJob", context)
        job = await self._find(request.name, context)
        log, sent = self._log[request.name], 0
        position = request.after_sequence
        yield job_service_pb2.WatchJobResponse()
        while True:
            for event in log[position:]:
                if sent == self.break_watch_after:
                    self.break_watch_after = None
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
                sent, position = sent + 1, position + 1
                yield job_service_pb2.WatchJobResponse(event=event)
            if job.state in _FINAL and position == len(log):
                return
            if self._changed is not None:
                async with self._changed:
                    await self._changed.wait_for(functools.partial(_has_more, job, log, position))

    async def GetJobResult(
        self, request: job_service_pb2.GetJobResultRequest, context: Context
    ) -> job_service_pb2.GetJobResultResponse:
        """Gets the scripted result."""
        await self._called("GetJobResult", context)
        await self._find(request.name, context)
        return job_service_pb2.GetJobResultResponse(result=scripted_result())

    async def ListRollouts(
        self, request: job_service_pb2.ListRolloutsRequest, context: Context
    ) -> job_service_pb2.ListRolloutsResponse:
        """Lists no rollouts: the scripted jobs run none."""
        await self._called("ListRollouts", context)
        await self._find(request.job, context)
        return job_service_pb2.ListRolloutsResponse()

    async def _called(self, rpc_name: str, context: Context) -> None:
        self.calls.append(rpc_name)
        metadata = dict(context.invocation_metadata() or ())
        if metadata.get("authorization") != f"Bearer {TOKEN}":
            await _refuse(
                context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_WRONG", "the token is wrong"
            )

    async def _find(self, name: str, context: Context) -> job_service_pb2.Job:
        if name not in self.jobs:
            await _refuse(
                context, grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", f"job `{name}` is not known"
            )
        return self.jobs[name]

    async def _move(
        self, job: job_service_pb2.Job, state: job_event_pb2.JobState.ValueType
    ) -> None:
        if job.state in _FINAL or job.state == state:
            return
        moved = job_event_pb2.StateChanged(from_state=job.state, to_state=state)
        self._append(job.name, [job_event_pb2.JobEvent(state_changed=moved)])
        await self._notify()

    async def _notify(self) -> None:
        if self._changed is not None:
            async with self._changed:
                self._changed.notify_all()

    def _append(self, name: str, events: Sequence[job_event_pb2.JobEvent]) -> None:
        job, log = self.jobs[name], self._log[name]
        for event in events:
            event.sequence = len(log) + 1
            event.event_time.GetCurrentTime()
            event.level = event.level or job_event_pb2.EVENT_LEVEL_INFO
            log.append(event)
            job.last_sequence = event.sequence
            kind = event.WhichOneof("kind")
            if kind == "state_changed":
                job.state = event.state_changed.to_state
                if event.state_changed.HasField("failure"):
                    job.failure.CopyFrom(event.state_changed.failure)
            elif kind == "phase_changed":
                job.phase = event.phase_changed.to_phase
            elif kind == "progress":
                job.progress.CopyFrom(event.progress)
            elif kind == "new_incumbent":
                job.best_reward.CopyFrom(event.new_incumbent.reward)


def _has_more(
    job: job_service_pb2.Job, log: Sequence[job_event_pb2.JobEvent], position: int
) -> bool:
    return len(log) > position or job.state in _FINAL


async def _refuse(context: Context, code: grpc.StatusCode, reason: str, message: str) -> None:
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, message, trailing_metadata=metadata)

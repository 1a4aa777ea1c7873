"""Jobs over a channel: create, look, follow to the end, steer."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from burnish import events, results, rpc
from burnish.api.job.v1 import job_event_pb2, job_service_pb2, job_service_pb2_grpc, job_spec_pb2
from burnish.errors import DeadlineExceeded, Unavailable
from burnish.job_requests import CreateOptions, JobPage
from burnish.namespace import Namespace
from burnish.optuna_export import ExportedStudy, export_study
from burnish.resources import JobName
from burnish.results import JobOutcome, JobSnapshot

if TYPE_CHECKING:
    from burnish.api.job.v1 import job_result_pb2
    from burnish.config import PromptLearningConfig
    from burnish.config.resolved import ResolvedJob

# A heartbeat comes every 10 s; after three that are missing the connection is dead.
_SILENCE_SECONDS = 35.0
_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 2.0

__all__ = ["AsyncJob", "AsyncJobs", "CreateOptions", "JobPage", "OnUpdate", "job_name"]

OnUpdate = Callable[[JobSnapshot, job_event_pb2.JobEvent], Awaitable[None] | None]


class AsyncJob:
    """A job on the controller.

    Attributes:
        name: Resource name, `jobs/{job}`.
        snapshot: Where it stood when last looked at.
    """

    def __init__(self, jobs: AsyncJobs, snapshot: JobSnapshot) -> None:
        self._jobs = jobs
        self.name = snapshot.name
        self.snapshot = snapshot

    @property
    def job_id(self) -> str:
        """Id of the job, the last segment of its name."""
        return JobName.parse(self.name).id

    async def refresh(self) -> JobSnapshot:
        """Looks where the job stands now."""
        self.snapshot = (await self._jobs.get(self.name)).snapshot
        return self.snapshot

    async def wait(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # the client's word for it everywhere
        on_update: OnUpdate | None = None,
    ) -> JobSnapshot:
        """Follows the job to its end.

        Args:
            timeout: Most seconds to wait; None waits for ever. The job goes on when it is over.
            on_update: Called on every event, with where the job stands and the event.

        Raises:
            DeadlineExceeded: The time is over.
        """
        async with contextlib.aclosing(self.updates(timeout=timeout)) as updates:
            async for event in updates:
                if on_update is not None:
                    answer = on_update(await self.refresh(), event)
                    if answer is not None:
                        await answer
        return await self.refresh()

    async def updates(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # it spans many awaits of the caller's
    ) -> AsyncGenerator[job_event_pb2.JobEvent, None]:
        """Follows the job's events to its end, each once and in order.

        Args:
            timeout: Most seconds until the end; None waits for ever.

        Raises:
            DeadlineExceeded: The time is over; the job goes on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        async with contextlib.aclosing(self._jobs.watch(self.name)) as watched:
            while True:
                left = None if ends is None else ends - time.monotonic()
                try:
                    yield await asyncio.wait_for(anext(watched), left)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise DeadlineExceeded(
                        f"job `{self.name}` did not end within {timeout:g} s; it goes on, and "
                        f"`burnish job watch {self.job_id}` follows it",
                        reason="WAIT_TIMEOUT",
                        metadata={"job": self.name},
                    ) from None

    def events(self, *, after_sequence: int = 0) -> AsyncIterator[dict[str, object]]:
        """Follows the job's events to its end, as dotted envelopes (see `burnish.events`)."""
        return self._jobs.events(self.name, after_sequence=after_sequence)

    async def result(self) -> JobOutcome:
        """Gets what the job found, or knows so far."""
        return await self._jobs.result(self.name)

    async def export_study(self, storage: str, *, study_name: str | None = None) -> ExportedStudy:
        """Writes the job's trials as an Optuna study; see `AsyncJobs.export_study`."""
        return await self._jobs.export_study(self.name, storage, study_name=study_name)

    async def pause(self) -> JobSnapshot:
        """Asks the job to pause at the end of the batch in hand."""
        self.snapshot = await self._jobs.pause(self.name)
        return self.snapshot

    async def resume(self) -> JobSnapshot:
        """Lets the job go on."""
        self.snapshot = await self._jobs.resume(self.name)
        return self.snapshot

    async def cancel(self) -> JobSnapshot:
        """Asks the job to stop."""
        self.snapshot = await self._jobs.cancel(self.name)
        return self.snapshot


class AsyncJobs(Namespace):
    """The jobs of a controller."""

    def __init__(
        self, channel: Callable[[], grpc.aio.Channel], *, timeout: float, patience: float
    ) -> None:
        """Prepares the namespace.

        Args:
            channel: Returns the channel to call over.
            timeout: Most seconds for one call.
            patience: Most seconds that a watch waits for a controller that is away.
        """
        super().__init__(channel, timeout=timeout)
        self._patience = patience

    @property
    def _stub(self) -> job_service_pb2_grpc.JobServiceStub:
        return job_service_pb2_grpc.JobServiceStub(self._channel())

    async def create(
        self,
        spec: job_spec_pb2.JobSpec
        | ResolvedJob
        | PromptLearningConfig
        | Mapping[str, object]
        | str
        | Path,
        *,
        options: CreateOptions | None = None,
    ) -> AsyncJob:
        """Creates and starts a job.

        Args:
            spec: What to do: a path of a TOML file, a mapping of that shape, a configuration, or a
                job specification.
            options: Its id, the task app's key, and whether to check only.

        Raises:
            ConfigError: The configuration is never valid; every problem is in it.
            InvalidArgument: The controller refuses the specification.
            FailedPrecondition: The task app does not answer.
        """
        chosen = options or CreateOptions()
        request = job_service_pb2.CreateJobRequest(
            job_id=chosen.job_id,
            request_id=chosen.request_id or str(uuid.uuid4()),
            validate_only=chosen.validate_only,
            task_app_api_key=chosen.task_app_api_key,
        )
        if isinstance(spec, job_spec_pb2.JobSpec):
            request.spec.CopyFrom(spec)
        else:
            from burnish.job_loading import load_job

            loaded = await load_job(spec, task_app_api_key=chosen.task_app_api_key)
            loaded.log_warnings()
            request.spec.CopyFrom(loaded.spec)
            request.task_app_api_key = loaded.task_app_api_key
        async with rpc.translated():
            response = await self._stub.CreateJob(request, timeout=self._timeout)
        return AsyncJob(self, results.snapshot(response.job))

    async def get(self, name: str) -> AsyncJob:
        """Gets a job by name or id.

        Raises:
            NotFound: There is no such job.
        """
        request = job_service_pb2.GetJobRequest(name=job_name(name))
        async with rpc.translated():
            response = await self._stub.GetJob(request, timeout=self._timeout)
        return AsyncJob(self, results.snapshot(response.job))

    async def list(self, *, page_size: int = 0, page_token: str = "") -> JobPage:
        """Lists one page of jobs, newest first."""
        request = job_service_pb2.ListJobsRequest(page_size=page_size, page_token=page_token)
        async with rpc.translated():
            response = await self._stub.ListJobs(request, timeout=self._timeout)
        return JobPage(
            jobs=tuple(results.snapshot(job) for job in response.jobs),
            next_page_token=response.next_page_token,
        )

    async def pause(self, name: str) -> JobSnapshot:
        """Asks a job to pause at the end of the batch in hand."""
        request = job_service_pb2.PauseJobRequest(name=job_name(name))
        async with rpc.translated():
            response = await self._stub.PauseJob(request, timeout=self._timeout)
        return results.snapshot(response.job)

    async def resume(self, name: str) -> JobSnapshot:
        """Lets a paused job go on."""
        request = job_service_pb2.ResumeJobRequest(name=job_name(name))
        async with rpc.translated():
            response = await self._stub.ResumeJob(request, timeout=self._timeout)
        return results.snapshot(response.job)

    async def cancel(self, name: str) -> JobSnapshot:
        """Asks a job to stop."""
        request = job_service_pb2.CancelJobRequest(name=job_name(name))
        async with rpc.translated():
            response = await self._stub.CancelJob(request, timeout=self._timeout)
        return results.snapshot(response.job)

    async def result(self, name: str) -> JobOutcome:
        """Gets what a job found, or knows so far."""
        return results.outcome(await self._result(name))

    async def export_study(
        self, name: str, storage: str, *, study_name: str | None = None
    ) -> ExportedStudy:
        """Writes a job's trials, finished or so far, as an Optuna study of the job's id.

        The storage is a URL as Optuna takes it, such as `sqlite:///study.db`.
        """
        result = await self._result(name)
        return await asyncio.to_thread(
            export_study, result, job=job_name(name), storage=storage, study_name=study_name
        )

    async def _result(self, name: str) -> job_result_pb2.JobResult:
        request = job_service_pb2.GetJobResultRequest(name=job_name(name))
        async with rpc.translated():
            response = await self._stub.GetJobResult(request, timeout=self._timeout)
        return response.result

    async def events(
        self, name: str, *, after_sequence: int = 0
    ) -> AsyncGenerator[dict[str, object], None]:
        """Follows a job's events to its end, as dotted envelopes (see `burnish.events`)."""
        job = await self.get(name)
        async with contextlib.aclosing(self.watch(name, after_sequence=after_sequence)) as watched:
            async for event in watched:
                yield events.to_envelope(event, job_id=job.job_id, algorithm=job.snapshot.algorithm)

    async def watch(
        self, name: str, *, after_sequence: int = 0
    ) -> AsyncGenerator[job_event_pb2.JobEvent, None]:
        """Follows a job's events to its end, each once and in order.

        A connection that breaks or falls silent is opened again where it was left.

        Args:
            name: Name or id of the job.
            after_sequence: Last sequence seen; 0 begins at the first.

        Raises:
            NotFound: There is no such job.
            Unavailable: The controller stayed away for longer than the client's patience.
        """
        last = after_sequence
        away_since: float | None = None
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                async with contextlib.aclosing(self._stream(name, last)) as stream:
                    async for event in stream:
                        away_since, backoff = None, _FIRST_BACKOFF_SECONDS
                        if event is not None and event.sequence > last:
                            last = event.sequence
                            yield event
                snapshot = (await self.get(name)).snapshot
                if snapshot.finished and last >= snapshot.last_sequence:
                    return
            except Unavailable:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                if now - away_since > self._patience:
                    raise
            await asyncio.sleep(backoff)
            backoff = min(_MAX_BACKOFF_SECONDS, backoff * 2)

    async def _stream(
        self, name: str, after_sequence: int
    ) -> AsyncGenerator[job_event_pb2.JobEvent | None, None]:
        """Yields what one connection brings, None for a heartbeat, until the server ends it."""
        request = job_service_pb2.WatchJobRequest(
            name=job_name(name), after_sequence=after_sequence
        )
        async with rpc.translated():
            call = self._stub.WatchJob(request)
            try:
                replies = aiter(call)
                while True:
                    try:
                        reply = await asyncio.wait_for(anext(replies), _SILENCE_SECONDS)
                    except StopAsyncIteration:
                        return
                    except TimeoutError:
                        raise Unavailable(
                            f"the controller has sent nothing about `{name}` for "
                            f"{_SILENCE_SECONDS:g} s",
                            reason="WATCH_SILENT",
                        ) from None
                    yield reply.event if reply.HasField("event") else None
            finally:
                call.cancel()


def job_name(text: str) -> str:
    """Returns the resource name for a job's name or id.

    Raises:
        InvalidArgument: The text is neither.
    """
    return str(JobName.parse(text if "/" in text else f"jobs/{text}"))

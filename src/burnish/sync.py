"""The plain client: a thin facade over the asynchronous one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from burnish.api.job.v1 import job_event_pb2, job_spec_pb2
from burnish.background import BackgroundLoop
from burnish.client import DEFAULT_TIMEOUT_SECONDS, AsyncClient
from burnish.jobs import AsyncJob, AsyncJobs, CreateOptions, JobPage
from burnish.optuna_export import ExportedStudy
from burnish.results import JobOutcome, JobSnapshot
from burnish.sync_policies import Policies, Traces
from burnish.sync_scoring import Graphs, Rollouts

if TYPE_CHECKING:
    from burnish.config import PromptLearningConfig
    from burnish.config.resolved import ResolvedJob


class Job:
    """A job on the controller."""

    def __init__(self, loop: BackgroundLoop, job: AsyncJob) -> None:
        self._loop = loop
        self._job = job

    @property
    def name(self) -> str:
        """Resource name, `jobs/{job}`."""
        return self._job.name

    @property
    def job_id(self) -> str:
        """Id of the job, the last segment of its name."""
        return self._job.job_id

    @property
    def snapshot(self) -> JobSnapshot:
        """Where the job stood when last looked at."""
        return self._job.snapshot

    def refresh(self) -> JobSnapshot:
        """Looks where the job stands now."""
        return self._loop.run(self._job.refresh())

    def wait(
        self,
        *,
        timeout: float | None = None,
        on_update: Callable[[JobSnapshot, job_event_pb2.JobEvent], None] | None = None,
    ) -> JobSnapshot:
        """Follows the job to its end; see `AsyncJob.wait`.

        Raises:
            DeadlineExceeded: The time is over; the job goes on.
        """
        # The callback runs here, not in the client's loop, so that it may use the client itself.
        for event in self._loop.iterate(self._job.updates(timeout=timeout)):
            if on_update is not None:
                on_update(self.refresh(), event)
        return self.refresh()

    def events(self, *, after_sequence: int = 0) -> Iterator[dict[str, object]]:
        """Follows the job's events to its end, as dotted envelopes (see `burnish.events`)."""
        return self._loop.iterate(self._job.events(after_sequence=after_sequence))

    def result(self) -> JobOutcome:
        """Gets what the job found, or knows so far."""
        return self._loop.run(self._job.result())

    def export_study(self, storage: str, *, study_name: str | None = None) -> ExportedStudy:
        """Writes the job's trials as an Optuna study in a storage, such as `sqlite:///study.db`."""
        return self._loop.run(self._job.export_study(storage, study_name=study_name))

    def pause(self) -> JobSnapshot:
        """Asks the job to pause at the end of the batch in hand."""
        return self._loop.run(self._job.pause())

    def resume(self) -> JobSnapshot:
        """Lets the job go on."""
        return self._loop.run(self._job.resume())

    def cancel(self) -> JobSnapshot:
        """Asks the job to stop."""
        return self._loop.run(self._job.cancel())


class Jobs:
    """The jobs of a controller."""

    def __init__(self, loop: BackgroundLoop, jobs: AsyncJobs) -> None:
        self._loop = loop
        self._jobs = jobs

    def create(
        self,
        spec: job_spec_pb2.JobSpec
        | ResolvedJob
        | PromptLearningConfig
        | Mapping[str, object]
        | str
        | Path,
        *,
        options: CreateOptions | None = None,
    ) -> Job:
        """Creates and starts a job; see `AsyncJobs.create`."""
        return Job(self._loop, self._loop.run(self._jobs.create(spec, options=options)))

    def get(self, name: str) -> Job:
        """Gets a job by name or id."""
        return Job(self._loop, self._loop.run(self._jobs.get(name)))

    def list(self, *, page_size: int = 0, page_token: str = "") -> JobPage:
        """Lists one page of jobs, newest first."""
        return self._loop.run(self._jobs.list(page_size=page_size, page_token=page_token))

    def pause(self, name: str) -> JobSnapshot:
        """Asks a job to pause at the end of the batch in hand."""
        return self._loop.run(self._jobs.pause(name))

    def resume(self, name: str) -> JobSnapshot:
        """Lets a paused job go on."""
        return self._loop.run(self._jobs.resume(name))

    def cancel(self, name: str) -> JobSnapshot:
        """Asks a job to stop."""
        return self._loop.run(self._jobs.cancel(name))

    def result(self, name: str) -> JobOutcome:
        """Gets what a job found, or knows so far."""
        return self._loop.run(self._jobs.result(name))

    def watch(self, name: str, *, after_sequence: int = 0) -> Iterator[dict[str, object]]:
        """Follows a job's events to its end, as dotted envelopes (see `burnish.events`)."""
        return self._loop.iterate(self._jobs.events(name, after_sequence=after_sequence))


class Client:
    """Talks to a controller from plain code.

    Example:
        with Client() as client:
            job = client.jobs.create("job.toml")
            job.wait()
            print(job.result().best.prompt.text)

    Attributes:
        jobs: The controller's jobs.
        policies: Its online policies.
        traces: What the calls of rollouts said.
        rollouts: Finished rollouts of jobs, with the parts of their rewards.
        graphs: Verifier graphs, and scores of them.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        max_retries: int = 4,
    ) -> None:
        """Prepares a client; the arguments are those of `AsyncClient`.

        Raises:
            BackendNotConfigured: Nothing says where the controller is.
        """
        self._client = AsyncClient(target, token=token, timeout=timeout, max_retries=max_retries)
        self._loop = BackgroundLoop()
        self.jobs = Jobs(self._loop, self._client.jobs)
        self.policies = Policies(self._loop, self._client.policies)
        self.traces = Traces(self._loop, self._client.traces)
        self.rollouts = Rollouts(self._loop, self._client.rollouts)
        self.graphs = Graphs(self._loop, self._client.graphs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel and ends the background thread."""
        self._loop.run(self._client.close())
        self._loop.close()

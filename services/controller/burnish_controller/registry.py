"""The jobs that this process knows: their contexts, their steps, and the requests to stop them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import FailedPrecondition
from burnish_controller.context import JobContext, pools_of, stages_of
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.baseline import hold_for_test
from burnish_controller.secrets import SecretBox
from burnish_controller.steps import JobSteps, end_job
from burnish_controller.store.jobs import FINAL_STATES
from burnish_controller.task_apps import TaskAppClient

AppConnector = Callable[[str, str | None], TaskAppClient]


class JobNotRunning(FailedPrecondition):
    """A change that only a job that has not ended can take."""

    default_reason = "JOB_NOT_RUNNING"


class JobRegistry:
    """Builds a job's context on first use and keeps it until the job ends."""

    def __init__(
        self, services: PhaseServices, *, secrets: SecretBox, connect: AppConnector
    ) -> None:
        self._services = services
        self._secrets = secrets
        self._connect = connect
        self._contexts: dict[str, JobContext] = {}
        self._building = asyncio.Lock()

    async def context(self, job_id: str) -> JobContext:
        """Returns a job's context."""
        known = self._contexts.get(job_id)
        if known is not None:
            return known
        async with self._building:
            if job_id not in self._contexts:
                self._contexts[job_id] = await self._build(job_id)
            return self._contexts[job_id]

    async def run_step(self, job_id: str, name: str, arguments: list[str | int]) -> str:
        """Runs one step of a job."""
        context = await self.context(job_id)
        result = await JobSteps(self._services, context).run(name, *arguments)
        if context.job.state in FINAL_STATES:
            await self._forget(job_id)
        return result

    async def fail(self, job_id: str, reason: str, message: str) -> None:
        """Ends a job that cannot go on."""
        context = await self.context(job_id)
        if context.job.state not in FINAL_STATES:
            context.job.failure.CopyFrom(types_v1.Failure(reason=reason, message=message))
            context.job.termination_reason = job_v1.TERMINATION_REASON_ERROR
            await end_job(self._services, context, job_v1.JOB_STATE_FAILED)
        await self._forget(job_id)

    async def request_pause(self, job_id: str) -> job_v1.Job:
        """Asks a job to pause at the end of the batch in hand."""
        context = await self._running(job_id)
        if context.may_run.is_set():
            context.may_run.clear()
            await self._move(context, job_v1.JOB_STATE_PAUSING)
        return context.job

    async def request_resume(self, job_id: str) -> job_v1.Job:
        """Lets a paused job go on."""
        context = await self._running(job_id)
        if not context.may_run.is_set():
            if context.job.state == job_v1.JOB_STATE_PAUSING:
                await self._move(context, job_v1.JOB_STATE_RUNNING)
            context.may_run.set()
        return context.job

    async def request_cancel(self, job_id: str) -> job_v1.Job:
        """Asks a job to stop; one that has ended already is left as it is."""
        job = await self._services.jobs.get(job_id)
        if job.state in FINAL_STATES:
            return job
        context = await self.context(job_id)
        context.cancelled = True
        context.may_run.set()
        await self._move(context, job_v1.JOB_STATE_CANCELLING)
        return context.job

    async def close(self) -> None:
        """Closes the connections to every app."""
        for job_id in list(self._contexts):
            await self._forget(job_id)

    async def _build(self, job_id: str) -> JobContext:
        services = self._services
        job = await services.jobs.get(job_id)
        sealed = await services.jobs.secret(job_id)
        key = None if sealed is None else self._secrets.open(sealed)
        context = JobContext(
            job_id=job_id,
            job=job,
            pools=pools_of(job.spec),
            app=self._connect(job.spec.task_app.uri, key),
            stages=stages_of(job.spec, await services.jobs.templates(job_id)),
            cancelled=job.state == job_v1.JOB_STATE_CANCELLING,
        )
        if job.state not in {job_v1.JOB_STATE_PAUSING, job_v1.JOB_STATE_PAUSED}:
            context.may_run.set()
        if job.spec.scoring.HasField("verifier_graph"):
            context.graph = await self._graph(job.spec.scoring.verifier_graph)
        if job.phase > job_v1.JOB_PHASE_BASELINE and job.state not in FINAL_STATES:
            await hold_for_test(services, context)
        return context

    async def _graph(self, graph: verifier_v1.VerifierGraph) -> str:
        with rpc.translated():
            response = await self._services.peers.verifier.CreateVerifierGraph(
                verifier_v1.CreateVerifierGraphRequest(verifier_graph=graph), timeout=30
            )
        return response.verifier_graph.name

    async def _running(self, job_id: str) -> JobContext:
        job = await self._services.jobs.get(job_id)
        if job.state in FINAL_STATES:
            name = job_v1.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
            raise JobNotRunning(
                f"`{job.name}` has {name}; it can no longer be paused or resumed",
                metadata={"job": job.name, "state": name},
            )
        return await self.context(job_id)

    async def _move(self, context: JobContext, state: job_v1.JobState.ValueType) -> None:
        before = context.job.state
        context.job.state = state
        await self._services.jobs.save(context.job)
        name = job_v1.JobState.Name(state)
        last = (await self._services.jobs.get(context.job_id)).last_sequence
        await self._services.events.append(
            context.job_id,
            f"state/{name}/{last}/{id(context)}/{context.job.progress.rollouts_completed}",
            job_v1.JobEvent(
                message=name.removeprefix("JOB_STATE_").lower(),
                state_changed=job_v1.StateChanged(from_state=before, to_state=state),
            ),
        )

    async def _forget(self, job_id: str) -> None:
        context = self._contexts.pop(job_id, None)
        if context is not None:
            await context.app.close()

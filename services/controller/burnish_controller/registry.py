"""The jobs that this process knows: their contexts, their steps, and the requests to stop them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Set

from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import FailedPrecondition
from burnish_controller.context import JobContext, policy_of, pools_of, stages_of
from burnish_controller.phases import ending
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.baseline import hold_for_test
from burnish_controller.proxies.models import job_of
from burnish_controller.secrets import SecretBox
from burnish_controller.states import is_final, name_of
from burnish_controller.steps import JobSteps
from burnish_controller.store.events import FINAL_STATES
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
        self._building: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def context(self, job_id: str) -> JobContext:
        """Returns the context of a job that has not ended.

        Raises:
            JobNotRunning: It has.
        """
        known = self._contexts.get(job_id)
        if known is not None:
            return known
        async with self._building[job_id]:
            if job_id not in self._contexts:
                self._contexts[job_id] = await self._build(job_id)
            return self._contexts[job_id]

    async def policy(self, policy_id: str) -> policy_v1.Policy:
        """Returns a job's policy, also when the job has ended."""
        job_id, fidelity = job_of(policy_id)
        known = self._contexts.get(job_id)
        if known is not None:
            return known.policy(fidelity)
        job = await self._services.jobs.get(job_id)
        stages = stages_of(job.spec, await self._services.jobs.templates(job_id))
        return policy_of(job, stages, fidelity)

    async def run_step(self, job_id: str, name: str, arguments: list[str | int]) -> str:
        """Runs one step of a job."""
        context = await self.context(job_id)
        result = await JobSteps(self._services, context).run(name, *arguments)
        if is_final(context.job):
            await self._forget(job_id)
        return result

    async def fail(self, job_id: str, reason: str, message: str) -> None:
        """Ends a job that cannot go on; one that was asked to stop has stopped."""
        job = await self._services.jobs.get(job_id)
        if job.state == job_v1.JOB_STATE_CANCELLING:
            await ending.cancel(self._services, job)
        elif not is_final(job):
            failure = types_v1.Failure(reason=reason, message=message)
            await ending.fail(self._services, job, failure)
        await self._forget(job_id)

    async def request_pause(self, job_id: str) -> job_v1.Job:
        """Asks a job to pause at the end of the batch in hand."""
        context = await self.context(job_id)
        _require(context.job, not_in={*FINAL_STATES, job_v1.JOB_STATE_CANCELLING})
        if context.may_run.is_set():
            context.may_run.clear()
            await self._services.states.move(context.job, job_v1.JOB_STATE_PAUSING)
        return context.job

    async def request_resume(self, job_id: str) -> job_v1.Job:
        """Lets a paused job go on."""
        context = await self.context(job_id)
        _require(context.job, not_in=FINAL_STATES)
        if not context.may_run.is_set():
            context.may_run.set()
            await self._services.states.move(context.job, job_v1.JOB_STATE_RUNNING)
        return context.job

    async def request_cancel(self, job_id: str) -> job_v1.Job:
        """Asks a job to stop; one that has ended already is left as it is."""
        job = await self._services.jobs.get(job_id)
        if is_final(job):
            return job
        context = await self.context(job_id)
        if is_final(context.job) or context.cancelled:
            return context.job
        context.cancelled = True
        context.may_run.set()
        await self._services.states.move(context.job, job_v1.JOB_STATE_CANCELLING)
        return context.job

    async def close(self) -> None:
        """Closes the connections to every app."""
        for job_id in list(self._contexts):
            await self._forget(job_id)

    async def _build(self, job_id: str) -> JobContext:
        services = self._services
        job = await services.jobs.get(job_id)
        _require(job, not_in=FINAL_STATES)
        sealed = await services.jobs.secret(job_id)
        key = None if sealed is None else self._secrets.open(sealed)
        context = JobContext(
            job_id=job_id,
            job=job,
            pools=pools_of(job.spec),
            app=self._connect(job.spec.task_app.uri, key),
            stages=stages_of(job.spec, await services.jobs.templates(job_id)),
            graph=job.verifier_graph,
            cancelled=job.state == job_v1.JOB_STATE_CANCELLING,
        )
        if job.state not in {job_v1.JOB_STATE_PAUSING, job_v1.JOB_STATE_PAUSED}:
            context.may_run.set()
        if job.phase > job_v1.JOB_PHASE_BASELINE:
            await hold_for_test(services, context)
        return context

    async def _forget(self, job_id: str) -> None:
        self._building.pop(job_id, None)
        self._services.ledger.forget(job_id)
        context = self._contexts.pop(job_id, None)
        if context is not None:
            await context.app.close()


def _require(job: job_v1.Job, *, not_in: Set[job_v1.JobState.ValueType]) -> None:
    if job.state in not_in:
        name = name_of(job.state)
        raise JobNotRunning(
            f"`{job.name}` is {name}; it can no longer be paused, resumed or worked on",
            metadata={"job": job.name, "state": name},
        )

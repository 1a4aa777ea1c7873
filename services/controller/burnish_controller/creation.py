"""Creates jobs: every fault told at once, nothing made twice."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.errors import AlreadyExists, InvalidArgument
from burnish_controller.context import LEARNT_STAGE, JobContext, pools_of, stages_of
from burnish_controller.durable import DurableEngine
from burnish_controller.ledger.engine import Pricer
from burnish_controller.peers import CALL_SECONDS, Peers
from burnish_controller.pools import beyond, pool_problems
from burnish_controller.proposer_spec import proposer_problems
from burnish_controller.registry import AppConnector
from burnish_controller.secrets import SecretBox
from burnish_controller.settling import Draft, draft, register, settle
from burnish_controller.states import is_final
from burnish_controller.store.events import EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.policies import PolicyStore
from burnish_controller.task_apps import TaskAppClient
from burnish_controller.validation import require_none, spec_problems, spec_warnings

_JOB_ID = re.compile(r"[a-z][a-z0-9_-]{3,62}")


class JobExists(AlreadyExists):
    """A job of that id that is not the same job."""

    default_reason = "JOB_EXISTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCreator:
    """Checks requests for jobs and carries them out.

    Attributes:
        price_of: Price of a model, None when unknown.
        tenant_left: US dollars that the tenant may still spend; None without a cap.
        connect: Opens a client of a task app.
    """

    jobs: JobStore
    policies: PolicyStore
    events: EventLog
    engine: DurableEngine
    peers: Peers
    secrets: SecretBox
    price_of: Pricer
    tenant_left: Callable[[], Awaitable[float | None]]
    connect: AppConnector

    async def create(self, request: job_v1.CreateJobRequest) -> job_v1.Job:
        """Creates and starts a job, or returns the one that the same request made before.

        Raises:
            SpecInvalid: With every fault of the request.
            JobExists: The id or the request belongs to a job with another spec.
            TaskAppUnhealthy: The app does not answer.
        """
        job_id = request.job_id or f"pl_{secrets.token_hex(8)}"
        if not request.validate_only:
            known = await self.jobs.find(job_id=job_id, request_id=request.request_id)
            if known is not None:
                return await self._started(known, request)
        job = job_v1.Job(
            name=f"jobs/{job_id}",
            spec=request.spec,
            state=job_v1.JOB_STATE_PENDING,
            study=f"studies/{job_id}",
            warnings=list(spec_warnings(request.spec)),
        )
        drafted = await self._check(job, request)
        if request.validate_only:
            return job
        await register(job, drafted, self.peers)
        secret = None
        if request.task_app_api_key:
            secret = self.secrets.seal(request.task_app_api_key)
        stored = await self.jobs.create(job, request_id=request.request_id, secret=secret)
        return await self._started(stored, request)

    async def _started(self, job: job_v1.Job, request: job_v1.CreateJobRequest) -> job_v1.Job:
        """Starts a job that was stored; one that was started before is left as it is."""
        if job.spec != request.spec:
            raise JobExists(
                f"`{job.name}` is another job; choose another id and `request_id`",
                metadata={"job": job.name},
            )
        job_id = job.name.removeprefix("jobs/")
        if await self.events.last(job_id) is None:
            event = job_v1.JobEvent(message="created")
            event.state_changed.to_state = job_v1.JOB_STATE_PENDING
            await self.events.append_state(job_id, event)
        if not is_final(job):
            await self.engine.start(job_id)
        return job

    async def _check(self, job: job_v1.Job, request: job_v1.CreateJobRequest) -> Draft:
        """Refuses a job with faults, and settles how the job is scored."""
        job_id, spec = job.name.removeprefix("jobs/"), request.spec
        problems = []
        if not _JOB_ID.fullmatch(job_id):
            problems.append(
                f"`job_id` is `{job_id}`; use 4 to 63 characters of a-z, 0-9, `_` and `-`,"
                " beginning with a letter"
            )
        if await self.policies.get(job_id) is not None:
            problems.append(f"`job_id` is `{job_id}`, the name of an online policy; use another")
        problems += await proposer_problems(spec.proposer, self.peers)
        problems += spec_problems(
            spec, price_of=self.price_of, tenant_left=await self.tenant_left()
        )
        source = spec.offline.bootstrap.source_job
        if (
            source
            and await self.jobs.find(job_id=source.removeprefix("jobs/"), request_id="") is None
        ):
            problems.append(f"`bootstrap.source_job` is `{source}`, and there is no such job")
        drafted = await draft(spec, self.peers, price_of=self.price_of)
        problems += drafted.problems
        app: TaskAppClient | None = None
        try:
            app = self.connect(spec.task_app.uri, request.task_app_api_key or None)
        except InvalidArgument as error:
            if not any("task_app.uri" in problem for problem in problems):
                problems.append(f"`task_app.uri`: {error.message}")
        try:
            if app is not None and spec.HasField("offline") and not pool_problems(spec.offline):
                problems += await self._search_problems(job_id, spec, app)
            require_none(problems)
            if app is not None:
                info = await app.check()
                if spec.HasField("offline") and info.seed_count is not None:
                    missing, partly = beyond(spec.offline, seed_count=info.seed_count)
                    require_none(missing)
                    job.warnings.extend(partly)
                require_none(settle(job, drafted, rubrics=info.rubrics))
        finally:
            if app is not None:
                await app.close()
        return drafted

    async def _search_problems(
        self, job_id: str, spec: job_v1.JobSpec, app: TaskAppClient
    ) -> list[str]:
        """Has the search judge its algorithm and settings."""
        draft = JobContext(
            job_id=job_id,
            job=job_v1.Job(name=f"jobs/{job_id}", spec=spec),
            pools=pools_of(spec),
            app=app,
        )
        study = draft.study()
        del study.stage_ids[:]
        stages = [stage.template.stage_id for stage in stages_of(spec, None)]
        study.stage_ids.extend(stages or [LEARNT_STAGE])
        request = search_v1.CreateStudyRequest(study=study, validate_only=True)
        try:
            async with rpc.translated():
                await self.peers.search.CreateStudy(request, timeout=CALL_SECONDS)
        except InvalidArgument as error:
            return [error.message]
        return []

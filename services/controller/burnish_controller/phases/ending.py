"""How a job begins to be billed, and what its log tells last: the bill, then the final state."""

from __future__ import annotations

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.resources import JobName
from burnish.usages import total_usage
from burnish_controller.phases.base import PhaseServices
from burnish_controller.states import name_of


async def begin(services: PhaseServices, job: job_v1.Job) -> None:
    """Notes that a job's first phase begins; a job that was begun before goes on."""
    await services.states.begin(job)
    started = job_v1.BillingStarted()
    if job.spec.budget.HasField("max_cost_usd"):
        started.max_cost_usd = job.spec.budget.max_cost_usd
    await services.events.append(
        JobName.parse(job.name).id,
        "billing/started",
        job_v1.JobEvent(message="billed from here on", billing_started=started),
    )


async def succeed(services: PhaseServices, job: job_v1.Job) -> None:
    """Ends a job that did all it had to do."""
    await _conclude(services, job, job_v1.JOB_STATE_SUCCEEDED)
    await services.states.succeed(job)


async def cancel(services: PhaseServices, job: job_v1.Job) -> None:
    """Ends a job that was asked to stop."""
    await _bill(services, job)
    await services.states.cancel(job)


async def fail(services: PhaseServices, job: job_v1.Job, failure: types_v1.Failure) -> None:
    """Ends a job that cannot go on."""
    await _conclude(services, job, job_v1.JOB_STATE_FAILED, failure=failure)
    await services.states.fail(job, failure)


async def _conclude(
    services: PhaseServices,
    job: job_v1.Job,
    state: job_v1.JobState.ValueType,
    *,
    failure: types_v1.Failure | None = None,
) -> None:
    await _bill(services, job)
    job_id = JobName.parse(job.name).id
    usage = await services.ledger.usage(job_id)
    name = name_of(state)
    await services.events.append(
        job_id,
        f"concluded/{name}",
        job_v1.JobEvent(
            message=f"done: {name}",
            job_concluded=job_v1.JobConcluded(state=state, usage_by_role=usage, failure=failure),
        ),
    )


async def _bill(services: PhaseServices, job: job_v1.Job) -> None:
    job_id = JobName.parse(job.name).id
    summary = await services.progress.budget(job)
    summary.budget_updated.final = True
    await services.events.append(job_id, "budget/final", summary)
    total = total_usage((await services.ledger.usage(job_id)).values())
    ended = job_v1.BillingEnded(total=total)
    elapsed = await services.progress.elapsed_of(job)
    ended.elapsed.FromNanoseconds(int(elapsed * 1e9))
    spent = f"{total.cost_usd:.4f} US dollars" if total.HasField("cost_usd") else "unknown cost"
    await services.events.append(
        job_id,
        "billing/ended",
        job_v1.JobEvent(message=f"billed: {spent} in {elapsed:.1f} s", billing_ended=ended),
    )

"""The gate between batches: pauses, cancels, and says when a cap ends the search."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.phases.base import PhaseServices


async def wait_while_paused(services: PhaseServices, job: JobContext) -> None:
    """Waits while the job is paused; the time does not count towards its cap."""
    while not job.may_run.is_set():
        await services.states.move(job.job, job_v1.JOB_STATE_PAUSED)
        await job.may_run.wait()


async def cap_reached(
    services: PhaseServices, job: JobContext
) -> job_v1.TerminationReason.ValueType | None:
    """Says which cap ends the search now, or None when it may go on."""
    budget = job.spec.budget
    progress = job.job.progress
    if job.cancelled:
        return job_v1.TERMINATION_REASON_CANCELLED
    if budget.max_rollouts and await used_rollouts(services, job) >= budget.max_rollouts:
        return job_v1.TERMINATION_REASON_ROLLOUT_LIMIT
    if budget.max_trials and progress.trials_completed >= budget.max_trials:
        return job_v1.TERMINATION_REASON_TRIAL_LIMIT
    if await _out_of_time(services, job):
        return job_v1.TERMINATION_REASON_TIME_LIMIT
    if _target_reached(job):
        return job_v1.TERMINATION_REASON_TARGET_REACHED
    unscored = await services.rollouts.unscored(job.job_id)
    if unscored.get("BUDGET_EXHAUSTED", 0):
        return job_v1.TERMINATION_REASON_BUDGET_EXHAUSTED
    return None


async def used_rollouts(services: PhaseServices, job: JobContext) -> int:
    """Returns how many rollouts count towards the cap: all but the closing test's."""
    counts = await services.rollouts.counts(job.job_id)
    return sum(finished for phase, (finished, _) in counts.items() if phase != "test")


async def remaining_rollouts(services: PhaseServices, job: JobContext) -> int | None:
    """Returns how many rollouts the cap still allows; None without a cap."""
    cap = job.spec.budget.max_rollouts
    if not cap:
        return None
    return max(0, cap - await used_rollouts(services, job))


async def allowed_cells(
    services: PhaseServices, job: JobContext, cells: Sequence[types_v1.Cell]
) -> list[types_v1.Cell]:
    """Returns the cells that the rollout cap allows, from the first on; finished ones are free."""
    remaining = await remaining_rollouts(services, job)
    if remaining is None:
        return list(cells)
    finished = await services.rollouts.by_ids([job.rollout_id(cell) for cell in cells])
    allowed = []
    for cell in cells:
        if job.rollout_id(cell) in finished:
            allowed.append(cell)
        elif remaining > 0:
            remaining -= 1
            allowed.append(cell)
    return allowed


async def _out_of_time(services: PhaseServices, job: JobContext) -> bool:
    """Whether the time that is left is needed for the closing test."""
    budget = job.spec.budget
    if not budget.HasField("max_duration"):
        return False
    cap = budget.max_duration.ToNanoseconds() / 1e9
    elapsed = await services.progress.elapsed(job)
    counts = await services.rollouts.counts(job.job_id)
    finished = sum(count for count, _ in counts.values())
    per_rollout = elapsed / finished if finished else 0.0
    return elapsed + 2 * len(job.pools.test) * per_rollout >= cap


def _target_reached(job: JobContext) -> bool:
    budget = job.spec.budget
    return (
        budget.HasField("target_reward")
        and job.job.HasField("best_reward")
        and job.job.best_reward.mean >= budget.target_reward
    )

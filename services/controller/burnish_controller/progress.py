"""Says how far a job is and what it has spent, after every batch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from google.protobuf import json_format

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.estimates.rollouts import gepa_plan
from burnish.resources import JobName
from burnish.usages import total_usage
from burnish_controller.context import JobContext
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.store.events import EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.rollouts import RolloutStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReporter:
    """Counts from the stores; keeps nothing of its own."""

    jobs: JobStore
    events: EventLog
    rollouts: RolloutStore
    ledger: CallLedger

    async def elapsed(self, job: JobContext) -> float:
        """Returns the seconds since the job began, pauses not counted."""
        return await self.elapsed_of(job.job)

    async def elapsed_of(self, job: job_v1.Job) -> float:
        """Returns what `elapsed` does, for a job that need not be running."""
        if not job.HasField("start_time"):
            return 0.0
        began = job.start_time.ToNanoseconds() / 1e9
        ended = time.time()
        if job.HasField("end_time"):
            ended = job.end_time.ToNanoseconds() / 1e9
        paused = await self.jobs.paused_seconds(JobName.parse(job.name).id)
        return max(0.0, ended - began - paused)

    async def report(self, job: JobContext, key: str) -> None:
        """Stores the job's progress and logs it, with what was spent."""
        progress = await self._progress(job)
        job.job.progress.CopyFrom(progress)
        await self.jobs.save(job.job)
        done, planned = progress.rollouts_completed, progress.rollouts_planned
        await self.events.append(
            job.job_id,
            f"progress/{key}",
            job_v1.JobEvent(message=f"{done} of {planned} rollouts", progress=progress),
        )
        await self.events.append(job.job_id, f"budget/{key}", await self.budget(job.job))

    async def _progress(self, job: JobContext) -> job_v1.JobProgress:
        counts = await self.rollouts.counts(job.job_id)
        finished = sum(count for count, _ in counts.values())
        planned = self._planned(job)
        if job.job.phase >= job_v1.JOB_PHASE_TEST:
            tested = counts.get("test", (0, 0))[0]
            planned = finished - tested + _test_rollouts(job)
        planned = max(finished, planned)
        elapsed = await self.elapsed(job)
        progress = job_v1.JobProgress(
            rollouts_completed=finished,
            rollouts_planned=planned,
            rollouts_unscored=sum(unscored for _, unscored in counts.values()),
            trials_completed=job.job.progress.trials_completed,
            trials_planned=job.job.progress.trials_planned,
            trials_at_improvement=job.job.progress.trials_at_improvement,
            fraction=finished / planned if planned else 0.0,
            usage=await self.usage(job),
        )
        progress.elapsed.FromNanoseconds(int(elapsed * 1e9))
        if finished:
            remaining = elapsed * (planned - finished) / finished
            progress.remaining.FromNanoseconds(int(remaining * 1e9))
        seen = [
            holder.best_reward
            for holder in (job.job.progress, job.job)
            if holder.HasField("best_reward")
        ]
        if seen:
            progress.best_reward.CopyFrom(max(seen, key=lambda one: one.mean))
        return progress

    async def usage(self, job: JobContext) -> types_v1.Usage:
        """Returns what the job has used over every role."""
        return total_usage((await self.ledger.usage(job.job_id)).values())

    def _planned(self, job: JobContext) -> int:
        pools = job.pools
        test = 2 * len(pools.test)
        cap = job.spec.budget.max_rollouts
        if cap:
            return cap + test
        before = len(job.learning_seeds()) + len(pools.validation) + len(pools.bootstrap)
        plan = search_plan(job)
        return before + plan.rollouts + test

    async def budget(self, job: job_v1.Job) -> job_v1.JobEvent:
        """Returns an event that tells what a job has spent and holds back."""
        job_id = JobName.parse(job.name).id
        by_role = await self.ledger.usage(job_id)
        account = await self.ledger.account(job_id)
        total = total_usage(by_role.values())
        budget = job.spec.budget
        updated = job_v1.BudgetUpdated(total=total, by_role=by_role, max_tokens=budget.max_tokens)
        reserved = account.reserved() + account.held
        if reserved.usd is not None:
            updated.reserved_usd = reserved.usd
        if budget.HasField("max_cost_usd"):
            updated.max_cost_usd = budget.max_cost_usd
        spent = f"{total.cost_usd:.4f} US dollars" if total.HasField("cost_usd") else "unknown cost"
        tokens = total.input_tokens + total.output_tokens
        return job_v1.JobEvent(
            message=f"{total.call_count} calls, {tokens} tokens, {spent}", budget_updated=updated
        )


def _test_rollouts(job: JobContext) -> int:
    """Returns how many rollouts the test takes now that the winner is known."""
    kept = job.job.best_candidate_id == job.baseline().candidate_id
    return len(job.pools.test) * (1 if kept else 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What a job's settings ask the search for; a cap may end it before.

    Attributes:
        iterations: Iterations.
        trials_per_iteration: Minibatches in each.
        trials: Minibatches in all.
        batch_size: Rows of a minibatch.
        rollouts: Rollouts of them all.
    """

    iterations: int
    trials_per_iteration: int
    trials: int
    batch_size: int
    rollouts: int


def search_plan(job: JobContext) -> SearchPlan:
    """Returns what a job's settings ask the search for; iterations of GEPA are its generations."""
    settings = json_format.MessageToDict(job.spec.algorithm_settings)
    gepa = gepa_plan(job.spec)
    if gepa is not None:
        return SearchPlan(
            iterations=gepa.generations,
            trials_per_iteration=gepa.children,
            trials=gepa.trials,
            batch_size=gepa.minibatch,
            rollouts=gepa.rollouts(validation=len(job.pools.validation)),
        )
    per_iteration = int(settings.get("num_evaluations_per_iteration", 5))
    trials = int(settings.get("num_trials", settings.get("num_iterations", 20) * per_iteration))
    batch_size = int(settings.get("batch_size", 32))
    return SearchPlan(
        iterations=int(settings.get("num_iterations", math.ceil(trials / per_iteration))),
        trials_per_iteration=per_iteration,
        trials=trials,
        batch_size=batch_size,
        rollouts=trials * batch_size,
    )

"""The named steps of an offline job, over the phases. Each may run again after a crash."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from burnish.api.job import v1 as job_v1
from burnish_controller.context import JobContext
from burnish_controller.phases import baseline, bootstrap, closing, gate, propose, search
from burnish_controller.phases.base import PhaseServices

Step = Callable[..., Awaitable[str]]


class JobSteps:
    """The steps of one job by name; each returns a short text that the engine keeps."""

    def __init__(self, services: PhaseServices, job: JobContext) -> None:
        self._services = services
        self._job = job

    async def run(self, name: str, *arguments: str | int) -> str:
        """Runs the step of a name."""
        step: Step = getattr(self, f"step_{name}")
        return await step(*arguments)

    async def step_enter_phase(self, name: str) -> str:
        """Moves the job to a phase and logs it."""
        await gate.wait_while_paused(self._services, self._job, f"phase/{name}")
        await enter_phase(self._services, self._job, job_v1.JobPhase.Value(name))
        return ""

    async def step_check_app(self) -> str:
        """Asks the app whether it is well."""
        await self._job.app.check()
        return ""

    async def step_learn_baseline(self) -> str:
        """Learns the baseline when none was given."""
        if self._job.learning and not self._job.cancelled:
            await baseline.learn_baseline(self._services, self._job)
        return ""

    async def step_evaluate_baseline(self) -> str:
        """Evaluates the baseline on the validation pool."""
        if not self._job.cancelled:
            await baseline.evaluate_baseline(self._services, self._job)
        return ""

    async def step_cancelled_here(self) -> str:
        """Ends the job when it was asked to stop."""
        if not self._job.cancelled:
            return "no"
        self._job.job.termination_reason = job_v1.TERMINATION_REASON_CANCELLED
        await end_job(self._services, self._job, job_v1.JOB_STATE_CANCELLED)
        return "yes"

    async def step_run_bootstrap(self, part: int) -> str:
        """Runs one part of the bootstrap pool."""
        await gate.wait_while_paused(self._services, self._job, f"bootstrap/{part}")
        more = await bootstrap.run_bootstrap_pool(self._services, self._job, part)
        return "more" if more and not self._job.cancelled else "done"

    async def step_build_demo_sets(self) -> str:
        """Builds the demo sets."""
        if not self._job.cancelled:
            await bootstrap.build_demo_sets(self._services, self._job)
        return ""

    async def step_propose(self) -> str:
        """Has the first instructions written."""
        await propose.propose(self._services, self._job, key="first", iteration=0, stage_ids=())
        return ""

    async def step_open_space(self) -> str:
        """Adds the demo sets and instructions to the study."""
        await search.open_space(self._services, self._job)
        return ""

    async def step_suggest(self, ask_index: int) -> str:
        """Asks for the next work."""
        return await search.suggest(self._services, self._job, ask_index)

    async def step_evaluate(self, ask_index: int) -> str:
        """Runs the cells of a work."""
        await search.evaluate(self._services, self._job, ask_index)
        return ""

    async def step_tell(self, ask_index: int) -> str:
        """Tells the search what a work's cells came to."""
        await search.tell(self._services, self._job, ask_index)
        return ""

    async def step_answer_brief(self, ask_index: int) -> str:
        """Has instructions written that the search asked for."""
        await search.answer_brief(self._services, self._job, ask_index)
        return ""

    async def step_end_search(self, reason: str) -> str:
        """Notes why the search ended."""
        await search.end(self._services, self._job, reason)
        return ""

    async def step_choose_winner(self) -> str:
        """Takes the candidate that the search ranks first."""
        return await closing.choose_winner(self._services, self._job)

    async def step_run_test(self, winner: str, part: int) -> str:
        """Runs one part of the closing test."""
        await gate.wait_while_paused(self._services, self._job, f"test/{part}")
        more = await closing.run_test(self._services, self._job, winner, part)
        return "more" if more and not self._job.cancelled else "done"

    async def step_conclude(self, winner: str) -> str:
        """Logs what the test says."""
        await closing.conclude(self._services, self._job, winner)
        return ""

    async def step_succeed(self) -> str:
        """Ends the job."""
        await end_job(self._services, self._job, job_v1.JOB_STATE_SUCCEEDED)
        return ""


async def enter_phase(
    services: PhaseServices, job: JobContext, phase: job_v1.JobPhase.ValueType
) -> None:
    """Moves a job to a phase; the first one also starts it."""
    before = job.job.phase
    if job.job.state == job_v1.JOB_STATE_PENDING:
        job.job.state = job_v1.JOB_STATE_RUNNING
        job.job.start_time.FromNanoseconds(time.time_ns())
        await services.jobs.save(job.job, start_time=time.time())
        await services.events.append(
            job.job_id,
            "state/running",
            job_v1.JobEvent(
                message="running",
                state_changed=job_v1.StateChanged(
                    from_state=job_v1.JOB_STATE_PENDING, to_state=job_v1.JOB_STATE_RUNNING
                ),
            ),
        )
    job.job.phase = phase
    await services.jobs.save(job.job)
    name = job_v1.JobPhase.Name(phase)
    await services.events.append(
        job.job_id,
        f"phase/{name}",
        job_v1.JobEvent(
            message=f"phase: {name.removeprefix('JOB_PHASE_').lower()}",
            phase_changed=job_v1.PhaseChanged(from_phase=before, to_phase=phase),
        ),
    )


async def end_job(
    services: PhaseServices, job: JobContext, state: job_v1.JobState.ValueType
) -> None:
    """Moves a job to a final state, once."""
    before = job.job.state
    job.job.state = state
    job.job.end_time.FromNanoseconds(time.time_ns())
    event = job_v1.JobEvent(
        message=job_v1.JobState.Name(state).removeprefix("JOB_STATE_").lower(),
        state_changed=job_v1.StateChanged(from_state=before, to_state=state),
    )
    if state == job_v1.JOB_STATE_FAILED:
        event.level = job_v1.EVENT_LEVEL_ERROR
        event.state_changed.failure.CopyFrom(job.job.failure)
        event.message = f"failed: {job.job.failure.message}"
    await services.jobs.save(job.job)
    sequence = await services.events.append(job.job_id, "state/final", event)
    job.job.last_sequence = sequence
    await services.jobs.save(job.job)

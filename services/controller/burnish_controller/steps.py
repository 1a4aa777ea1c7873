"""The named steps of an offline job, over the phases. Each may run again after a crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from burnish.api.job import v1 as job_v1
from burnish.errors import Internal
from burnish_controller.context import JobContext
from burnish_controller.phases import (
    baseline,
    bootstrap,
    closing,
    ending,
    gate,
    given,
    propose,
    search,
)
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.briefing import Round
from burnish_controller.task_apps import ask

CANCELLED = "cancelled"
Step = Callable[..., Awaitable[str]]


class JobSteps:
    """The steps of one job by name; each returns a short text that the engine keeps."""

    def __init__(self, services: PhaseServices, job: JobContext) -> None:
        self._services = services
        self._job = job

    async def run(self, name: str, *arguments: str | int) -> str:
        """Runs the step of a name.

        Raises:
            Internal: There is none.
        """
        step = STEPS.get(name)
        if step is None:
            raise Internal(f"there is no step `{name}`", metadata={"step": name})
        return await step(self, *arguments)

    async def enter_phase(self, name: str) -> str:
        """Moves the job to a phase, or ends it when it was asked to stop."""
        await gate.wait_while_paused(self._services, self._job)
        if self._job.cancelled:
            await ending.cancel(self._services, self._job.job)
            return CANCELLED
        await _enter(self._services, self._job, job_v1.JobPhase.Value(name))
        return ""

    async def check_app(self) -> str:
        """Asks the app whether it is well."""
        await ask(self._job.app.check)
        return ""

    async def learn_baseline(self) -> str:
        """Learns the baseline when none was given."""
        if self._job.learning and not self._job.cancelled:
            await baseline.learn_baseline(self._services, self._job)
        return ""

    async def evaluate_baseline(self) -> str:
        """Evaluates the baseline on the validation pool."""
        if not self._job.cancelled:
            await baseline.evaluate_baseline(self._services, self._job)
        return ""

    async def run_bootstrap(self, part: int) -> str:
        """Runs one part of the bootstrap pool."""
        await gate.wait_while_paused(self._services, self._job)
        more = await bootstrap.run_bootstrap_pool(self._services, self._job, part)
        return "more" if more and not self._job.cancelled else "done"

    async def build_demo_sets(self) -> str:
        """Builds the demo sets."""
        if not self._job.cancelled:
            await bootstrap.build_demo_sets(self._services, self._job)
        return ""

    async def propose(self) -> str:
        """Adds the instructions that the user wrote, and has the first ones written."""
        await given.add_drafts(self._services, self._job)
        if not self._job.spec.proposer.later_rounds_only:
            await propose.propose(self._services, self._job, Round(key="first"))
        return ""

    async def open_space(self) -> str:
        """Adds the demo sets and instructions to the study."""
        await search.open_space(self._services, self._job)
        return ""

    async def suggest(self, ask_index: int) -> str:
        """Asks for the next work."""
        return await search.suggest(self._services, self._job, ask_index)

    async def evaluate(self, ask_index: int) -> str:
        """Runs the cells of a work."""
        await search.evaluate(self._services, self._job, ask_index)
        return ""

    async def tell(self, ask_index: int) -> str:
        """Tells the search what a work's cells came to."""
        await search.tell(self._services, self._job, ask_index)
        return ""

    async def answer_brief(self, ask_index: int) -> str:
        """Has instructions written that the search asked for; returns which they are."""
        return await search.answer_brief(self._services, self._job, ask_index)

    async def settle_brief(self, ask_index: int, written: str) -> str:
        """Screens what was written, and adds it to the study."""
        await search.settle_brief(self._services, self._job, ask_index, written)
        return ""

    async def end_search(self, reason: str) -> str:
        """Notes why the search ended."""
        await search.end(self._services, self._job, reason)
        return ""

    async def choose_winner(self) -> str:
        """Takes the candidate that the search ranks first."""
        return await closing.choose_winner(self._services, self._job)

    async def run_test(self, winner: str, part: int) -> str:
        """Runs one part of the closing test."""
        await gate.wait_while_paused(self._services, self._job)
        more = await closing.run_test(self._services, self._job, winner, part)
        return "more" if more and not self._job.cancelled else "done"

    async def conclude(self, winner: str) -> str:
        """Logs what the test says; the half of a test says nothing."""
        if not self._job.cancelled:
            await closing.conclude(self._services, self._job, winner)
        return ""

    async def succeed(self) -> str:
        """Ends the job."""
        if self._job.cancelled:
            await ending.cancel(self._services, self._job.job)
        else:
            await ending.succeed(self._services, self._job.job)
        return ""


STEPS: Mapping[str, Step] = {
    "enter_phase": JobSteps.enter_phase,
    "check_app": JobSteps.check_app,
    "learn_baseline": JobSteps.learn_baseline,
    "evaluate_baseline": JobSteps.evaluate_baseline,
    "run_bootstrap": JobSteps.run_bootstrap,
    "build_demo_sets": JobSteps.build_demo_sets,
    "propose": JobSteps.propose,
    "open_space": JobSteps.open_space,
    "suggest": JobSteps.suggest,
    "evaluate": JobSteps.evaluate,
    "tell": JobSteps.tell,
    "answer_brief": JobSteps.answer_brief,
    "settle_brief": JobSteps.settle_brief,
    "end_search": JobSteps.end_search,
    "choose_winner": JobSteps.choose_winner,
    "run_test": JobSteps.run_test,
    "conclude": JobSteps.conclude,
    "succeed": JobSteps.succeed,
}


async def _enter(
    services: PhaseServices, job: JobContext, phase: job_v1.JobPhase.ValueType
) -> None:
    await ending.begin(services, job.job)
    before = job.job.phase
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

"""Entries of a job's log that several phases write, and the prompts that they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.store.rollouts import FinishedRollout


async def log_component(
    services: PhaseServices, job: JobContext, *, message: str, added: job_v1.ComponentAdded
) -> None:
    """Logs that a component joined the search space.

    Args:
        services: What the phases work with.
        job: The job.
        message: For a person to read.
        added: The component and where it came from; its module is set here.
    """
    component = added.component
    for stage in job.stages:
        if stage.template.stage_id == component.stage_id:
            added.module_id = stage.template.module_id
    await services.events.append(
        job.job_id,
        f"component/{component.component_id}",
        job_v1.JobEvent(message=message, component_added=added),
    )


async def log_rollouts(
    services: PhaseServices, job: JobContext, *, what: str, seeds: Sequence[int]
) -> None:
    """Logs that a phase's rollouts begin.

    Args:
        services: What the phases work with.
        job: The job.
        what: Names the rollouts, unique in the job.
        seeds: Seeds that they are drawn from.
    """
    started = job_v1.RolloutsStarted(phase=job.job.phase, seeds=seeds)
    message = f"{what}: rollouts on {len(seeds)} rows"
    await services.events.append(
        job.job_id, f"rollouts/{what}", job_v1.JobEvent(message=message, rollouts_started=started)
    )


async def log_batch(
    services: PhaseServices, job: JobContext, *, what: str, done: Sequence[FinishedRollout],
    total: int,
) -> None:  # fmt: skip
    """Logs how a phase's rollouts score so far.

    Args:
        services: What the phases work with.
        job: The job.
        what: Names the rollouts, as `log_rollouts` does.
        done: All of them that are finished.
        total: How many there will be.
    """
    reward = estimate(done)
    mean = "nothing scored yet" if reward is None else f"mean reward {reward.mean:.3f} so far"
    await services.events.append(
        job.job_id,
        f"batch/{what}/{len(done)}",
        job_v1.JobEvent(
            message=f"{what}: {mean}, {len(done)} of {total} rollouts",
            batch_scored=job_v1.BatchScored(
                phase=job.job.phase, reward=reward, completed_count=len(done), total_count=total
            ),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The components and templates of a job, to put candidates together from.

    Attributes:
        components: Every component by id.
        places: Position of each among those of its stage and kind, from 0.
        templates: The program's templates, in the order the stages run.
    """

    components: Mapping[str, types_v1.Component]
    places: Mapping[str, int]
    templates: Sequence[types_v1.PromptTemplate]

    def of(self, candidate: types_v1.Candidate) -> job_v1.CandidateContent:
        """Returns a candidate with everything that its text is made of."""
        chosen = [
            component_id
            for stage_id in sorted(candidate.stages)
            for component_id in (
                candidate.stages[stage_id].instruction_id,
                candidate.stages[stage_id].demo_set_id,
            )
            if component_id in self.components
        ]
        return job_v1.CandidateContent(
            candidate=candidate,
            components=[self.components[one] for one in chosen],
            templates=self.templates,
            index_by_component={one: self.places[one] for one in chosen},
        )


async def contents(services: PhaseServices, job: JobContext) -> Contents:
    """Returns what a job's candidates are made of."""
    found = await services.space.components(job.job_id)
    return Contents(
        components={one.component_id: one for one in found},
        places=places_of(found),
        templates=[stage.template for stage in job.stages],
    )


async def positions(services: PhaseServices, job: JobContext) -> Mapping[str, int]:
    """Returns the position of every component among those of its stage and kind, from 0."""
    return places_of(await services.space.components(job.job_id))


def places_of(components: Sequence[types_v1.Component]) -> dict[str, int]:
    """Returns the position of each component among those of its stage and kind, from 0."""
    counts: Counter[tuple[str, str | None]] = Counter()
    found = {}
    for component in components:
        kind = (component.stage_id, component.WhichOneof("content"))
        found[component.component_id] = counts[kind]
        counts[kind] += 1
    return found


def seed_scores(rollouts: Sequence[FinishedRollout]) -> list[job_v1.SeedScore]:
    """Returns the reward of each row, by seed; a row that was not scored has none."""
    ordered = sorted(rollouts, key=lambda one: one.result.cell.seed)
    return [job_v1.SeedScore(seed=one.result.cell.seed, reward=one.fused) for one in ordered]

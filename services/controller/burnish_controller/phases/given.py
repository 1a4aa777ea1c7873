"""What a job brings along: instructions that the user wrote, and rollouts of an earlier job."""

from __future__ import annotations

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.resources import JobName
from burnish_controller.context import JobContext, instruction_component
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.logs import log_component, positions
from burnish_controller.store.rollouts import FinishedRollout


async def add_drafts(services: PhaseServices, job: JobContext) -> None:
    """Adds the user's own instructions to the search space."""
    found = [
        instruction_component(draft.stage_id, draft.text, source=types_v1.COMPONENT_SOURCE_GIVEN)
        for draft in job.spec.drafts
    ]
    if not found:
        return
    await services.space.add_components(job.job_id, found)
    places = await positions(services, job)
    for component in found:
        await log_component(
            services,
            job,
            message=f"instruction for stage {component.stage_id}, given",
            added=job_v1.ComponentAdded(
                component=component, index=places[component.component_id], author="user"
            ),
        )


async def earlier_rollouts(services: PhaseServices, job: JobContext) -> list[FinishedRollout]:
    """Returns the scored rollouts of the source job that may give demos to this one.

    They ran the same baseline, which the candidate's content hash tells, on rows that this job does
    not score on: a demo from a row of a scoring pool would tell its answer.
    """
    source = job.spec.offline.bootstrap.source_job
    if not source:
        return []
    baseline = job.baseline().candidate_id
    scored_on = {*job.pools.online, *job.pools.validation, *job.pools.test}
    return [
        one
        for one in await services.rollouts.of_job(JobName.parse(source).id)
        if one.fused is not None
        and one.own
        and one.result.cell.candidate_id == baseline
        and one.result.cell.seed not in scored_on
    ]

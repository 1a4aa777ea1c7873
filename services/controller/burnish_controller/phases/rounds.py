"""A later round of proposals: what becomes of the instructions that the search asked for.

Writing them is one durable step, this is the next: a screen on a few rows where the job asks for
one, then the growth of the search space, and a limit on how many instructions the search goes on
with. The rewards of a screen are not told to the search, which did not ask for these candidates,
but a rollout that it asks for later is not run again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.verdicts import Interval
from burnish_controller.context import JobContext
from burnish_controller.descent import child_of
from burnish_controller.dispatch import Batch
from burnish_controller.phases import gate
from burnish_controller.phases.base import PhaseServices, cells, scores
from burnish_controller.phases.briefing import Round
from burnish_controller.phases.generations import evolves, log_written
from burnish_controller.statistics import paired_difference

SCREENED_OUT = "SCREENED_OUT"
_MOST_RANKED = 1000


async def round_of(services: PhaseServices, job: JobContext, work: search_v1.Work) -> Round:
    """Returns the round that a brief of the search asks for."""
    brief = work.proposal
    entries = await services.log.entries(job.job_id)
    earlier = [
        entry.work_suggested.ask_index
        for entry in entries
        if entry.work_suggested.HasField("proposal")
        and entry.work_suggested.ask_index < work.ask_index
    ]
    return Round(
        key=f"brief-{work.ask_index}",
        iteration=brief.iteration,
        number=1 + len(earlier),
        stage_ids=brief.stage_ids,
        count=brief.count,
        parents=brief.parent_candidate_ids,
        mode=brief.mode,
        evidence_seeds=brief.evidence_seeds,
    )


async def settle(
    services: PhaseServices, job: JobContext, work: search_v1.Work, written: Sequence[str]
) -> None:
    """Screens what was written, grows the search space by it, and retires what is too many.

    Args:
        services: What the phases work with.
        job: The job.
        work: The brief that asked.
        written: Ids of the components that were written for it.
    """
    every = {one.component_id: one for one in await services.space.components(job.job_id)}
    found = [every[one] for one in written if one in every]
    out = await _screen(services, job, work, found)
    session, key = services.session(job), f"brief/{work.ask_index}"
    fresh = [one for one in written if one not in out]
    surplus = await _surplus(services, job, every, fresh=fresh)
    await session.add_components(key, found)
    if out or surplus:
        await session.retire(key, [*out, *surplus])
    await session.close(work.ask_index)
    settled = job_v1.ProposalSettled(
        iteration=work.proposal.iteration,
        screen_row_count=_screen_rows(job),
        joined_component_ids=[one for one in fresh if one not in surplus],
        screened_component_ids=out,
        retired_component_ids=surplus,
    )
    if evolves(job):
        await log_written(services, job, work, found)
    await services.events.append(
        job.job_id,
        f"settled/{work.ask_index}",
        job_v1.JobEvent(message=_told(settled), proposal_settled=settled),
    )


def _told(settled: job_v1.ProposalSettled) -> str:
    message = f"{len(settled.joined_component_ids)} new instructions join the search"
    if settled.screened_component_ids:
        message += (
            f", {len(settled.screened_component_ids)} stay out after"
            f" {settled.screen_row_count} rows"
        )
    if settled.retired_component_ids:
        message += f", {len(settled.retired_component_ids)} are retired"
    return message


def _screen_rows(job: JobContext) -> int:
    """Returns how many rows a screen takes; 0 for none, as where the search has its own gate."""
    if evolves(job):
        return 0
    return min(job.spec.proposer.meta_update.screen_row_count, len(job.pools.online))


async def _screen(
    services: PhaseServices,
    job: JobContext,
    work: search_v1.Work,
    found: Sequence[types_v1.Component],
) -> list[str]:
    """Returns the ids of instructions that do worse than the incumbent beyond doubt."""
    count = _screen_rows(job)
    if not count or not found or job.cancelled:
        return []
    incumbent = await _incumbent(services, job, work.proposal.parent_candidate_ids)
    tried = {one.component_id: child_of(incumbent, one) for one in found}
    await services.space.add_candidates(job.job_id, list(tried.values()))
    rng = random.Random(f"{job.spec.random_seed}/screen/{work.ask_index}")  # noqa: S311
    seeds = sorted(rng.sample(job.pools.online, count))
    wanted = cells(incumbent.candidate_id, types_v1.POOL_ONLINE, seeds)
    for one in tried.values():
        wanted += cells(one.candidate_id, types_v1.POOL_ONLINE, seeds)
    allowed = await gate.allowed_cells(services, job, wanted)
    done = await services.dispatcher.run(job, Batch(phase="search", cells=allowed))
    by_candidate: dict[str, dict[int, float]] = {
        one: scores([r for r in done if r.result.cell.candidate_id == one])
        for one in {incumbent.candidate_id, *(one.candidate_id for one in tried.values())}
    }
    out = []
    for component in found:
        own = by_candidate[tried[component.component_id].candidate_id]
        difference = paired_difference(own, by_candidate[incumbent.candidate_id])
        if difference is not None and difference.count > 1 and difference.upper < 0:
            out.append(component.component_id)
            await _log_out(services, job, component, difference)
    return out


async def _surplus(
    services: PhaseServices,
    job: JobContext,
    every: Mapping[str, types_v1.Component],
    *,
    fresh: Sequence[str],
) -> list[str]:
    """Returns the ids of the worst instructions beyond what the search goes on with, by stage.

    The baseline's stay, then those that are new, which nobody has looked at, then the best.
    """
    most = job.spec.proposer.meta_update.max_kept_count
    if not most or evolves(job):
        return []
    ranked = await services.session(job).rank(_MOST_RANKED)
    by_standing: dict[str, None] = {}
    for one in ranked:
        for choice in one.candidate.stages.values():
            by_standing[choice.instruction_id] = None
    offered = await _offered(services, job)
    surplus = []
    for stage in job.stages:
        stage_id = stage.template.stage_id
        mine = [
            one
            for one in [*fresh, *by_standing, *offered]
            if (one in offered or one in fresh) and every[one].stage_id == stage_id
        ]
        kept = [
            one
            for one in dict.fromkeys(mine)
            if every[one].source != types_v1.COMPONENT_SOURCE_BASELINE
        ]
        surplus += kept[max(most - 1, 0) :]
    return surplus


async def _offered(services: PhaseServices, job: JobContext) -> list[str]:
    """Returns the ids of the instructions that the search may choose now."""
    found: dict[str, None] = {}
    for entry in await services.log.entries(job.job_id):
        for one in entry.components_added.components:
            if one.WhichOneof("content") == "instruction":
                found[one.component_id] = None
        for component_id in entry.components_retired.component_ids:
            found.pop(component_id, None)
    return list(found)


async def _incumbent(
    services: PhaseServices, job: JobContext, parents: Sequence[str]
) -> types_v1.Candidate:
    for candidate_id in parents[:1]:
        known = await services.space.candidate(job.job_id, candidate_id)
        if known is not None:
            return known
    return job.baseline()


async def _log_out(
    services: PhaseServices,
    job: JobContext,
    component: types_v1.Component,
    difference: Interval,
) -> None:
    message = (
        f"{-difference.mean:.3f} worse than the incumbent on {difference.count} rows"
        f" (95 % interval {difference.lower:+.3f} to {difference.upper:+.3f})"
    )
    await services.events.append(
        job.job_id,
        f"screened/{component.component_id}",
        job_v1.JobEvent(
            level=job_v1.EVENT_LEVEL_WARNING,
            message=f"a new instruction for stage {component.stage_id} stays out: {message}",
            proposal_refused=job_v1.ProposalRefused(
                stage_id=component.stage_id, reason=SCREENED_OUT, message=message
            ),
        ),
    )

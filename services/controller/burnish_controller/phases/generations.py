"""What a search by GEPA tells the job's log: generations, transformations and the front.

Everything is derived from the study's ledger and the rollouts, under keys that a repeat finds
again, so each thing is told once however often a step runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf import json_format

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.gepa_plan import GEPA
from burnish.row_fronts import front
from burnish_controller.context import JobContext
from burnish_controller.descent import (
    Descent,
    child_of,
    compares,
    generation_of,
    parents_of,
    read,
)
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.progress import search_plan
from burnish_controller.store.rollouts import FinishedRollout

_TIES: Final = 1e-6
_MODES: Final = {
    search_v1.PROPOSAL_MODE_REFLECTION: ("reflect", job_v1.MUTATION_TYPE_LLM_GUIDED),
    search_v1.PROPOSAL_MODE_MERGE: ("merge", job_v1.MUTATION_TYPE_CROSSOVER),
}
_FRESH: Final = ("propose", job_v1.MUTATION_TYPE_MUTATION)
_FIRST: Final = {
    types_v1.COMPONENT_SOURCE_PROPOSED: ("propose", job_v1.MUTATION_TYPE_INITIAL_POPULATION),
    types_v1.COMPONENT_SOURCE_GIVEN: ("given", job_v1.MUTATION_TYPE_INITIAL_POPULATION),
}
_GATHERED: Final = ("gather", job_v1.MUTATION_TYPE_INITIAL_POPULATION)
_RECOMBINED: Final = ("recombine", job_v1.MUTATION_TYPE_CROSSOVER)


def evolves(job: JobContext) -> bool:
    """Whether the job's search goes by generations."""
    return job.spec.algorithm == GEPA


async def log_population(services: PhaseServices, job: JobContext) -> None:
    """Logs the candidates that evolution begins with: the baseline with one new component."""
    baseline = job.baseline()
    own = {one.component_id for one in job.baseline_components()}
    for component in await services.space.components(job.job_id):
        if component.component_id in own:
            continue
        found = _transformation(
            _FIRST.get(component.source, _GATHERED),
            generation=0,
            parents=[baseline.candidate_id],
        )
        if component.WhichOneof("content") == "instruction":
            found.text_by_stage[component.stage_id] = component.instruction.text
        await _log_child(services, job, child_of(baseline, component), found)


async def log_work(services: PhaseServices, job: JobContext, work: search_v1.Work) -> None:
    """Logs the generation that a work begins, the one that it ends, and what it recombines."""
    entries = await services.log.entries(job.job_id)
    baseline = job.baseline()
    so_far = read(entries, baseline_id=baseline.candidate_id, before=work.ask_index)
    generation = generation_of(work)
    if generation is None:
        return
    if generation > so_far.generation:
        if so_far.generation >= 0:
            await _log_end(services, job, so_far)
        await _log_begin(services, job, so_far, generation)
    announced = _announced(entries, job, so_far)
    for trial in work.evaluation.trials:
        own = trial.candidate.candidate_id
        if own == baseline.candidate_id or own in so_far.born or own in announced:
            continue
        likeliest = [one for one in reversed(so_far.candidates) if one in so_far.full]
        parents = parents_of(trial.candidate, so_far.candidates, likeliest)
        found = _transformation(_RECOMBINED, generation=generation, parents=parents)
        await _log_child(services, job, trial.candidate, found)


async def log_written(
    services: PhaseServices,
    job: JobContext,
    work: search_v1.Work,
    written: Sequence[types_v1.Component],
) -> None:
    """Logs the children that a brief brought."""
    brief = work.proposal
    parent = job.baseline()
    for candidate_id in brief.parent_candidate_ids[:1]:
        parent = await services.space.candidate(job.job_id, candidate_id) or parent
    for component in written:
        found = _transformation(
            _MODES.get(brief.mode, _FRESH),
            generation=brief.iteration,
            parents=brief.parent_candidate_ids,
        )
        found.text_by_stage[component.stage_id] = component.instruction.text
        found.parameters["evidence_rows"] = str(len(brief.evidence_seeds))
        await _log_child(services, job, child_of(parent, component), found)


async def log_front(services: PhaseServices, job: JobContext, work: search_v1.Work) -> None:
    """Logs how the front stands after a work, when that measured somebody in full and moved it."""
    if not any(compares(trial) for trial in work.evaluation.trials):
        return
    entries = await services.log.entries(job.job_id)
    baseline_id = job.baseline().candidate_id
    before = read(entries, baseline_id=baseline_id, before=work.ask_index)
    after = read(entries, baseline_id=baseline_id, before=work.ask_index + 1)
    done = await _measured(services, job, after)
    eps = float(json_format.MessageToDict(job.spec.algorithm_settings).get("pareto_eps", _TIES))
    was = front(_rewards(job, before, done), eps=eps)
    now = front(_rewards(job, after, done), eps=eps)
    if was.keys() == now.keys():
        return
    added, removed = sorted(now.keys() - was.keys()), sorted(was.keys() - now.keys())
    await services.events.append(
        job.job_id,
        f"frontier/{work.ask_index}",
        job_v1.JobEvent(
            message=f"{len(now)} candidates on the front: {len(added)} joined, {len(removed)} left",
            frontier_updated=job_v1.FrontierUpdated(
                candidate_ids=sorted(now, key=lambda one: (-now[one], one)),
                added_candidate_ids=added,
                removed_candidate_ids=removed,
                best_reward=_best(job, after, done, among=now),
            ),
        ),
    )


async def log_last(services: PhaseServices, job: JobContext) -> None:
    """Logs the end of the last generation that began."""
    entries = await services.log.entries(job.job_id)
    found = read(entries, baseline_id=job.baseline().candidate_id)
    if found.generation >= 0:
        await _log_end(services, job, found)


def _announced(
    entries: Sequence[search_v1.StudyEntry], job: JobContext, so_far: Descent
) -> set[str]:
    """Returns the ids of children that were told of when their instruction was written."""
    known = {**so_far.candidates, job.baseline().candidate_id: job.baseline()}
    parent = job.baseline()
    found: set[str] = set()
    for entry in entries:
        if entry.work_suggested.HasField("proposal"):
            first = entry.work_suggested.proposal.parent_candidate_ids[:1]
            parent = next((known[one] for one in first if one in known), job.baseline())
        for component in entry.components_added.components:
            found.add(child_of(parent, component).candidate_id)
    return found


async def _log_begin(
    services: PhaseServices, job: JobContext, so_far: Descent, generation: int
) -> None:
    planned = search_plan(job).iterations
    population = len({*so_far.full, job.baseline().candidate_id})
    started = job_v1.GenerationStarted(
        generation=generation, planned_count=planned, population_count=population
    )
    await services.events.append(
        job.job_id,
        f"generation/{generation}",
        job_v1.JobEvent(
            message=f"generation {generation}: a population of {population}",
            generation_started=started,
        ),
    )


async def _log_end(services: PhaseServices, job: JobContext, found: Descent) -> None:
    """Logs who was left out in the last generation, and what it came to."""
    generation = found.generation
    done = await _measured(services, job, found)
    children, accepted = found.children(generation), found.accepted(generation)
    for one in children:
        if one not in accepted:
            await _log_rejected(services, job, one, _of(job, found.looked.get(one, []), done))
    completed = job_v1.GenerationCompleted(
        generation=generation,
        proposed_count=len(children),
        accepted_count=len(accepted),
        best_reward=_best(job, found, done, among=found.full),
    )
    await services.events.append(
        job.job_id,
        f"generation/{generation}/completed",
        job_v1.JobEvent(
            message=f"generation {generation}: {len(accepted)} of {len(children)} accepted",
            generation_completed=completed,
        ),
    )


async def _log_rejected(
    services: PhaseServices, job: JobContext, candidate_id: str, seen: Sequence[FinishedRollout]
) -> None:
    reward = estimate(seen)
    failed = reward is None
    await services.events.append(
        job.job_id,
        f"rejected/{candidate_id}",
        job_v1.JobEvent(
            message="a child could not be scored" if failed else "a child is no better: left out",
            candidate_evaluated=job_v1.CandidateEvaluated(
                candidate_id=candidate_id,
                status=job_v1.CANDIDATE_STATUS_FAILED
                if failed
                else job_v1.CANDIDATE_STATUS_REJECTED,
                reward=reward,
            ),
        ),
    )


def _transformation(
    how: tuple[str, job_v1.MutationType.ValueType], *, generation: int, parents: Sequence[str]
) -> job_v1.TransformationProposed:
    operator, mutation = how
    return job_v1.TransformationProposed(
        generation=generation,
        mutation_type=mutation,
        operator=operator,
        parent_candidate_ids=parents,
    )


async def _log_child(
    services: PhaseServices,
    job: JobContext,
    child: types_v1.Candidate,
    found: job_v1.TransformationProposed,
) -> None:
    """Logs how a candidate was derived, under the candidate's name: one is derived once."""
    found.transformation_id = f"transformation-{child.candidate_id.removeprefix('cand_')}"
    found.candidate_id = child.candidate_id
    await services.events.append(
        job.job_id,
        f"transformation/{child.candidate_id}",
        job_v1.JobEvent(
            message=f"generation {found.generation}: a child by `{found.operator}`",
            transformation_proposed=found,
        ),
    )


async def _measured(
    services: PhaseServices, job: JobContext, found: Descent
) -> Mapping[str, FinishedRollout]:
    held = [*found.full.values(), *found.looked.values()]
    return await services.rollouts.by_ids([job.rollout_id(one) for part in held for one in part])


def _of(
    job: JobContext, cells: Sequence[types_v1.Cell], done: Mapping[str, FinishedRollout]
) -> list[FinishedRollout]:
    """Returns the rollouts of some cells, each once."""
    ids = dict.fromkeys(job.rollout_id(one) for one in cells)
    return [done[one] for one in ids if one in done]


def _rewards(
    job: JobContext, found: Descent, done: Mapping[str, FinishedRollout]
) -> dict[str, dict[int, float]]:
    """Returns the rewards of the full measurements by candidate and row."""
    rewards = {}
    for candidate_id, cells in found.full.items():
        scored = [one for one in _of(job, cells, done) if one.fused is not None]
        rewards[candidate_id] = {
            one.result.cell.seed: one.fused for one in scored if one.fused is not None
        }
    return {one: rows for one, rows in rewards.items() if rows}


def _best(
    job: JobContext,
    found: Descent,
    done: Mapping[str, FinishedRollout],
    *,
    among: Mapping[str, object],
) -> types_v1.Estimate | None:
    """Returns the best mean of the full measurements."""
    means = [estimate(_of(job, cells, done)) for one, cells in found.full.items() if one in among]
    return max((one for one in means if one is not None), key=lambda one: one.mean, default=None)

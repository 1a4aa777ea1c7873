"""One step of the search at a time: ask, run the cells, tell; each may run again after a crash."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import Internal
from burnish_controller.context import JobContext, candidate
from burnish_controller.dispatch import Batch
from burnish_controller.phases import gate, generations, proxy, rounds, search_log
from burnish_controller.phases.base import PhaseServices, observation, report_unscored
from burnish_controller.phases.logs import log_rollouts
from burnish_controller.phases.propose import propose
from burnish_controller.progress import search_plan

_FINISH = {
    search_v1.FINISH_REASON_COMPLETED: job_v1.TERMINATION_REASON_COMPLETED,
    search_v1.FINISH_REASON_BUDGET: job_v1.TERMINATION_REASON_ROLLOUT_LIMIT,
    search_v1.FINISH_REASON_SPACE_EXHAUSTED: job_v1.TERMINATION_REASON_SPACE_EXHAUSTED,
    search_v1.FINISH_REASON_NO_IMPROVEMENT: job_v1.TERMINATION_REASON_NO_IMPROVEMENT,
    search_v1.FINISH_REASON_TARGET_REACHED: job_v1.TERMINATION_REASON_TARGET_REACHED,
}


class IdMismatch(Internal):
    """The search service names a candidate that we would mint differently."""

    default_reason = "CANDIDATE_ID_MISMATCH"


async def open_space(services: PhaseServices, job: JobContext) -> None:
    """Adds everything that bootstrap and proposal made to the study's space."""
    components = await services.space.components(job.job_id)
    await services.session(job).add_components("first", components)
    job.job.progress.trials_planned = search_plan(job).trials
    await search_log.log_started(services, job, component_count=len(components))
    if generations.evolves(job):
        await generations.log_population(services, job)
    await log_rollouts(services, job, what="search", seeds=job.pools.online)


async def suggest(services: PhaseServices, job: JobContext, ask_index: int) -> str:
    """Asks for the next work and returns `evaluate`, `propose`, or the reason to stop.

    A work that was suggested before is returned as it is, so a repeat asks nothing.
    """
    session = services.session(job)
    work = await session.asked(ask_index)
    if work is None:
        await gate.wait_while_paused(services, job)
        reason = await gate.cap_reached(services, job) or _stalled(job)
        if reason is not None:
            return job_v1.TerminationReason.Name(reason)
        remaining = await gate.remaining_rollouts(services, job)
        work = await session.ask(ask_index, remaining=remaining)
    action = work.WhichOneof("action")
    if action == "finished":
        return job_v1.TerminationReason.Name(await _ended(services, job, work.finished))
    if generations.evolves(job):
        await generations.log_work(services, job, work)
    if action == "proposal":
        return "propose"
    await _know(services, job, work.evaluation)
    await search_log.announce(services, job, work)
    return "evaluate"


async def _ended(
    services: PhaseServices, job: JobContext, finished: search_v1.Finished
) -> job_v1.TerminationReason.ValueType:
    """Returns why the search says that it is over: of its limits, the one that it met."""
    if finished.reason == search_v1.FINISH_REASON_BUDGET and job.spec.budget.max_trials:
        remaining = await gate.remaining_rollouts(services, job)
        if remaining is None or remaining >= search_plan(job).batch_size:
            return job_v1.TERMINATION_REASON_TRIAL_LIMIT
    return _FINISH.get(finished.reason, job_v1.TERMINATION_REASON_COMPLETED)


async def evaluate(services: PhaseServices, job: JobContext, ask_index: int) -> None:
    """Runs the cells of a work."""
    work = await _work(services, job, ask_index)
    plan = await proxy.planned(services, job, work)
    allowed = await gate.allowed_cells(services, job, _distinct(plan.cells()))
    own = [cell for cell in allowed if not cell.fidelity]
    await services.dispatcher.run(job, Batch(phase="search", cells=own))
    cheap = [cell for cell in allowed if cell.fidelity]
    if cheap:
        await services.dispatcher.run(job, Batch(phase=proxy.PHASE, cells=cheap))


async def tell(services: PhaseServices, job: JobContext, ask_index: int) -> None:
    """Tells a work's observations, closes it, and logs what came out."""
    work = await _work(services, job, ask_index)
    trials = work.evaluation.trials
    plan = await proxy.planned(services, job, work)
    found = _distinct(plan.cells())
    by_id = await services.rollouts.by_ids([job.rollout_id(cell) for cell in found])
    done = [by_id[one] for one in map(job.rollout_id, found) if one in by_id]
    session = services.session(job)
    told = [observation(one) for one in done if not one.result.cell.fidelity]
    await session.tell(str(ask_index), [*told, *plan.predictions(job, by_id)])
    await session.close(ask_index)
    await report_unscored(services, job, f"search/{ask_index}", done)
    for trial in trials:
        cells = plan.cells_of(trial)
        rollouts = [by_id[one] for one in map(job.rollout_id, cells) if one in by_id]
        predicted = plan.predicted(trial, rollouts)
        await search_log.log_trial(services, job, trial, rollouts, predicted=predicted)
    await proxy.log_change(services, job, ask_index)
    await search_log.log_top(services, job, trials, by_id)
    if generations.evolves(job):
        await generations.log_front(services, job, work)
    job.job.progress.trials_completed = max(
        job.job.progress.trials_completed, *(trial.trial_index + 1 for trial in trials)
    )
    await search_log.log_incumbent(services, job, ask_index, trials)
    await services.progress.report(job, f"search/{ask_index}")


async def answer_brief(services: PhaseServices, job: JobContext, ask_index: int) -> str:
    """Has instructions written that the search asked for; returns their ids, parted by commas."""
    work = await _work(services, job, ask_index)
    found = await propose(services, job, await rounds.round_of(services, job, work))
    return ",".join(one.component_id for one in found)


async def settle_brief(
    services: PhaseServices, job: JobContext, ask_index: int, written: str
) -> None:
    """Screens what was written for a brief and adds it to the search space."""
    work = await _work(services, job, ask_index)
    await rounds.settle(services, job, work, [one for one in written.split(",") if one])


async def end(services: PhaseServices, job: JobContext, reason: str) -> None:
    """Notes why the search ended."""
    value = job_v1.TerminationReason.Value(reason)
    job.job.termination_reason = value
    await services.jobs.save(job.job)
    if generations.evolves(job):
        await generations.log_last(services, job)
    else:
        await search_log.log_last_iteration(services, job)
    name = reason.removeprefix("TERMINATION_REASON_").lower()
    await services.events.append(
        job.job_id,
        "search/ended",
        job_v1.JobEvent(
            message=f"search ended: {name}", search_ended=job_v1.SearchEnded(reason=value)
        ),
    )


async def _work(services: PhaseServices, job: JobContext, ask_index: int) -> search_v1.Work:
    work = await services.session(job).asked(ask_index)
    if work is None:
        raise Internal(f"ask {ask_index} of {job.job.name} was not suggested yet")
    return work


async def _know(services: PhaseServices, job: JobContext, evaluation: search_v1.Evaluation) -> None:
    """Stores the candidates of a work, once it is certain that we mint the same ids."""
    for trial in evaluation.trials:
        minted = candidate(dict(trial.candidate.stages))
        if minted.candidate_id != trial.candidate.candidate_id:
            raise IdMismatch(
                f"search names a candidate `{trial.candidate.candidate_id}` that is"
                f" `{minted.candidate_id}` here; run the same release of both",
                metadata={"candidate_id": minted.candidate_id},
            )
    await services.space.add_candidates(
        job.job_id, [trial.candidate for trial in evaluation.trials]
    )


def _stalled(job: JobContext) -> job_v1.TerminationReason.ValueType | None:
    """Says whether the search has gone on too long without a better candidate."""
    if generations.evolves(job):
        # It counts by itself, and looks at its best once more before it ends.
        return None
    limit = job.spec.budget.max_trials_without_improvement
    progress = job.job.progress
    if limit and progress.trials_completed - progress.trials_at_improvement >= limit:
        return job_v1.TERMINATION_REASON_NO_IMPROVEMENT
    return None


def _distinct(found: Sequence[types_v1.Cell]) -> list[types_v1.Cell]:
    seen: set[bytes] = set()
    kept = []
    for cell in found:
        key = cell.SerializeToString(deterministic=True)
        if key not in seen:
            seen.add(key)
            kept.append(cell)
    return kept

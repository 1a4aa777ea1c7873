"""What a search tells the job's log: iterations, trials, the best candidate so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.descent import compares
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.phases.generations import evolves
from burnish_controller.phases.logs import contents
from burnish_controller.progress import search_plan
from burnish_controller.store.rollouts import FinishedRollout

_ON_VALIDATION = (search_v1.TRIAL_KIND_FULL, search_v1.TRIAL_KIND_TOP_K)


async def log_started(services: PhaseServices, job: JobContext, *, component_count: int) -> None:
    """Logs that the search begins."""
    plan = search_plan(job)
    await services.events.append(
        job.job_id,
        "search/started",
        job_v1.JobEvent(
            message=f"searching among {component_count} instructions and demo sets",
            search_started=job_v1.SearchStarted(
                iteration_count=plan.iterations,
                trials_per_iteration=plan.trials_per_iteration,
                batch_size=plan.batch_size,
                component_count=component_count,
            ),
        ),
    )


async def announce(services: PhaseServices, job: JobContext, work: search_v1.Work) -> None:
    """Logs the trials of a work before they run, and the iterations that they begin and end."""
    evaluation = work.evaluation
    for trial in evaluation.trials:
        if not evolves(job):
            if trial.iteration > 0:
                await _log_iteration_end(
                    services, job, trial.iteration - 1, trials=evaluation.trials[0].trial_index
                )
            await _log_iteration_start(services, job, trial.iteration)
        await services.events.append(
            job.job_id,
            f"trial/{trial.trial_index}/started",
            job_v1.JobEvent(
                message=f"trial {trial.trial_index}: {_kind(trial)} on {len(trial.cells)} rows",
                trial_started=job_v1.TrialStarted(
                    trial_index=trial.trial_index,
                    iteration=trial.iteration,
                    candidate_id=trial.candidate.candidate_id,
                    seed_count=len(trial.cells),
                ),
            ),
        )
        if trial.kind in _ON_VALIDATION:
            await _log_evaluation_start(services, job, trial)
    if evaluation.HasField("sampler"):
        await _log_sampler(services, job, work)


async def log_trial(
    services: PhaseServices,
    job: JobContext,
    trial: search_v1.Trial,
    rollouts: Sequence[FinishedRollout],
    *,
    predicted: types_v1.Estimate | None = None,
) -> None:
    """Logs what a trial came to; `predicted` takes the place of what was measured."""
    reward = estimate(rollouts) if predicted is None else predicted
    event = job_v1.JobEvent(message=f"trial {trial.trial_index}: nothing could be scored")
    if reward is not None:
        event.message = (
            f"trial {trial.trial_index}: {_kind(trial)} {reward.mean:.3f}"
            f"{' predicted' if predicted is not None else ''} on {reward.row_count} rows"
        )
    if trial.kind == search_v1.TRIAL_KIND_FULL:
        event.full_evaluation_completed.CopyFrom(
            job_v1.FullEvaluationCompleted(
                trial_index=trial.trial_index,
                candidate_id=trial.candidate.candidate_id,
                reward=reward,
                iteration=trial.iteration,
            )
        )
    else:
        event.trial_completed.CopyFrom(
            job_v1.TrialCompleted(
                trial_index=trial.trial_index,
                iteration=trial.iteration,
                candidate_id=trial.candidate.candidate_id,
                reward=reward,
                seed_count=len(trial.cells),
                unscored_count=sum(one.fused is None for one in rollouts),
                predicted=predicted is not None,
            )
        )
    await services.events.append(job.job_id, f"trial/{trial.trial_index}/completed", event)
    if trial.kind in _ON_VALIDATION:
        await _log_evaluation(services, job, trial, reward)


async def log_top(
    services: PhaseServices,
    job: JobContext,
    trials: Sequence[search_v1.Trial],
    by_id: Mapping[str, FinishedRollout],
) -> None:
    """Logs the re-scored top candidates of a work, ranked as they were believed before."""
    top = [trial for trial in trials if trial.kind == search_v1.TRIAL_KIND_TOP_K]
    if not top:
        return
    made_of = await contents(services, job)
    baseline = estimate(await services.rollouts.of_job(job.job_id, phase="baseline"))
    before = await services.rollouts.of_job(job.job_id, phase="search")
    minibatches = [one for one in before if one.result.cell.pool == types_v1.POOL_ONLINE]
    for rank, trial in enumerate(top, start=1):
        reward = estimate([by_id[one] for one in map(job.rollout_id, trial.cells) if one in by_id])
        scored = "nothing could be scored" if reward is None else f"{reward.mean:.3f}"
        own = trial.candidate.candidate_id
        search = estimate([one for one in minibatches if one.result.cell.candidate_id == own])
        await services.events.append(
            job.job_id,
            f"trial/{trial.trial_index}/top",
            job_v1.JobEvent(
                message=f"top candidate {rank}: {scored}",
                top_k_evaluated=job_v1.TopKEvaluated(
                    rank=rank,
                    candidate_id=own,
                    reward=reward,
                    search=search,
                    baseline=baseline,
                    content=made_of.of(trial.candidate),
                ),
            ),
        )


async def log_last_iteration(services: PhaseServices, job: JobContext) -> None:
    """Logs the end of the last iteration that began."""
    last = -1
    sequence = 0
    while page := await services.events.after(job.job_id, sequence):
        sequence = page[-1].sequence
        for event in page:
            if event.HasField("iteration_started"):
                last = max(last, event.iteration_started.iteration)
    if last >= 0:
        await _log_iteration_end(services, job, last, trials=job.job.progress.trials_completed)


async def log_incumbent(
    services: PhaseServices, job: JobContext, ask_index: int, trials: Sequence[search_v1.Trial]
) -> None:
    """Notes a new best candidate, by what the search believes of all it was told."""
    ranked = await services.session(job).rank(1)
    if not ranked or not trials:
        return
    best = ranked[0]
    job.job.ClearField("best_reward")
    if best.HasField("validation"):
        job.job.best_reward.CopyFrom(best.validation)
    if best.candidate.candidate_id == job.job.best_candidate_id:
        return
    job.job.best_candidate_id = best.candidate.candidate_id
    last = trials[-1]
    job.job.progress.trials_at_improvement = last.trial_index + 1
    await services.events.append(
        job.job_id,
        f"incumbent/{ask_index}",
        job_v1.JobEvent(
            message=f"new best candidate, believed {best.pooled.mean:.3f}",
            new_incumbent=job_v1.NewIncumbent(
                candidate_id=best.candidate.candidate_id,
                reward=best.pooled,
                trial_index=last.trial_index,
                iteration=last.iteration,
            ),
        ),
    )


async def _log_iteration_start(services: PhaseServices, job: JobContext, iteration: int) -> None:
    plan, budget = search_plan(job), job.spec.budget
    await services.events.append(
        job.job_id,
        f"iteration/{iteration}",
        job_v1.JobEvent(
            message=f"iteration {iteration + 1}",
            iteration_started=job_v1.IterationStarted(
                iteration=iteration,
                planned_count=plan.iterations,
                trials_per_iteration=plan.trials_per_iteration,
                batch_size=plan.batch_size,
                max_trials=budget.max_trials,
                max_rollouts=budget.max_rollouts,
                max_duration=budget.max_duration if budget.HasField("max_duration") else None,
            ),
        ),
    )


async def _log_iteration_end(
    services: PhaseServices, job: JobContext, iteration: int, *, trials: int
) -> None:
    await services.events.append(
        job.job_id,
        f"iteration/{iteration}/completed",
        job_v1.JobEvent(
            message=f"iteration {iteration + 1} ended",
            iteration_completed=job_v1.IterationCompleted(
                iteration=iteration, cumulative_trial_count=trials
            ),
        ),
    )


async def _log_sampler(services: PhaseServices, job: JobContext, work: search_v1.Work) -> None:
    sampler = work.evaluation.sampler
    await services.events.append(
        job.job_id,
        f"sampler/{work.ask_index}",
        job_v1.JobEvent(
            message=f"the sampler takes {sampler.good_count} of {sampler.observation_count} trials"
            " for good ones",
            sampler_updated=job_v1.SamplerUpdated(
                ask_index=work.ask_index,
                observation_count=sampler.observation_count,
                good_count=sampler.good_count,
                bad_count=sampler.bad_count,
                gamma=sampler.gamma,
            ),
        ),
    )


async def _log_evaluation_start(
    services: PhaseServices, job: JobContext, trial: search_v1.Trial
) -> None:
    await services.events.append(
        job.job_id,
        f"trial/{trial.trial_index}/evaluating",
        job_v1.JobEvent(
            message=f"trial {trial.trial_index}: a closer look at a candidate",
            candidate_evaluation_started=job_v1.CandidateEvaluationStarted(
                candidate_id=trial.candidate.candidate_id, seed_count=len(trial.cells)
            ),
        ),
    )


async def _log_evaluation(
    services: PhaseServices,
    job: JobContext,
    trial: search_v1.Trial,
    reward: types_v1.Estimate | None,
) -> None:
    top = trial.kind == search_v1.TRIAL_KIND_TOP_K
    status = job_v1.CANDIDATE_STATUS_EVALUATED
    if reward is None:
        status = job_v1.CANDIDATE_STATUS_FAILED
    elif evolves(job) and compares(trial) and not _is_baseline(job, trial):
        status = job_v1.CANDIDATE_STATUS_ACCEPTED
    await services.events.append(
        job.job_id,
        f"trial/{trial.trial_index}/evaluated",
        job_v1.JobEvent(
            message=f"trial {trial.trial_index}: a candidate was evaluated",
            candidate_evaluated=job_v1.CandidateEvaluated(
                candidate_id=trial.candidate.candidate_id,
                status=status,
                purpose=job_v1.EVALUATION_PURPOSE_OPTIMIZED
                if top
                else job_v1.EVALUATION_PURPOSE_UNSPECIFIED,
                reward=reward,
            ),
        ),
    )


def _is_baseline(job: JobContext, trial: search_v1.Trial) -> bool:
    return trial.candidate.candidate_id == job.baseline().candidate_id


def _kind(trial: search_v1.Trial) -> str:
    return search_v1.TrialKind.Name(trial.kind).removeprefix("TRIAL_KIND_").lower()

"""What a search tells the job's log: iterations, trials, the best candidate so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish_controller.context import JobContext
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.store.rollouts import FinishedRollout


async def announce(
    services: PhaseServices, job: JobContext, evaluation: search_v1.Evaluation
) -> None:
    """Logs the trials of a work before they run, and the iterations that they begin and end."""
    planned = _planned_iterations(job)
    for trial in evaluation.trials:
        if trial.iteration > 0:
            await _log_iteration_end(
                services, job, trial.iteration - 1, trials=evaluation.trials[0].trial_index
            )
        await services.events.append(
            job.job_id,
            f"iteration/{trial.iteration}",
            job_v1.JobEvent(
                message=f"iteration {trial.iteration + 1}",
                iteration_started=job_v1.IterationStarted(
                    iteration=trial.iteration, planned_count=planned
                ),
            ),
        )
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


async def log_trial(
    services: PhaseServices,
    job: JobContext,
    trial: search_v1.Trial,
    rollouts: Sequence[FinishedRollout],
) -> None:
    """Logs what a trial came to."""
    reward = estimate(rollouts)
    event = job_v1.JobEvent(message=f"trial {trial.trial_index}: nothing could be scored")
    if reward is not None:
        event.message = (
            f"trial {trial.trial_index}: {_kind(trial)} {reward.mean:.3f}"
            f" on {reward.row_count} rows"
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
            )
        )
    await services.events.append(job.job_id, f"trial/{trial.trial_index}/completed", event)


async def log_top(
    services: PhaseServices,
    job: JobContext,
    trials: Sequence[search_v1.Trial],
    by_id: Mapping[str, FinishedRollout],
) -> None:
    """Logs the re-scored top candidates of a work, ranked as they were believed before."""
    top = [trial for trial in trials if trial.kind == search_v1.TRIAL_KIND_TOP_K]
    for rank, trial in enumerate(top, start=1):
        reward = estimate([by_id[one] for one in map(job.rollout_id, trial.cells) if one in by_id])
        scored = "nothing could be scored" if reward is None else f"{reward.mean:.3f}"
        await services.events.append(
            job.job_id,
            f"trial/{trial.trial_index}/top",
            job_v1.JobEvent(
                message=f"top candidate {rank}: {scored}",
                top_k_evaluated=job_v1.TopKEvaluated(
                    rank=rank, candidate_id=trial.candidate.candidate_id, reward=reward
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


def _planned_iterations(job: JobContext) -> int:
    settings = job.spec.algorithm_settings
    return int(settings["num_iterations"]) if "num_iterations" in settings else 0  # type: ignore[arg-type]


def _kind(trial: search_v1.Trial) -> str:
    return search_v1.TrialKind.Name(trial.kind).removeprefix("TRIAL_KIND_").lower()

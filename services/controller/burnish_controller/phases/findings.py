"""What a job's log tells at its end: the best prompts, their standing, all that was found."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.logs import Contents, contents, seed_scores
from burnish_controller.results import ResultBuilder

TOP = 5
MOST_CANDIDATES = 1000


async def log_findings(services: PhaseServices, job: JobContext) -> None:
    """Logs the finalists, the best prompts and the final results."""
    result = await ResultBuilder(
        jobs=services.jobs,
        events=services.events,
        space=services.space,
        log=services.log,
        rollouts=services.rollouts,
        ledger=services.ledger,
    ).build(job.job_id)
    made_of = await contents(services, job)
    validated = [one for one in result.candidates if one.HasField("validation")]
    await _log_validation(services, job, result, validated)
    for one in validated[:TOP]:
        await services.events.append(
            job.job_id,
            f"top/{one.rank}",
            job_v1.JobEvent(
                message=f"prompt of rank {one.rank}: {one.validation.mean:.3f} on validation rows",
                top_prompt=job_v1.TopPrompt(
                    rank=one.rank,
                    search=one.search if one.HasField("search") else None,
                    validation=one.validation,
                    content=made_of.of(one.candidate),
                ),
            ),
        )
    await _log_results(services, job, result, made_of)


async def _log_validation(
    services: PhaseServices,
    job: JobContext,
    result: job_v1.JobResult,
    validated: Sequence[job_v1.CandidateResult],
) -> None:
    rollouts = await services.rollouts.of_job(job.job_id, phase="baseline")
    rollouts += await services.rollouts.of_job(job.job_id, phase="search")
    for one in validated[:TOP]:
        rows = [
            rollout
            for rollout in rollouts
            if rollout.result.cell.candidate_id == one.candidate.candidate_id
            and rollout.result.cell.pool == types_v1.POOL_VALIDATION
        ]
        await services.events.append(
            job.job_id,
            f"validation/{one.rank}",
            job_v1.JobEvent(
                message=f"rank {one.rank}: {one.validation.mean:.3f}"
                f" on {one.validation.row_count} validation rows",
                validation_scored=job_v1.ValidationScored(
                    candidate_id=one.candidate.candidate_id,
                    rank=one.rank,
                    baseline=one.baseline,
                    reward=one.validation,
                    scores=seed_scores(rows),
                ),
            ),
        )
    summary = job_v1.ValidationSummarized(results=_slim(validated))
    if result.baseline.HasField("validation"):
        summary.baseline.CopyFrom(result.baseline.validation)
    await services.events.append(
        job.job_id,
        "validation/summary",
        job_v1.JobEvent(
            message=f"{len(validated)} candidates were evaluated on validation rows",
            validation_summarized=summary,
        ),
    )


async def _log_results(
    services: PhaseServices, job: JobContext, result: job_v1.JobResult, made_of: Contents
) -> None:
    best = made_of.of(result.best.candidate)
    reward = result.best.validation if result.best.HasField("validation") else None
    final = job_v1.FinalResults(
        best_reward=reward,
        best=best,
        candidates=_slim(result.candidates),
        candidate_count=len(result.candidates),
    )
    await services.events.append(
        job.job_id,
        "results",
        job_v1.JobEvent(
            message=f"{final.candidate_count} candidates were tried", final_results=final
        ),
    )
    completed = job_v1.SearchCompleted(best_full=reward, best=best, trial_count=len(result.history))
    minibatches = [
        one.reward for one in result.history if one.kind == "minibatch" and one.HasField("reward")
    ]
    if minibatches:
        completed.best_minibatch.CopyFrom(max(minibatches, key=lambda one: one.mean))
    await services.events.append(
        job.job_id,
        "search/completed",
        job_v1.JobEvent(
            message=f"the search has its winner, after {completed.trial_count} trials",
            search_completed=completed,
        ),
    )


def _slim(candidates: Sequence[job_v1.CandidateResult]) -> list[job_v1.CandidateResult]:
    """Returns the first candidates without the scores of their rows."""
    found = []
    for one in candidates[:MOST_CANDIDATES]:
        slim = job_v1.CandidateResult()
        slim.CopyFrom(one)
        slim.ClearField("test_scores")
        found.append(slim)
    return found

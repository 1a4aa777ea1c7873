"""The closing test: baseline and winner once, on the same rows that the search never saw."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.dispatch import Batch
from burnish_controller.phases.base import (
    PhaseServices,
    cells,
    chunks,
    estimate,
    report_unscored,
)
from burnish_controller.phases.findings import log_findings
from burnish_controller.phases.logs import contents, log_rollouts, seed_scores
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.tradeoff import MOST_WEIGHED, tradeoff_of
from burnish_controller.verdicts import judge


async def choose_winner(services: PhaseServices, job: JobContext) -> str:
    """Returns the id of the candidate that the search would take."""
    found = await services.session(job).preferred(MOST_WEIGHED)
    best = found.candidates[0]
    job.job.tradeoff.CopyFrom(tradeoff_of(job.spec, found))
    await services.space.add_candidates(job.job_id, [best.candidate])
    job.job.best_candidate_id = best.candidate.candidate_id
    if best.HasField("validation"):
        job.job.best_reward.CopyFrom(best.validation)
    if best.HasField("expected"):
        job.job.expected_reward.CopyFrom(best.expected)
    await services.jobs.save(job.job)
    return best.candidate.candidate_id


async def run_test(services: PhaseServices, job: JobContext, winner: str, part: int) -> bool:
    """Runs one part of the test, row by row in pairs; returns whether there are more."""
    parts = chunks(test_batch(job, winner))
    if part >= len(parts):
        return False
    await log_rollouts(services, job, what="test", seeds=job.pools.test)
    done = await services.dispatcher.run(job, parts[part])
    await report_unscored(services, job, f"test/{part}", done)
    await services.progress.report(job, f"test/{part}")
    return part + 1 < len(parts)


def test_batch(job: JobContext, winner: str) -> Batch:
    """Returns the cells of the test: for each row the baseline, then the winner."""
    baseline = job.baseline().candidate_id
    pool = types_v1.POOL_TEST
    found = []
    for seed in job.pools.test:
        found += cells(baseline, pool, [seed])
        if winner != baseline:
            found += cells(winner, pool, [seed])
    return Batch(phase="test", cells=found, closing=True)


async def conclude(services: PhaseServices, job: JobContext, winner: str) -> None:
    """Logs the test's result and what it means."""
    baseline = job.baseline().candidate_id
    done = await services.rollouts.of_job(job.job_id, phase="test")
    by_candidate: dict[str, list[FinishedRollout]] = {baseline: [], winner: []}
    for one in done:
        by_candidate.setdefault(one.result.cell.candidate_id, []).append(one)
    for candidate_id in dict.fromkeys((baseline, winner)):
        reward = estimate(by_candidate[candidate_id])
        if reward is None:
            continue
        name = "baseline" if candidate_id == baseline else "challenger"
        await services.events.append(
            job.job_id,
            f"test/{name}",
            job_v1.JobEvent(
                message=f"{name} on held-out rows: {reward.mean:.3f} on {reward.row_count}",
                test_evaluated=job_v1.TestEvaluated(
                    candidate_id=candidate_id,
                    baseline=candidate_id == baseline,
                    reward=reward,
                    scores=seed_scores(by_candidate[candidate_id]),
                ),
            ),
        )
    every = [one for one in await services.rollouts.of_job(job.job_id) if one.own]
    found = judge(job.job, every, challenger=winner, baseline=baseline)
    best = winner if found.promoted else baseline
    await _settle(services, job, best, every)
    made_of = await contents(services, job)
    candidates = {one.candidate_id: one for one in await services.space.candidates(job.job_id)}
    chosen = job_v1.WinnerChosen(
        candidate_id=best,
        baseline=best == baseline,
        verdict=found.sentence,
        reward=job.job.best_reward if job.job.HasField("best_reward") else None,
        content=made_of.of(candidates[best]),
    )
    if found.held_out is not None and found.held_out.HasField("difference"):
        chosen.test_difference.CopyFrom(found.held_out.difference)
    await services.events.append(
        job.job_id, "winner", job_v1.JobEvent(message=found.sentence, winner_chosen=chosen)
    )
    await log_findings(services, job)
    await services.progress.report(job, "closing")


async def _settle(
    services: PhaseServices, job: JobContext, best: str, every: Sequence[FinishedRollout]
) -> None:
    """Puts the baseline back in the first place when the challenger was not promoted."""
    if best == job.job.best_candidate_id:
        return
    job.job.best_candidate_id = best
    validated = estimate(
        [
            one
            for one in every
            if one.phase in {"baseline", "search"}
            and one.result.cell.candidate_id == best
            and one.result.cell.pool == types_v1.POOL_VALIDATION
        ]
    )
    job.job.ClearField("best_reward")
    if validated is not None:
        job.job.best_reward.CopyFrom(validated)
    await services.jobs.save(job.job)

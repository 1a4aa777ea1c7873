"""What a job tells while it runs: iterations that end, top candidates that are ranked."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_the_log_tells_iterations_ranks_and_what_is_planned(
    suite, intents_app, provider, harness
):
    pools = harness.Pools(range(20), range(60, 100), range(300, 320), range(420, 430))
    spec = harness.job_spec(intents_app.url, provider.model(), pools, num_iterations=3, top_k=2)
    run = await harness.run_job(suite, spec)

    def told(kind):
        return [getattr(event, kind) for event in run.events if event.HasField(kind)]

    started = [one.iteration for one in told("iteration_started")]
    assert started == list(range(len(started)))
    assert [one.iteration for one in told("iteration_completed")] == started
    counts = [one.cumulative_trial_count for one in told("iteration_completed")]
    assert counts == sorted(counts)
    ranks = [one.rank for one in told("top_k_evaluated")]
    assert ranks == list(range(1, len(ranks) + 1))
    assert ranks
    assert told("progress")[-1].trials_planned == 6
    best = run.result.best
    assert run.job.best_candidate_id == best.candidate.candidate_id
    assert run.job.best_reward.mean == best.validation.mean

"""The same seed finds the same thing, however much is in flight."""

import pytest

from burnish.api.job import v1 as job_v1

pytestmark = pytest.mark.asyncio(loop_scope="session")


def steps(run):
    """What happened in order, without how far and how dear it was at the time."""
    return [kind for kind in run.kinds if kind not in {"progress", "budget_updated"}]


async def test_concurrency_and_repetition_change_nothing(harness, suite, intents_app, provider):
    async def run(concurrency, seed=3):
        spec = harness.job_spec(
            intents_app.url, provider.model(), seed=seed, generate_at_iterations=[0, 3]
        )
        spec.max_concurrency = concurrency
        before, provider.most_in_flight = provider.total, 0
        found = await harness.run_job(suite, spec)
        assert provider.most_in_flight <= concurrency
        return found, provider.total - before

    provider.delays[harness.READER] = 0.005
    first, calls = await run(8)
    assert provider.most_in_flight > 1
    assert len(first.scores()) == 2
    assert harness.gaps(first.events) == []
    for concurrency in (8, 1, 32):
        again, more_calls = await run(concurrency)
        assert again.found() == first.found()
        assert steps(again) == steps(first)
        assert more_calls == calls
    other, _ = await run(32, seed=4)
    assert other.found()["history"] != first.found()["history"]


async def test_concurrency_changes_nothing_where_a_cap_ends_the_job(
    harness, suite, intents_app, provider
):
    async def run(concurrency):
        pools = harness.Pools(
            range(16), range(60, 120), range(300, 320), range(420, 432), range(160, 200)
        )
        spec = harness.job_spec(intents_app.url, provider.model(), pools, num_iterations=20)
        spec.max_concurrency = concurrency
        spec.budget.max_tokens = 60_000
        return await harness.run_job(suite, spec)

    provider.delays[harness.READER] = 0.002
    alone = await run(1)
    assert alone.job.termination_reason == job_v1.TERMINATION_REASON_BUDGET_EXHAUSTED
    assert alone.result.unscored_by_reason["BUDGET_EXHAUSTED"] >= 1
    together = await run(8)
    assert together.found() == alone.found()
    assert steps(together) == steps(alone)

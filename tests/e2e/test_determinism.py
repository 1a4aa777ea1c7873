"""The same seed finds the same thing, however much is in flight."""

import pytest

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

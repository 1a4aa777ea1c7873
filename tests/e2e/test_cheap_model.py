"""A cheap model stands in through the whole suite: app, interceptor, ledger, search."""

from collections import Counter

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.suite import Suite, SuiteOptions
from burnish.testing.providers import FakeReply, fake_provider

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
DEAR, CHEAP = "gpt-4o", "gpt-4.1-nano"
PRICES = {
    DEAR: types_v1.Price(input_usd_per_million=10.0, output_usd_per_million=10.0),
    CHEAP: types_v1.Price(input_usd_per_million=1.0, output_usd_per_million=1.0),
}


def model(name):
    return types_v1.ModelSpec(
        provider="openai", model=name, price=PRICES[name], max_output_tokens=16
    )


def answer(_):
    """Both models say the same to everything, so that the one predicts the other."""
    return FakeReply(text="none of them", input_tokens=100, output_tokens=4)


async def test_minibatches_reach_the_cheap_model_and_everything_else_the_dear_one(
    harness, intents_app, tmp_path
):
    async with fake_provider(answer=answer) as fake:
        environment = {
            "BURNISH_OPENAI_API_KEY": "sk-canary-0123456789",
            "BURNISH_OPENAI_BASE_URL": f"{fake.root}/v1",
        }
        pools = harness.Pools(range(4), range(60, 100), range(300, 306), range(420, 424))
        spec = harness.job_spec(intents_app.url, model(DEAR), pools, num_iterations=4)
        spec.proxy.CopyFrom(
            job_v1.ProxySpec(
                high_model=model(DEAR),
                low_model=model(CHEAP),
                min_pair_count=3,
                min_r2=0.0,
                stop_r2=0.0,
            )
        )
        async with Suite(tmp_path, options=SuiteOptions(environment=environment)) as suite:
            run = await harness.run_job(suite, spec)

    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert run.job.proxy.state == job_v1.PROXY_STATE_ON
    assert run.job.proxy.predicted_trial_count > 0
    asked = Counter(one.model for one in fake.bill.answered.charges)
    phases = dict(run.result.rollouts_by_phase)
    assert asked[CHEAP] == phases["proxy"] > 0
    assert asked[DEAR] == sum(phases.values()) - phases["proxy"]
    spent = {name: 104 * count * PRICES[name].input_usd_per_million / 1e6
             for name, count in asked.items()}  # fmt: skip
    assert run.result.usage_by_role["task"].cost_usd == pytest.approx(sum(spent.values()))
    alone = run.job.proxy.net_gain_usd + spent[CHEAP]
    assert alone == pytest.approx((phases["proxy"] - paired_rows(run)) * 104 * 10 / 1e6)
    trials = run.of_kind("trial_completed")
    assert [one.predicted for one in trials[:4]] == [False, False, False, True]
    assert not trials[-1].predicted  # The final re-score.


def paired_rows(run):
    """Rows that both models ran."""
    minibatches = [one for one in run.of_kind("trial_completed") if not one.predicted]
    return sum(one.seed_count for one in minibatches[: run.job.proxy.pair_count])

"""Caps are never passed: at any concurrency, with faults, judged by the provider's own counts."""

import random

import pytest
from google.protobuf import duration_pb2

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError

pytestmark = pytest.mark.asyncio(loop_scope="session")
PRICE = types_v1.Price(input_usd_per_million=2.0, output_usd_per_million=8.0)
FAULT_SHARE = 0.12


def faults(harness, seed):
    """Refuses, fails or swallows a share of the completions; those swallowed are paid."""
    rng = random.Random(seed)

    async def script(body):
        if rng.random() >= FAULT_SHARE:
            return None
        return rng.choice([429, 500, harness.DROP])

    return script


def capped(harness, intents_app, provider, concurrency, **settings):
    pools = harness.Pools(
        range(16), range(60, 120), range(300, 320), range(420, 432), range(160, 200)
    )
    model = provider.model(price=PRICE, max_output_tokens=16)
    spec = harness.job_spec(intents_app.url, model, pools, **settings)
    spec.max_concurrency = concurrency
    spec.proposer.meta_model.CopyFrom(
        provider.model(harness.PROPOSER, price=PRICE, max_output_tokens=1200)
    )
    return spec


def spent_usd(harness, provider, *names):
    read = sum(provider.input_tokens[name] for name in names)
    written = sum(provider.output_tokens[name] for name in names)
    return (read * PRICE.input_usd_per_million + written * PRICE.output_usd_per_million) / 1e6


def counted_rollouts(run):
    return sum(n for phase, n in run.result.rollouts_by_phase.items() if phase != "test")


def require_test(run, rows=12):
    """The closing test ran in full, from the share that was held back for it."""
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert "BUDGET_EXHAUSTED" not in {
        reason
        for event in run.of_kind("rollouts_unscored")
        if event.phase == job_v1.JOB_PHASE_TEST
        for reason in event.count_by_reason
    }
    tested = {len(rewards) for rewards in run.scores().values()}
    assert tested == {rows}


@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_rollouts_stay_within_their_cap(concurrency, harness, suite, intents_app, provider):
    provider.script = faults(harness, concurrency)
    spec = capped(harness, intents_app, provider, concurrency)
    spec.budget.max_rollouts = 75
    run = await harness.run_job(suite, spec)
    assert 60 <= counted_rollouts(run) <= 75
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_ROLLOUT_LIMIT
    require_test(run)


@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_tokens_stay_within_their_cap(concurrency, harness, suite, intents_app, provider):
    provider.script = faults(harness, concurrency)
    spec = capped(harness, intents_app, provider, concurrency, num_iterations=20)
    spec.budget.max_tokens = 100_000
    run = await harness.run_job(suite, spec)
    spent = provider.tokens(harness.READER) + provider.tokens(harness.PROPOSER)
    assert 20_000 < spent <= 100_000
    booked = run.of_kind("budget_updated")[-1].total
    assert booked.input_tokens + booked.output_tokens <= 100_000
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_BUDGET_EXHAUSTED
    require_test(run)


@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_money_stays_within_its_cap(concurrency, harness, suite, intents_app, provider):
    provider.script = faults(harness, concurrency)
    spec = capped(harness, intents_app, provider, concurrency, num_iterations=20)
    spec.budget.max_cost_usd = 0.20
    run = await harness.run_job(suite, spec)
    assert 0.02 < spent_usd(harness, provider, harness.READER, harness.PROPOSER) <= 0.20
    assert run.of_kind("budget_updated")[-1].total.cost_usd <= 0.20
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_BUDGET_EXHAUSTED
    require_test(run)


async def test_each_role_stays_within_its_own_cap(harness, suite, intents_app, provider):
    spec = capped(harness, intents_app, provider, 8)
    spec.budget.max_cost_usd_by_role["proposer"] = 0.02
    run = await harness.run_job(suite, spec)
    assert spent_usd(harness, provider, harness.PROPOSER) <= 0.02
    usage = run.result.usage_by_role["proposer"]
    assert usage.cost_usd == pytest.approx(spent_usd(harness, provider, harness.PROPOSER))
    unbounded = spent_usd(harness, provider, harness.READER)
    assert unbounded > 0.02
    assert run.result.usage_by_role["task"].cost_usd == pytest.approx(unbounded)
    require_test(run)


async def test_trials_stay_within_their_cap(harness, suite, intents_app, provider):
    spec = capped(harness, intents_app, provider, 8)
    spec.budget.max_trials = 4
    run = await harness.run_job(suite, spec)
    # The search plans by the cap: half of it for the candidates that are scored again at the end.
    assert 2 <= len(run.result.history) <= 4
    assert {"minibatch", "top_k"} <= {one.kind for one in run.result.history}
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_TRIAL_LIMIT
    require_test(run)


async def test_a_search_that_stops_getting_better_ends(harness, suite, intents_app, provider):
    spec = capped(harness, intents_app, provider, 8, num_iterations=40)
    spec.budget.max_trials_without_improvement = 4
    run = await harness.run_job(suite, spec)
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_NO_IMPROVEMENT
    assert len(run.result.history) < 40
    last_better = max(event.trial_index for event in run.of_kind("new_incumbent"))
    assert max(one.trial_index for one in run.result.history) - last_better >= 4
    require_test(run)


async def test_a_target_ends_the_search_when_it_is_reached(harness, suite, intents_app, provider):
    spec = capped(harness, intents_app, provider, 8, num_iterations=40, full_eval_every_k=2)
    spec.budget.target_reward = 0.45
    run = await harness.run_job(suite, spec)
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_TARGET_REACHED
    assert run.job.best_reward.mean >= 0.45
    require_test(run)


async def test_time_ends_the_search_early_enough_for_the_test(
    harness, suite, intents_app, provider
):
    provider.delays[harness.READER] = 0.05
    spec = capped(harness, intents_app, provider, 4, num_iterations=10_000)
    spec.budget.max_duration.CopyFrom(duration_pb2.Duration(seconds=6))
    run = await harness.run_job(suite, spec)
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_TIME_LIMIT
    require_test(run)


@pytest.mark.parametrize("cap", ["max_tokens", "max_cost_usd"])
async def test_a_job_that_cannot_afford_its_test_is_refused(
    cap, harness, suite, intents_app, provider
):
    spec = capped(harness, intents_app, provider, 8)
    pattern = types_v1.MessagePattern(role="system", pattern="Name the intent of the message.")
    spec.stages.add(
        template=types_v1.PromptTemplate(stage_id="main", messages=[pattern]),
        optimise_instruction=True,
    )
    if cap == "max_tokens":
        spec.budget.max_tokens = 100
    else:
        spec.budget.max_cost_usd = 0.00001
    with pytest.raises(BurnishError, match=cap) as refused:
        await harness.run_job(suite, spec)
    assert "test" in refused.value.message
    assert provider.total == 0


async def test_a_money_cap_with_an_unknown_price_is_refused_with_the_fix(
    harness, suite, intents_app, provider
):
    spec = capped(harness, intents_app, provider, 8)
    spec.policy_model.ClearField("price")
    spec.budget.max_cost_usd = 5.0
    with pytest.raises(BurnishError, match="price") as refused:
        await harness.run_job(suite, spec)
    assert "policy_model" in refused.value.message
    assert provider.total == 0

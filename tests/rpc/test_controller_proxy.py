"""A cheap model stands in for the policy model in the search, and nowhere else."""

import contextlib
import random
from collections.abc import AsyncGenerator
from typing import cast

import pytest
from google.protobuf import struct_pb2

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish.report import render_report
from burnish.results import outcome, snapshot
from burnish_controller.proxies.models import job_of
from burnish_controller.testing import World, small_job

CHEAP = types_v1.Price(input_usd_per_million=100.0, output_usd_per_million=100.0)
DEAR = types_v1.ModelSpec(provider="openai_compatible", model="fake")
USD, CHEAP_USD = 0.05, 0.005


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        running.search.asks = 12
        running.program.reward = graded
        running.program.low_reward = graded
        yield running


def graded(text, seed):
    """Candidates differ, and rows do."""
    better = int(text[7]) if text.startswith("Better ") else 0
    return 0.2 + 0.2 * better + 0.02 * (seed % 10)


def proxied(price=CHEAP, **proxy):
    low = types_v1.ModelSpec(provider="openai_compatible", model="cheap", price=price)
    given = {"high_model": DEAR, "low_model": low, "min_pair_count": 4, **proxy}
    spec = small_job(proxy=job_v1.ProxySpec(**given))
    # As many rows as the search has cells, so that no cell comes twice.
    spec.offline.online_pool.seeds.extend(range(50, 86))
    return spec


def changes(events):
    return [one.proxy_changed for one in events if one.HasField("proxy_changed")]


async def test_the_cheap_model_runs_minibatches_once_it_predicts_the_dear_one(world):
    await world.create(proxied())
    events = await world.finished()
    job, result = await world.job(), await world.result()
    rollouts = await world.rollouts()

    assert job.state == job_v1.JOB_STATE_SUCCEEDED
    assert [one.state for one in changes(events)] == [job_v1.PROXY_STATE_ON]
    assert (job.proxy.pair_count, job.proxy.predicted_trial_count) == (4, 8)
    assert job.proxy.r2 == pytest.approx(1.0)
    assert job.proxy.slope == pytest.approx(1.0)
    low = [one for one in rollouts if one.cell.fidelity]
    assert {one.phase for one in low} == {"proxy"}
    assert {one.cell.pool for one in low} == {types_v1.POOL_ONLINE}
    assert len(low) == 12 * 4 == result.rollouts_by_phase["proxy"]
    assert result.rollouts_by_phase["search"] == 4 * 4
    assert world.program.models["cheap"] == len(low)


async def test_what_is_predicted_is_told_as_such_and_is_right(world):
    await world.create(proxied())
    events = await world.finished()

    predicted = [one for one in world.search.told if one.predicted]
    assert len(predicted) == 8 * 4
    assert all(one.cell.fidelity == 0 for one in predicted)
    assert not any(one.HasField("cost_usd") for one in predicted)
    trials = [one.trial_completed for one in events if one.HasField("trial_completed")]
    assert [one.predicted for one in trials] == [False] * 4 + [True] * 8
    assert all(one.reward.row_count == 4 for one in trials)
    by_row = {
        (one.cell.candidate_id, one.cell.seed): one
        for one in await world.rollouts()
        if one.cell.fidelity
    }
    for one in predicted:
        ran = by_row[one.cell.candidate_id, one.cell.seed]
        assert one.reward == pytest.approx(ran.reward.fused)


async def test_no_prediction_has_a_part_in_results_or_in_the_verdict(world):
    await world.create(proxied())
    await world.finished()
    result = await world.result()

    rollouts = await world.rollouts()
    own = [one for one in rollouts if one.phase in {"search", "baseline"}]
    counted = sum(one.search.row_count for one in result.candidates)
    assert counted == len(own)
    tested = [one for one in rollouts if one.phase == "test"]
    assert tested
    assert not any(one.cell.fidelity for one in tested)


async def test_the_gain_is_in_the_job_and_its_calls_are_in_the_bill(world):
    await world.create(proxied())
    await world.finished()
    job, result = await world.job(), await world.result()

    told = render_report(snapshot(job), outcome(result))
    assert f"Net gain: {job.proxy.net_gain_usd:+.4f} US dollars" in told
    assert "`openai_compatible/cheap` for `openai_compatible/fake`: it stood in to the end" in told
    saved = 8 * 4 * (USD - CHEAP_USD) - 4 * 4 * CHEAP_USD
    assert job.proxy.net_gain_usd == pytest.approx(saved)
    phases = dict(result.rollouts_by_phase)
    dear = sum(phases.values()) - phases["proxy"]
    paid = dear * USD + phases["proxy"] * CHEAP_USD
    assert result.usage_by_role["task"].cost_usd == pytest.approx(paid)


async def test_without_a_price_nobody_knows_the_gain(world):
    await world.create(proxied(price=None))
    await world.finished()
    job = await world.job()

    assert job.proxy.state == job_v1.PROXY_STATE_ON
    assert not job.proxy.HasField("net_gain_usd")
    assert "Net gain: unknown" in render_report(snapshot(job), outcome(await world.result()))


async def test_a_cheap_model_that_tells_nothing_is_given_up(world):
    world.program.low_reward = lambda text, seed: random.Random(f"{text}/{seed}").random()
    await world.create(proxied())
    events = await world.finished()
    job = await world.job()

    assert [one.state for one in changes(events)] == [job_v1.PROXY_STATE_STOPPED]
    assert changes(events)[0].reason
    assert job.proxy.predicted_trial_count == 0
    assert not any(one.predicted for one in world.search.told)


async def test_verifications_go_on_telling_what_the_dear_model_earned(world):
    await world.create(proxied(verify_every=3))
    await world.finished()
    job = await world.job()

    assert (job.proxy.pair_count, job.proxy.predicted_trial_count) == (6, 6)


async def told_by(path, *kills):
    """Returns what the search was told by a job, killed on its way or not."""
    async with World(path) as world:
        world.search.asks = 12
        world.program.reward = world.program.low_reward = graded
        await world.create(proxied(verify_every=4))
        for last in kills:
            watch = cast(AsyncGenerator[job_v1.JobEvent, None], world.watch())
            async with contextlib.aclosing(watch) as events:
                async for event in events:
                    if event.HasField("trial_completed") and (
                        event.trial_completed.trial_index >= last
                    ):
                        break
            await world.stop()
            await world.start()
        await world.finished()
        told = {one.SerializeToString(deterministic=True) for one in world.search.told}
        return told, (await world.job()).proxy, dict((await world.result()).rollouts_by_phase)


async def test_a_job_that_is_killed_on_its_way_decides_the_same(tmp_path):
    whole = await told_by(tmp_path / "whole")
    killed = await told_by(tmp_path / "killed", 1, 4, 7)

    assert killed == whole


async def test_every_fault_of_a_cheap_model_is_told_at_once(world):
    spec = proxied(min_r2=1.5, verify_every=-1)
    spec.proxy.high_model.model = "other"
    spec.algorithm_settings.CopyFrom(struct_pb2.Struct())
    spec.algorithm_settings.update({"engine": "race"})

    with pytest.raises(InvalidArgument) as refused:
        await world.create(spec)

    for place in ("high_model", "min_r2", "verify_every", "engine"):
        assert place in refused.value.message


async def test_the_dear_model_cannot_stand_in_for_itself(world):
    spec = proxied()
    spec.proxy.low_model.CopyFrom(spec.policy_model)

    with pytest.raises(InvalidArgument, match="the dear model itself"):
        await world.create(spec)


def test_a_jobs_two_policies_are_told_apart():
    assert job_of("job1") == ("job1", 0)
    assert job_of("job1~low") == ("job1", 1)

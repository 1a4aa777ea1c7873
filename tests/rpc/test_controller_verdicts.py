"""What a job says at its end: whether its winner is promoted, and why not."""

import pytest

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.testing import World, small_job


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        yield running


def strict_job(min_probability: float) -> job_v1.JobSpec:
    return small_job(promotion=job_v1.Promotion(min_probability=min_probability))


async def test_a_winner_that_few_rows_speak_for_is_not_promoted_and_the_baseline_is_returned(world):
    await world.create(strict_job(0.95))
    events = await world.finished()
    result = await world.result()
    held_out = result.held_out
    assert result.best.baseline
    assert not held_out.promoted
    assert held_out.challenger_candidate_id != result.baseline.candidate.candidate_id
    assert (held_out.gained_row_count, held_out.lost_row_count) == (2, 0)
    assert held_out.difference == result.test_difference
    assert held_out.difference.mean == pytest.approx(1 / 3)
    assert 0.5 < held_out.probability < held_out.min_probability == 0.95
    assert "P(improve)" in result.verdict
    assert "the baseline is kept" in result.verdict
    assert held_out.raw.mean >= held_out.corrected.mean
    assert held_out.corrected_by == "shrinkage"
    assert {one.cause for one in held_out.no_gain_causes} >= {"TEST_TOO_SMALL"}
    ended = await world.job()
    assert ended.best_candidate_id == result.baseline.candidate.candidate_id
    assert ended.best_reward == result.baseline.validation
    chosen = [one.winner_chosen for one in events if one.HasField("winner_chosen")]
    assert [one.baseline for one in chosen] == [True]
    assert chosen[0].verdict == result.verdict


async def test_the_same_winner_is_promoted_where_less_certainty_is_asked_for(world):
    await world.create(strict_job(0.5))
    await world.finished()
    result = await world.result()
    assert not result.best.baseline
    assert result.held_out.promoted
    assert result.best.candidate.candidate_id == result.held_out.challenger_candidate_id
    assert list(result.held_out.no_gain_causes) == []


async def test_what_the_searchs_model_expects_of_its_choice_is_what_the_job_claims(world):
    world.search.expected = types_v1.Estimate(
        mean=0.4, lower=0.3, upper=0.5, row_count=7, confidence=0.95
    )
    await world.create(strict_job(0.5))
    await world.finished()
    result = await world.result()
    assert (await world.job()).expected_reward == world.search.expected
    claim = result.held_out.corrected
    assert claim.mean < result.held_out.raw.mean
    assert claim.mean == pytest.approx(0.4, abs=0.3)
    assert claim.row_count == 7
    assert result.held_out.corrected_by == "both_models"


async def test_without_held_out_rows_the_choice_of_the_search_stands_and_nobody_vouches_for_it(
    world,
):
    spec = small_job()
    spec.offline.ClearField("test_pool")
    job = await world.create(spec)
    assert any("nothing will tell" in warning for warning in job.warnings)
    await world.finished()
    result = await world.result()
    assert not result.best.baseline
    assert not result.HasField("held_out")


async def test_a_test_too_small_for_a_plausible_gain_is_warned_of_before_anything_is_spent(world):
    job = await world.create(small_job(), validate_only=True)
    said = "has 6 rows and the search sees about 6 more of both prompts, on which only a gain of"
    assert any(said in warning for warning in job.warnings)


async def test_a_rule_out_of_range_is_refused_with_the_fix(world):
    async with rpc.translated():
        with pytest.raises(InvalidArgument, match="to below 1"):
            await world.create(strict_job(1.5))

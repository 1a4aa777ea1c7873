"""What a job tells of what its candidates earn against what they cost."""

import pytest

from burnish.api.types import v1 as types_v1
from burnish_controller.testing import World, small_job


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        yield running


async def test_a_job_keeps_the_front_of_reward_and_length_and_says_what_it_chose_by(world):
    world.search.choice = "the lowest `prompt_length` within 0.01 of the best reward"
    spec = small_job()
    spec.algorithm_settings.update({"objective": {"minimise": "prompt_length"}})
    await world.create(spec)
    await world.finished()
    result, job = await world.result(), await world.job()
    assert result.tradeoff == job.tradeoff
    assert job.tradeoff.objective == "prompt_length"
    assert job.tradeoff.choice == world.search.choice
    rewards = [one.reward.mean for one in job.tradeoff.front]
    costs = [one.cost.mean for one in job.tradeoff.front]
    assert rewards == sorted(rewards, reverse=True)
    assert costs == sorted(costs, reverse=True)
    assert job.tradeoff.candidate_count >= len(costs) >= 1


async def test_every_candidate_of_a_result_has_its_costs_and_its_standing(world):
    await world.create(small_job())
    await world.finished()
    result = await world.result()
    front = {one.candidate_id for one in result.tradeoff.front}
    assert result.tradeoff.choice == ""
    for one in result.candidates:
        assert one.objectives["prompt_length"].mean >= 0
        expected = types_v1.STANDING_DOMINATED
        if one.candidate.candidate_id in front:
            expected = types_v1.STANDING_FRONT
        assert one.standing == expected
    seen = next(one for one in result.candidates if one.HasField("search"))
    assert seen.objectives["tokens"].mean > 0
    assert seen.objectives["tokens"].row_count == seen.search.row_count


async def test_search_is_told_what_rollouts_took_and_what_prompts_are_like_but_not_their_text(
    world,
):
    await world.create(small_job())
    await world.finished()
    told = [one for one in world.search.told if one.WhichOneof("outcome") == "reward"]
    assert told
    assert all(one.objectives["tokens"] > 0 for one in told)
    written = {one.component_id: one.instruction.text for one in (await world.result()).components}
    known = [one for one in world.search.components if one.HasField("instruction")]
    assert any(one.features.character_count for one in known)
    for one in known:
        assert one.features.character_count == len(written[one.component_id])
        assert one.instruction.text == ""

"""What search is told in the place of text, and the front that a job keeps."""

import json

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.features import features_of
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.tradeoff import objective_of, objectives_of, standing_of, tradeoff_of


def instruction(text, component_id="ins_1"):
    return types_v1.Component(
        component_id=component_id, stage_id="main", instruction=types_v1.Instruction(text=text)
    )


def demos(*answers, component_id="dem_1"):
    made = [
        types_v1.Demo(
            bindings={"text": "abc"},
            messages=[json.dumps({"role": "assistant", "content": one}).encode()],
        )
        for one in answers
    ]
    return types_v1.Component(
        component_id=component_id, stage_id="main", demo_set=types_v1.DemoSet(demos=made)
    )


@pytest.mark.parametrize(
    ("text", "reminds"),
    [
        ("Classify the message.", False),
        ("Classify it. Reply with only the label.", True),
        ("Return JSON.", True),
        ("Answer kindly, and think about the tone of the customer.", False),
    ],
)
def test_an_instruction_has_its_length_and_whether_it_asks_for_a_form(text, reminds):
    found = features_of(instruction(text))
    assert (found.character_count, found.format_reminder) == (len(text), reminds)
    assert found.demo_count == 0


def test_sections_and_replacements_count_as_what_they_put_into_a_prompt():
    sections = types_v1.Instruction(sections=[types_v1.PromptSection(role="user", content="abcd")])
    transform = types_v1.Instruction()
    transform.transform.replacements.add(old_text="a long old text", new_text="new")
    for made, length in ((sections, 4), (transform, 3)):
        component = types_v1.Component(component_id="ins_1", stage_id="main", instruction=made)
        assert features_of(component).character_count == length


def test_demos_count_by_what_they_say_and_tool_calls_by_their_arguments():
    assert features_of(demos("1234", "12")).character_count == 3 + 4 + 3 + 2
    assert features_of(demos("1234", "12")).demo_count == 2
    assert features_of(demos()).character_count == 0
    call = {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"a": "xyz"}'}}]}
    made = demos("")
    made.demo_set.demos[0].messages[0] = json.dumps(call).encode()
    assert features_of(made).character_count == 3 + len("xyz")


def rollout(cost, tokens, *, reward=1.0, seed=1):
    cell = types_v1.Cell(candidate_id="cand_1", pool=types_v1.POOL_ONLINE, seed=seed)
    return FinishedRollout(
        job_id="job1",
        phase="search",
        attempt=1,
        result=types_v1.RolloutResult(rollout_id=f"r{seed}", cell=cell),
        reward=None if reward is None else types_v1.Reward(fused=reward),
        cost_usd=cost,
        tokens=tokens,
    )


def candidate():
    made = types_v1.Candidate(candidate_id="cand_1")
    made.stages["main"].instruction_id = "ins_1"
    made.stages["main"].demo_set_id = "dem_1"
    return made


PARTS = {"ins_1": instruction("abcdef"), "dem_1": demos("12")}


def test_costs_are_means_over_scored_rollouts():
    done = [rollout(0.1, 10), rollout(0.3, 20, seed=2), rollout(9.0, 900, reward=None, seed=3)]
    found = objectives_of(candidate(), done, PARTS)
    assert found["cost_usd"].mean == pytest.approx(0.2)
    assert (found["tokens"].mean, found["tokens"].row_count) == (15, 2)
    assert found["tokens"].lower < 15 < found["tokens"].upper
    assert found["prompt_length"].mean == 6 + 3 + 2


def test_a_cost_that_is_not_known_of_every_rollout_is_left_out_and_never_0():
    done = [rollout(0.1, 10), rollout(None, 20, seed=2)]
    assert set(objectives_of(candidate(), done, PARTS)) == {"tokens", "prompt_length"}
    assert set(objectives_of(candidate(), [], {})) == set()


def ranked(name, reward, standing, cost=None):
    made = search_v1.RankedCandidate(
        candidate=types_v1.Candidate(candidate_id=name),
        pooled=types_v1.Estimate(mean=reward),
        standing=standing,
    )
    if cost is not None:
        made.objectives["cost_usd"].mean = cost
    return made


def test_the_front_is_what_search_says_by_reward_and_unknown_ones_are_counted():
    spec = job_v1.JobSpec()
    spec.algorithm_settings.update({"objective": {"minimise": "cost_usd"}})
    found = search_v1.RankCandidatesResponse(
        candidates=[
            ranked("a", 0.7, types_v1.STANDING_FRONT, 1.0),
            ranked("b", 0.9, types_v1.STANDING_FRONT, 2.0),
            ranked("c", 0.6, types_v1.STANDING_DOMINATED, 3.0),
            ranked("d", 0.95, types_v1.STANDING_UNKNOWN),
        ],
        choice="so",
    )
    kept = tradeoff_of(spec, found)
    assert [one.candidate_id for one in kept.front] == ["b", "a"]
    assert [one.cost.mean for one in kept.front] == [2.0, 1.0]
    assert (kept.candidate_count, kept.unknown_count, kept.choice) == (4, 1, "so")
    known = {"cost_usd": types_v1.Estimate(mean=3.0)}
    assert standing_of(kept, "a", known) == types_v1.STANDING_FRONT
    assert standing_of(kept, "c", known) == types_v1.STANDING_DOMINATED
    assert standing_of(kept, "d", {}) == types_v1.STANDING_UNKNOWN
    assert standing_of(job_v1.Tradeoff(), "a", known) == types_v1.STANDING_UNSPECIFIED


def test_without_a_second_objective_prompts_are_shown_by_their_length():
    assert objective_of(job_v1.JobSpec()) == "prompt_length"


async def test_tokens_are_kept_beside_the_cost(stores):
    await stores.rollouts.save(rollout(0.5, 77))
    await stores.rollouts.save(rollout(0.5, None, seed=2))
    found = await stores.restarted().rollouts.by_ids(["r1", "r2"])
    assert (found["r1"].tokens, found["r2"].tokens) == (77, None)

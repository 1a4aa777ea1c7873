"""What a job of GEPA is told to expect, and the front over rows that it goes by."""

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from burnish.api.job.v1 import job_spec_pb2
from burnish.config import PromptLearningConfig, resolve_job
from burnish.estimates import estimate_job
from burnish.gepa_plan import BLOCK, initial_count, pareto_count, plan_of
from burnish.job_spec import to_job_spec
from burnish.row_fronts import best_by_row, front

EPS = 1e-6


def spec_of(*, proposer=None, stages=None, **gepa) -> job_spec_pb2.JobSpec:
    pools = {"online": list(range(80)), "validation": list(range(80, 120)),
             "test": list(range(120, 200)), "reference": list(range(200, 220))}  # fmt: skip
    job = {
        "algorithm": "gepa",
        "task_app": "http://localhost:8002",
        "model": {"provider": "local", "model": "local-reader"},
        "pools": pools,
        "gepa": gepa,
        "proposer": proposer or {},
    }
    if stages:
        job["stages"] = [{"id": name, "instruction": f"Do {name}."} for name in stages]
    return to_job_spec(resolve_job(PromptLearningConfig.from_mapping({"job": job}, env={})))


def test_the_initial_population_is_written_without_the_baseline():
    spec = spec_of(population={"initial_size": 6})
    assert spec.proposer.instruction_count == 5
    assert not spec.proposer.later_rounds_only
    assert spec.proposer.max_instruction_count == 0
    assert spec.proposer.retry_limit > 0
    assert not spec.proposer.HasField("meta_update")


def test_a_population_of_the_baseline_alone_leaves_everything_to_briefs():
    proposer = spec_of(population={"initial_size": 1}).proposer
    assert proposer.later_rounds_only
    assert proposer.instruction_count


def test_the_population_is_shared_out_among_the_stages():
    spec = spec_of(population={"initial_size": 8}, stages=("route", "intent"))
    assert spec.proposer.instruction_count == 4
    assert not any(stage.optimise_demos for stage in spec.stages)
    assert all(stage.optimise_instruction for stage in spec.stages)


@pytest.mark.parametrize(
    ("token", "limit"),
    [({}, 0), ({"max_limit": 400}, 400), ({"max_limit": 400, "enforce_pattern_limit": False}, 0)],
)
def test_a_limit_of_tokens_holds_where_it_is_enforced(token, limit):
    assert spec_of(token=token).proposer.max_instruction_tokens == limit


def test_a_mutation_prompt_joins_the_metaprompt_or_takes_the_place_of_ours():
    both = spec_of(proposer={"metaprompt": "Be brief."}, mutation={"prompt": "Be kind."})
    assert both.proposer.guidance == "Be kind.\n\nBe brief."
    own = "version: 1\n=== user\n{{current_instruction}} {{variant}}"
    whole = spec_of(proposer={"metaprompt": "Be brief."}, mutation={"prompt": own})
    assert (whole.proposer.meta_prompt, whole.proposer.guidance) == (own, "Be brief.")
    assert "mutation_prompt" not in whole.algorithm_settings


def test_the_search_is_sent_sizes_and_never_a_prompt():
    spec = spec_of(mutation={"prompt": "Be kind.", "rate": 0.4}, adaptive_batch="HIGH")
    assert "Be kind." not in str(spec.algorithm_settings)
    assert spec.algorithm_settings["mutation_rate"] == 0.4
    sent = MessageToDict(spec.algorithm_settings)
    assert sent["adaptive_batch"]["reflection_minibatch_size"] == 2


def test_an_estimate_holds_every_child_accepted_and_a_cap_holds_it_down():
    sizes = {"initial_size": 3, "num_generations": 2, "children_per_generation": 4}
    found = estimate_job(spec_of(population=sizes))
    # 40 and 8 of the baseline; 2 and 8 children on 8 and 40 rows; parents; 2 x 40 at the end.
    assert found.rollouts["search"].high == 40 + 8 + 2 * 48 + 8 * (48 + 32) + 80
    assert found.rollouts["search"].low == 8
    capped = spec_of(population=sizes, rollout={"budget": 300})
    assert estimate_job(capped).rollouts["search"].high <= 300 - 40
    assert found.searched_rows == 40


def test_adaptive_batches_make_a_job_cheaper():
    plain = estimate_job(spec_of()).rollouts["search"].high
    assert estimate_job(spec_of(adaptive_batch="HIGH")).rollouts["search"].high < plain
    assert estimate_job(spec_of(adaptive_batch="NONE")).rollouts["search"].high == plain


@given(
    size=st.integers(1, 200), stages=st.integers(0, 9), online=st.integers(0, 400),
    batch=st.integers(1, 50),
)  # fmt: skip
def test_a_plan_holds_for_any_sizes(size, stages, online, batch):
    plan = plan_of({"initial_size": size, "minibatch_size": batch}, online=online, stages=stages)
    assert plan.minibatch >= 1
    assert plan.pareto <= max(1, online)
    assert plan.rollouts(validation=10) > 0
    assert 0 <= initial_count(size, stages=stages) <= 64
    assert plan.initial >= min(size - 1, 64)


@pytest.mark.parametrize(
    ("online", "pareto"),
    [(1, 1), (3, 1), (4, 1), (5, 2), (12, 9), (13, 10), (20, 10), (40, 20), (67, 33), (128, 64),
     (500, 64)],
)  # fmt: skip
def test_half_of_the_rows_are_compared_on_unless_a_file_says_otherwise(online, pareto):
    assert pareto_count(None, online=online) == pareto
    assert pareto_count(7, online=online) == min(7, max(1, online - 3))


@pytest.mark.parametrize("size", [1, 3, 8, 32])
def test_a_plan_counts_a_trial_for_every_block_of_a_minibatch(size):
    settings = {"minibatch_size": size, "initial_size": 20, "num_generations": 3}
    plan = plan_of(settings, online=200, stages=1)
    assert plan.trials >= (19 + 3 * 5) * (-(-size // BLOCK) + 1)


rewards = st.dictionaries(
    st.sampled_from("abcdef"),
    st.dictionaries(st.integers(0, 7), st.sampled_from([0.0, 0.5, 1.0]), min_size=1),
    min_size=1,
)


@given(rewards)
def test_every_row_keeps_somebody_who_is_best_on_it_and_nobody_is_superfluous(found):
    holders = best_by_row(found, eps=EPS)
    kept = front(found, eps=EPS)
    assert all(best & kept.keys() for best in holders.values())
    for one, count in kept.items():
        rows = [row for row, best in holders.items() if one in best]
        assert count == len(rows)
        assert any(not (holders[row] & kept.keys()) - {one} for row in rows)


def test_of_equals_one_stays_and_the_better_mean_before_the_worse():
    assert front({"a": {0: 1.0}, "b": {0: 1.0}}, eps=EPS) == {"a": 1}
    assert front({"a": {0: 1.0, 1: 0.0}, "b": {0: 1.0, 1: 1.0}}, eps=EPS) == {"b": 2}


def test_nearly_equal_rewards_are_ties_within_the_slack():
    close = {"a": {0: 0.50, 1: 1.0}, "b": {0: 0.52, 1: 0.0}}
    assert front(close, eps=0.05) == {"a": 2}
    assert front(close, eps=0.001) == {"a": 1, "b": 1}


def test_a_row_that_was_not_measured_is_nobodys_loss():
    assert front({"a": {0: 0.2}, "b": {1: 0.1}}, eps=EPS) == {"a": 1, "b": 1}

"""Estimates: what follows from a specification, what is assumed, and what stays unknown."""

import dataclasses
import json

import pytest

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.types.v1 import candidate_pb2, model_pb2
from burnish.api.verifier.v1 import rubric_pb2, verifier_service_pb2, verifier_step_pb2
from burnish.estimates import Range, estimate_config, estimate_job
from burnish.price_files import parse_prices
from burnish.prices import PriceTable
from burnish.verdicts import detectable_gain

PRICE = model_pb2.Price(input_usd_per_million=1.0, output_usd_per_million=2.0)


def model(**fields):
    values = {"provider": "openai_compatible", "model": "m", "price": PRICE, **fields}
    return model_pb2.ModelSpec(**values)


def job(**fields):
    pattern = candidate_pb2.MessagePattern(role="system", pattern="x" * 700)
    stage = job_spec_pb2.StageSpec(
        template=candidate_pb2.PromptTemplate(stage_id="main", messages=[pattern])
    )
    spec = job_spec_pb2.JobSpec(
        policy_model=model(max_output_tokens=50),
        stages=[stage],
        offline=job_spec_pb2.OfflineMode(
            validation_pool=model_pb2.SeedPool(seeds=range(10)),
            bootstrap_pool=model_pb2.SeedPool(seeds=range(20, 26)),
            online_pool=model_pb2.SeedPool(seeds=range(30, 60)),
            test_pool=model_pb2.SeedPool(seeds=range(70, 75)),
        ),
    )
    spec.algorithm_settings.update({"num_trials": 10, "batch_size": 8, "top_k": 1})
    spec.MergeFrom(job_spec_pb2.JobSpec(**fields))
    return spec


def span(low, high):
    return Range(low=low, high=high)


def test_the_gain_that_the_closing_test_finds_is_told_and_a_test_too_small_warned_of():
    spec = job_spec_pb2.JobSpec()
    spec.offline.test_pool.ranges.add(start=0, end=300)
    found = estimate_job(spec)
    assert (found.test_rows, found.warnings) == (300, ())
    assert found.detectable_gain == pytest.approx(0.054, abs=0.005)
    spec.offline.test_pool.ranges[0].end = 20
    assert "has 20 rows" in estimate_job(spec).warnings[0]
    spec.promotion.prior_deviation = 0.01
    assert estimate_job(spec).detectable_gain > found.detectable_gain


def race(**fields):
    spec = job(**fields)
    spec.algorithm = "mipro"
    spec.algorithm_settings.update({"engine": "race"})
    return spec


def test_what_the_search_sees_of_both_prompts_counts_as_far_as_its_budget_goes():
    tpe = estimate_job(job())
    assert (tpe.test_rows, tpe.searched_rows) == (5, 10)
    assert tpe.detectable_gain == detectable_gain(15)
    assert "has 5 rows and the search sees about 10 more" in tpe.warnings[0]
    # A race of 90 gives its winner about an eighth of them; no cap, all that is validated.
    assert estimate_job(race(budget=job_spec_pb2.Budget(max_rollouts=58))).searched_rows == 42 // 8
    assert estimate_job(race()).searched_rows == 10


def test_rows_that_prompts_are_made_from_and_those_a_job_does_not_hear_are_not_counted_on():
    made = job()
    made.offline.bootstrap_pool.seeds[:] = range(6)
    assert estimate_job(made).searched_rows == 4
    alone = job(promotion=job_spec_pb2.Promotion(search_evidence=False))
    found = estimate_job(alone)
    assert found.searched_rows == 0
    assert found.detectable_gain == detectable_gain(5)
    untested = job()
    untested.offline.ClearField("test_pool")
    assert estimate_job(untested).detectable_gain == 1.0


def test_a_race_evaluates_nothing_whole_before_its_last_look():
    assert estimate_job(race()).rollouts["search"] == span(8, 10 * 8 + 10)
    inside = race()
    inside.algorithm_settings.update({"minibatch_source": "validation"})
    assert estimate_job(inside).rollouts["search"] == span(8, 10 * 8)
    # Fewer trials are longer ones: they share out the same cells.
    cut = race(budget=job_spec_pb2.Budget(max_trials=4))
    assert estimate_job(cut).rollouts["search"] == span(8, 10 * 8 + 10)


def test_rollouts_follow_from_the_pools_and_the_search():
    assert estimate_job(job()).rollouts == {
        "baseline": span(10, 10), "bootstrap": span(6, 6),
        "search": span(8, 10 * 8 + (10 // 5 + 1) * 10), "test": span(5, 10),
    }  # fmt: skip


def test_a_cap_of_rollouts_binds_all_but_the_test():
    capped = estimate_job(job(budget=job_spec_pb2.Budget(max_rollouts=30))).rollouts
    before_test = sum(one.high for phase, one in capped.items() if phase != "test")
    assert before_test == 30
    assert capped["test"] == span(5, 10)


def test_a_baseline_that_is_learnt_takes_rollouts_of_its_own():
    learnt = job()
    learnt.stages[0].template.ClearField("messages")
    assert estimate_job(learnt).rollouts["bootstrap"] == span(6, 12)


def test_tokens_and_dollars_of_the_policy_are_those_of_its_calls():
    found = estimate_job(job())
    policy = found.roles["task"]
    assert policy.calls == span(29, 136)
    assert policy.input_tokens == span(29 * (100 + 1), 136 * (280 + 300))
    assert policy.output_tokens == span(29, 136 * 50)
    assert policy.cost_usd is not None
    assert policy.cost_usd.low == pytest.approx((29 * 101 + 2 * 29) / 1e6)
    assert policy.cost_usd.high == pytest.approx((136 * 580 + 2 * 136 * 50) / 1e6)
    assert found.calls == policy.calls


def test_the_low_end_reads_from_the_cache_and_the_high_end_pays_the_dearest():
    spec = job()
    spec.policy_model.price.cached_input_usd_per_million = 0.25
    spec.policy_model.price.reasoning_usd_per_million = 6.0
    spec.policy_model.price.cache_write_usd_per_million = 1.5
    cost = estimate_job(spec).roles["task"].cost_usd
    assert cost is not None
    assert cost.low == pytest.approx((29 * 101 * 0.25 + 2 * 29) / 1e6)
    assert cost.high == pytest.approx((136 * 580 * 1.5 + 6 * 136 * 50) / 1e6)


def test_the_proposer_is_asked_for_each_round_and_again_for_each_refusal():
    spec = job(
        proposer=job_spec_pb2.ProposerSpec(
            instruction_count=4, retry_limit=2, meta_model=model(max_output_tokens=0)
        )
    )
    spec.stages[0].optimise_instruction = True
    spec.algorithm_settings.update({"generate_at_iterations": [0, 3]})
    assert estimate_job(spec).roles["proposer"].calls == span(1, 2 * 4 * 3 + 2)
    spec.proposer.max_instruction_count = 5
    assert estimate_job(spec).roles["proposer"].calls == span(1, 5 * 3 + 2)
    spec.proposer.later_rounds_only = True
    assert estimate_job(spec).roles["proposer"].calls == span(1, 4 * 3 + 1)


def test_a_proposer_of_the_operators_own_pays_for_itself_and_the_estimate_says_so():
    spec = job(proposer=job_spec_pb2.ProposerSpec(instruction_count=4, proposer="theirs"))
    found = estimate_job(spec)
    assert found.roles["proposer"].calls.high == 0
    assert any("`theirs` pays" in one for one in found.assumptions)


def judged(**fields):
    node = verifier_service_pb2.VerifierNode(
        node_id="judge", rubric=verifier_step_pb2.RubricJudge(model=model(), **fields)
    )
    return verifier_service_pb2.VerifierGraph(nodes=[node], output_node="judge")


def test_gold_answers_are_compared_in_both_orders_and_each_may_be_asked_for_again():
    mode = verifier_step_pb2.JUDGE_MODE_CONTRASTIVE
    golds = [rubric_pb2.GoldExample(summary=text, gold_reward=1.0) for text in "ab"]
    few, more = (
        estimate_job(job(scoring=job_spec_pb2.ScoringSpec(
            verifier_graph=judged(mode=mode, gold_examples=golds[:count])
        ))).roles["judge"].calls.high
        for count in (1, 2)
    )  # fmt: skip
    assert more - few == 4 * 136


def test_a_judge_that_chooses_its_way_reads_short_traces_at_once():
    spec = job(scoring=job_spec_pb2.ScoringSpec(verifier_graph=judged()))
    short = estimate_job(spec).roles["judge"].calls.high
    assert short == 2 * 136
    spec.stages[0].template.messages[0].pattern = "x" * 200_000
    assert estimate_job(spec).roles["judge"].calls.high > 20 * short


def test_a_judge_without_a_model_is_the_local_one_where_the_policy_is_local():
    graph = judged(mode=verifier_step_pb2.JUDGE_MODE_SINGLE)
    graph.nodes[0].rubric.ClearField("model")
    spec = job(scoring=job_spec_pb2.ScoringSpec(verifier_graph=graph))
    assert estimate_job(spec).cost_usd is None
    spec.policy_model.CopyFrom(model_pb2.ModelSpec(provider="local", model="local-reader"))
    judge = estimate_job(spec).roles["judge"]
    assert (judge.model, judge.cost_usd) == ("local/local-judge", span(0, 0))


def test_judges_judge_each_rollout_as_often_as_they_vote():
    graph = judged(votes=3, mode=verifier_step_pb2.JUDGE_MODE_SINGLE)
    spec = job(scoring=job_spec_pb2.ScoringSpec(verifier_graph=graph))
    judge = estimate_job(spec).roles["judge"]
    # A reply in another form is asked for once more.
    assert judge.calls == span(0, 3 * 2 * 136)
    assert judge.cost_usd is not None
    assert judge.cost_usd.high > 0


def test_a_graph_that_is_only_named_leaves_the_cost_unknown():
    name = verifier_service_pb2.VerifierGraph(name="verifierGraphs/mine")
    spec = job(scoring=job_spec_pb2.ScoringSpec(verifier_graph=name))
    found = estimate_job(spec)
    assert found.cost_usd is found.roles["judge"].cost_usd is None
    assert any("verifierGraphs/mine" in one for one in found.assumptions)
    assert estimate_job(spec, graph=judged()).cost_usd is not None


def test_one_unknown_price_makes_the_whole_cost_unknown_and_is_named():
    spec = job()
    spec.policy_model.ClearField("price")
    found = estimate_job(spec)
    assert found.cost_usd is None
    assert any("openai_compatible/m" in one and "unknown" in one for one in found.assumptions)
    known = PriceTable(
        parse_prices('[openai_compatible."m"]\ninput = 1\noutput = 2', name="prices.toml")
    )
    assert estimate_job(spec, prices=known).cost_usd is not None


def test_caps_cap_the_dollars_of_their_role_and_of_all():
    budget = job_spec_pb2.Budget(max_cost_usd=0.00002, max_tokens=100)
    budget.max_cost_usd_by_role["task"] = 0.00001
    found = estimate_job(job(budget=budget))
    assert found.roles["task"].cost_usd == span(0.00001, 0.00001)
    assert found.capped_usd == 0.00002
    assert found.tokens == span(100, 100)


def test_a_cheap_model_may_run_every_minibatch_beside_the_dear_one():
    cheap = model(
        model="cheap", price=model_pb2.Price(input_usd_per_million=0.1, output_usd_per_million=0.2)
    )
    proxy = job_spec_pb2.ProxySpec(high_model=model(), low_model=cheap)
    plain, found = estimate_job(job()), estimate_job(job(proxy=proxy))
    assert found.rollouts == {**plain.rollouts, "proxy": span(0, 80)}
    assert found.roles["task"].calls.high == plain.roles["task"].calls.high + 80
    assert plain.cost_usd is not None
    assert found.cost_usd is not None
    more = found.cost_usd.high - plain.cost_usd.high
    assert more == pytest.approx(plain.cost_usd.high / plain.calls.high * 80 / 10)
    assert found.cost_usd.low == plain.cost_usd.low
    assert any("cheap model" in one for one in found.assumptions)


def test_the_figures_are_plain_json():
    document = json.loads(json.dumps(dataclasses.asdict(estimate_job(job()))))
    assert document["roles"]["task"]["calls"] == {"low": 29, "high": 136}
    assert document["assumptions"]


async def test_the_sdk_estimates_a_configuration():
    pools = {
        "bootstrap": [0, 1], "online": [2, 3, 4], "validation": [5, 6], "test": [7, 8],
        "reference": [9],
    }  # fmt: skip
    config = {
        "job": {
            "task_app": "http://127.0.0.1:9",
            "model": {"provider": "openai", "model": "gpt-4o-mini"},
            "pools": pools,
        }
    }
    found = await estimate_config(config, overrides={"job.budget.max_cost_usd": 0.5})
    assert found.rollouts["test"] == span(2, 4)
    assert found.capped_usd == 0.5
    assert found.cost_usd is not None
    assert found.cost_usd.high <= 0.5

"""From configuration to `JobSpec`: nothing is lost, nothing is invented."""

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from burnish.api.proposer.v1 import proposer_service_pb2
from burnish.api.types.v1 import candidate_pb2
from burnish.config import PromptLearningConfig
from burnish.config.resolve import resolve_job
from burnish.estimates import pool_size
from burnish.job_loading import load_job
from burnish.job_spec import seed_pool, to_job_spec
from burnish.task_app import Result, TaskApp, start_http
from burnish.task_probe import TaskAppUnreachable

POOLS = {
    "bootstrap": [3, 1, 2],
    "online": {"start": 10, "end": 30},
    "validation": {"start": 30, "end": 40},
    "test": {"start": 40, "end": 60, "step": 2},
    "reference": [61, 65],
}


def job(**changes: object) -> dict[str, object]:
    table: dict[str, object] = {
        "task_app": "http://127.0.0.1:9",
        "env_name": "intents",
        "model": {"provider": "local", "model": "local-reader"},
        "pools": POOLS,
        **changes,
    }
    return {"job": table}


def spec_of(**changes: object):
    return to_job_spec(resolve_job(PromptLearningConfig.from_mapping(job(**changes), env={})))


def test_pools_keep_their_seeds_and_their_order():
    offline = spec_of().offline
    assert list(offline.bootstrap_pool.seeds) == [3, 1, 2]
    assert not offline.online_pool.seeds
    (test_range,) = offline.test_pool.ranges
    assert (test_range.start, test_range.end, test_range.step) == (40, 59, 2)
    assert list(offline.reference_pool.seeds) == [61, 65]


@given(st.lists(st.integers(0, 300), unique=True, max_size=30))
def test_a_pool_holds_exactly_its_seeds_in_order(seeds):
    pool = seed_pool(seeds)
    held = [*pool.seeds, *(s for r in pool.ranges for s in range(r.start, r.end, r.step))]
    assert held == seeds
    assert pool_size(pool) == len(seeds)


def test_the_app_and_the_model_are_named_as_given():
    spec = spec_of(env_config={"pool": "train", "n": 3}, seed=7, max_concurrent=5)
    assert (spec.task_app.uri, spec.task_app.env_name) == ("http://127.0.0.1:9", "intents")
    assert MessageToDict(spec.task_app.env_config) == {"pool": "train", "n": 3}
    assert (spec.policy_model.provider, spec.policy_model.model) == ("local", "local-reader")
    assert (spec.random_seed, spec.max_concurrency, spec.algorithm) == (7, 5, "mipro")


def test_settings_of_the_search_carry_what_the_file_sets_and_no_tuned_default():
    search = {
        "preset": "none",
        "num_iterations": 3,
        "num_evaluations_per_iteration": 2,
        "batch_size": 8,
        "top_k": 4,
        "tpe": {"n_startup_trials": 3},
    }
    settings = MessageToDict(spec_of(search=search).algorithm_settings)
    assert settings["num_iterations"] == 3
    assert settings["num_evaluations_per_iteration"] == 2
    assert (settings["batch_size"], settings["top_k"]) == (8, 4)
    assert settings["tpe"] == {"n_startup_trials": 3}
    assert "auto" not in settings


def test_a_preset_is_named_and_brings_no_iterations_of_its_own():
    settings = MessageToDict(spec_of(search={"preset": "medium"}).algorithm_settings)
    assert settings["auto"] == "medium"
    assert "num_iterations" not in settings


def test_caps_go_to_the_budget_and_those_of_the_search_to_its_settings_too():
    budget = {
        "max_rollouts": 200,
        "max_cost_usd": 0.0,
        "max_seconds": 90,
        "max_trials": 9,
        "target_score": 0.9,
    }
    spec = spec_of(budget=budget)
    assert spec.budget.max_rollouts == 200
    assert spec.budget.HasField("max_cost_usd")
    assert spec.budget.max_cost_usd == 0.0
    assert spec.budget.max_duration.seconds == 90
    assert spec.budget.target_reward == 0.9
    assert MessageToDict(spec.algorithm_settings)["max_trials"] == 9


def test_no_budget_is_no_cap():
    budget = spec_of().budget
    assert not budget.HasField("max_cost_usd")
    assert not budget.HasField("target_reward")
    assert not budget.HasField("max_duration")


def test_a_local_policy_has_a_local_proposer_unless_another_is_named():
    own = spec_of().proposer
    assert (own.meta_model.provider, own.meta_model.model) == ("local", "local-proposer")
    named = spec_of(proposer={"provider": "openai", "model": "gpt-4o-mini", "effort": "HIGH"})
    assert named.proposer.meta_model.model == "gpt-4o-mini"
    assert named.proposer.effort == proposer_service_pb2.EFFORT_HIGH
    hosted = spec_of(model={"provider": "openai", "model": "gpt-4o-mini"})
    assert not hosted.proposer.HasField("meta_model")


def test_checks_become_a_graph_whose_output_is_their_weighted_mean():
    checks = [
        {"check": "exact_match", "weight": 3.0},
        {"check": "contains", "weight": 1.0},
    ]
    weights = {"env": 0.5, "outcome": 0.5}
    spec = spec_of(verifier={"checks": checks, "reward_source": "fused", "weights": weights})
    graph = spec.scoring.verifier_graph
    assert [node.node_id for node in graph.nodes] == ["exact_match_0", "contains_1", "outcome"]
    assert graph.output_node == "outcome"
    assert dict(graph.nodes[2].weighted_mean.weights) == {"exact_match_0": 3.0, "contains_1": 1.0}
    assert spec.scoring.weights.outcome == 0.5


def test_without_a_verifier_the_apps_own_reward_counts_alone():
    assert not spec_of().HasField("scoring")


def test_a_stage_that_is_not_given_is_left_to_be_learnt():
    (stage,) = spec_of().stages
    assert not stage.template.messages
    assert stage.optimise_instruction
    assert stage.optimise_demos


def synth(*messages: tuple[str, str], **mipro: object) -> dict[str, object]:
    return {
        "prompt_learning": {
            "algorithm": "mipro",
            "task_app_url": "http://127.0.0.1:9",
            "initial_prompt": {
                "id": "p",
                "messages": [{"role": role, "pattern": text} for role, text in messages],
            },
            "policy": {"provider": "openai", "model": "gpt-4o-mini"},
            "mipro": {
                "env_name": "intents",
                "bootstrap_train_seeds": [0, 1],
                "online_pool": [2, 3],
                "test_pool": [4],
                "reference_pool": [5],
                **mipro,
            },
        }
    }


def synth_spec(*messages: tuple[str, str], **mipro: object):
    config = PromptLearningConfig.from_mapping(synth(*messages, **mipro), env={})
    return to_job_spec(resolve_job(config))


def test_an_instruction_with_a_wildcard_is_rendered_and_one_without_is_replaced():
    bound = synth_spec(("system", "You know {topic}."), ("user", "{query}")).stages[0].template
    assert bound.mode == candidate_pb2.SUBSTITUTION_MODE_PATTERN
    assert dict(bound.wildcards).keys() == {"topic", "query"}
    plain = synth_spec(("system", 'Answer {"label": ...}.'), ("user", "{query}")).stages[0].template
    assert plain.mode == candidate_pb2.SUBSTITUTION_MODE_SYSTEM
    assert plain.messages[0].pattern == 'Answer {"label": ...}.'


def test_without_a_validation_pool_the_online_pool_is_evaluated():
    offline = synth_spec(("user", "{query}")).offline
    assert list(offline.validation_pool.seeds) == list(offline.online_pool.seeds) == [2, 3]


def test_no_instructions_are_asked_for_when_none_are_optimised():
    spec = synth_spec(("user", "{query}"), optimize_instructions=False)
    assert spec.proposer.instruction_count == 0
    assert not spec.stages[0].optimise_instruction


async def test_missing_pools_are_drawn_from_the_apps_data():
    app = TaskApp(id="small", rows=[{"q": str(i)} for i in range(80)])
    app.rollout(lambda task: Result(reward=1.0))
    server = await start_http(app)
    try:
        source = {"job": {"task_app": server.url}}
        loaded = await load_job(source)
        pools = loaded.spec.offline
        sizes = [
            pool_size(pool) for pool in (pools.bootstrap_pool, pools.online_pool, pools.test_pool)
        ]
        assert all(sizes)
        assert sum(sizes) <= 80
        assert any("local-reader" in warning for warning in loaded.warnings)
    finally:
        await server.stop()


async def test_an_app_that_is_away_is_said_when_its_size_is_needed():
    with pytest.raises(TaskAppUnreachable, match="does not answer"):
        await load_job({"job": {"task_app": "http://127.0.0.1:9"}})


async def test_the_task_app_of_a_mapping_is_replaced_in_either_dialect(monkeypatch):
    monkeypatch.setenv("ENVIRONMENT_API_KEY", "from-env")
    ours = await load_job(job(), task_app_url="http://127.0.0.1:7")
    assert ours.spec.task_app.uri == "http://127.0.0.1:7"
    assert ours.task_app_api_key == "from-env"
    theirs = await load_job(
        synth(("user", "{query}")), task_app_url="http://127.0.0.1:7", task_app_api_key="given"
    )
    assert theirs.spec.task_app.uri == "http://127.0.0.1:7"
    assert theirs.task_app_api_key == "given"
    assert "given" not in repr(theirs)

"""What is wrong with a file is reported all at once, each with its place and its fix."""

import copy
from typing import Any

import pytest

from burnish.config import ConfigError, Problem, PromptLearningConfig
from burnish.errors import InvalidArgument


def mipro(**changes: Any) -> dict[str, Any]:
    """A sound MIPRO job, with changes by dotted path; None takes a key out."""
    return changed(
        {
            "prompt_learning": {
                "algorithm": "mipro",
                "task_app_url": "http://localhost:8002",
                "policy": {"model": "gpt-4o-mini", "provider": "openai"},
                "mipro": {
                    "bootstrap_train_seeds": {"start": 0, "end": 10},
                    "online_pool": {"start": 10, "end": 40},
                    "test_pool": {"start": 40, "end": 60},
                    "reference_pool": {"start": 60, "end": 70},
                },
            }
        },
        changes,
    )


def gepa(**changes: Any) -> dict[str, Any]:
    return changed(
        {
            "prompt_learning": {
                "algorithm": "gepa",
                "task_app_url": "http://localhost:8002",
                "policy": {"model": "gpt-4o-mini", "provider": "openai"},
                "gepa": {"evaluation": {"seeds": {"start": 0, "end": 50}}},
            }
        },
        changes,
    )


def changed(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    data = copy.deepcopy(data)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = data["prompt_learning"]
        for key in parents:
            node = node.setdefault(key, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return data


def refused(data: dict[str, Any]) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(data, env={})
    return {
        problem.path.removeprefix("prompt_learning."): problem for problem in caught.value.problems
    }


BAD = [
    (mipro(algorithm="dspy"), "algorithm", "mipro"),
    (mipro(algorithm=None), "algorithm", "add algorithm"),
    (mipro(mipro=None), "mipro", "may be empty"),
    (mipro(task_app_url=None), "task_app_url", "http://localhost"),
    (mipro(task_app_url="localhost:8002"), "task_app_url", "http://"),
    (mipro(task_app_url="http://"), "task_app_url", "host"),
    (mipro(mipro__num_iterations=0), "mipro.num_iterations", "above 0"),
    (mipro(mipro__num_iterations="many"), "mipro.num_iterations", "whole number"),
    (mipro(mipro__num_iterations=True), "mipro.num_iterations", "number"),
    (mipro(mipro__num_iterations=2.5), "mipro.num_iterations", "whole number"),
    (mipro(mipro__num_iterations=10**30), "mipro.num_iterations", ""),
    (mipro(mipro__few_shot_score_threshold=1.2), "mipro.few_shot_score_threshold", "1"),
    (mipro(mipro__few_shot_score_threshold=float("nan")),
     "prompt_learning.mipro.few_shot_score_threshold", "finite"),
    (mipro(mipro__batch_size=[1]), "mipro.batch_size", "whole number"),
    (mipro(mipro__generate_at_iterations=[0, -1]), "mipro.generate_at_iterations[1]", "0 or more"),
    (mipro(mipro__online_pool="0-10"), "mipro.online_pool", "start = 0"),
    (mipro(mipro__online_pool={"start": 3}), "mipro.online_pool", "end = 50"),
    (mipro(mipro__online_pool={"start": 0, "end": 5, "stop": 9}), "mipro.online_pool", "end = 50"),
    (mipro(mipro__online_pool={"start": 0, "end": 5, "step": 0}), "mipro.online_pool", "step"),
    (mipro(mipro__online_pool={"start": 0, "end": 10**9}), "mipro.online_pool", "shorter"),
    (mipro(mipro__online_pool={"start": 0, "end": 10**40}), "mipro.online_pool", "from 0"),
    (mipro(mipro__online_pool=[1, "x"]), "mipro.online_pool", "start = 0"),
    (mipro(mipro__online_pool=[-1]), "mipro.online_pool", "from 0"),
    (mipro(mipro__online_pool=[]), "mipro.online_pool", "add seeds"),
    (mipro(mipro__test_pool=[41, 15, 16]), "mipro.test_pool", "disjoint"),
    (mipro(mipro__reference_pool=[39, 65]), "mipro.reference_pool", "disjoint"),
    (mipro(mipro__min_bootstrap_demos=11), "mipro.min_bootstrap_demos", "lower it"),
    (mipro(mipro__optimize_demos=False, mipro__optimize_instructions=False),
     "mipro.optimize_demos", "switch one"),
    (mipro(mipro__stages=[{"stage_id": "a"}, {"stage_id": "a"}]),
     "mipro.stages[1].stage_id", "own"),
    (mipro(mipro__modules=[{"module_id": "a"}, {"module_id": "a"}]),
     "mipro.modules[1].module_id", "own id"),
    (mipro(mipro__modules=[{"module_id": "a", "stages": [{"stage_id": "s"}],
                            "edges": [["s", "t"]]}]),
     "mipro.modules[0].edges[0]", "use one of s"),
    (mipro(mipro__modules=[{"module_id": "a", "stages": [{"stage_id": "s"}], "edges": [["s"]]}]),
     "mipro.modules[0].edges[0][1]", "add it"),
    (mipro(mipro__stages=[{"stage_id": "a", "max_instruction_slots": 129}]),
     "mipro.stages[0].max_instruction_slots", "128"),
    (mipro(mipro__stages=[{"stage_id": "a", "max_demo_slots": 129}]),
     "mipro.stages[0].max_demo_slots", "128"),
    (mipro(mipro__stages=[{"stage_id": "a", "max_demo_slots": -1}]),
     "mipro.stages[0].max_demo_slots", "0 or more"),
    (mipro(mipro__stages=[{"policy": {"model": "gpt-4o", "provider": "openai",
                                      "inference_url": "http://x"}}]),
     "mipro.stages[0].policy.inference_url", "remove it"),
    (mipro(policy__base_url="http://x"), "policy.base_url", "remove it"),
    (mipro(policy__api_base="http://x"), "policy.api_base", "remove it"),
    (mipro(policy__provider="acme"), "policy.provider", "openai"),
    (mipro(policy__provider=None, policy__model="unheard-of"), "policy.provider", "add provider"),
    (mipro(policy__provider="groq"), "policy.model", 'provider = "openai"'),
    (mipro(policy__model="openai/gpt-5-pro"), "policy.model", "gpt-5"),
    (mipro(policy__temperature=2.1), "policy.temperature", "2"),
    (mipro(policy__inference_mode="mine"), "policy.inference_mode", "synth_hosted"),
    (mipro(policy__provider="openai_compatible", policy__model="m"),
     "policy.upstream_base_url", "base URL"),
    (mipro(policy__provider="local", policy__model="llama"), "policy.model", "local-reader"),
    (mipro(mipro__proposer={"model": "gpt-4.1-nano", "provider": "openai"}),
     "mipro.proposer.model", "-mini"),
    (mipro(mipro__meta_model="gpt-5-nano", mipro__meta_model_provider="openai"),
     "mipro.meta_model", "-mini"),
    (mipro(mipro__meta_model="my-own"), "mipro.proposer.provider", "name the provider"),
    (mipro(mipro__proposer_output_tokens="RAPID"), "mipro.proposer_output_tokens", "LOW_CONTEXT"),
    (mipro(mipro__proposer_effort="EXTREME"), "mipro.proposer_effort", "HIGH"),
    (mipro(free_tier="yes", mipro__proposer_effort="high"), "mipro.proposer_effort", "MEDIUM"),
    (mipro(judge={"enabled": True, "reward_source": "fused"}), "judge.weight_outcome", "above 0"),
    (mipro(verifier={"enabled": True, "reward_source": "fused"}),
     "verifier.weight_outcome", "above 0"),
    (mipro(judge={"enabled": True, "reward_source": "fused", "weight_event": 1.0,
                  "backend_event_enabled": False}), "judge.weight_outcome", "above 0"),
    (mipro(judge={"reward_source": "judge"}), "judge.enabled", "enabled = true"),
    (mipro(judge={"enabled": True, "weight_env": -1}), "judge.weight_env", "0 or more"),
    (mipro(judge={"enabled": True, "backend_provider": "openai", "backend_model": "gpt-5-pro"}),
     "judge.backend_model", "gpt-5"),
    (mipro(judge={"enabled": True, "checks": [{"check": "vibes"}]}), "judge.checks[0].check", "f1"),
    (mipro(judge={"synth_verifier_id": "a", "backend_rubric_id": "b"}),
     "judge.backend_rubric_id", "keep one"),
    (mipro(proxy_models={"hi_provider": "openai", "hi_model": "gpt-4o", "lo_provider": "openai"}),
     "proxy_models.lo_model", "add it"),
    (mipro(proxy_models={"hi_provider": "openai", "hi_model": "gpt-5-pro",
                         "lo_provider": "openai", "lo_model": "gpt-5-nano"}),
     "proxy_models.hi_model", "gpt-5"),
    (mipro(proxy_models={"hi_provider": "openai", "hi_model": "gpt-5", "lo_provider": "openai",
                         "lo_model": "gpt-5-nano", "r2_thresh": 0.1}),
     "proxy_models.r2_stop", "below"),
    (mipro(mipro__adaptive_pool={"pool_min_size": 50, "pool_init_size": 20}),
     "mipro.adaptive_pool", "anchor_size <="),
    (mipro(mipro__adaptive_pool={"level": "EXTREME"}), "mipro.adaptive_pool.level", "LOW"),
    (mipro(termination_config__budget=0), "termination_config.budget", "above 0"),
    (mipro(termination_config__budget=5, termination_config__max_rollouts=6),
     "termination_config.budget", "keep one"),
    (mipro(termination_config__target_score=95), "termination_config.target_score", "1 or less"),
    (mipro(termination_config__max_duration_minutes=-1),
     "termination_config.max_duration_minutes", "above 0"),
    (mipro(termination_config__max_category_costs_usd={"lunch": 1.0}),
     "termination_config.max_category_costs_usd.lunch", "rollout"),
    (mipro(initial_prompt={"messages": []}), "initial_prompt.messages", "add a message"),
    (mipro(initial_prompt={"messages": [{"role": "system"}]}),
     "initial_prompt.messages[0].pattern", "add it"),
    (mipro(initial_prompt={"messages": [{"role": "system", "pattern": "p"}],
                           "wildcards": {"p": "SOMETIMES"}}),
     "initial_prompt.wildcards.p", "REQUIRED"),
    (mipro(env_config="train"), "env_config", "table"),
    (gepa(gepa__evaluation__seeds=list(range(12))), "gepa.evaluation.seeds", "13"),
    (gepa(gepa__archive__pareto_set_size=48), "gepa.archive.pareto_set_size", "47 or less"),
    (gepa(gepa__archive__pareto_set_size=9), "gepa.archive.pareto_set_size", "10 or more"),
    (gepa(gepa__pareto_set_size=48), "gepa.pareto_set_size", "47 or less"),
    (gepa(gepa__rollout_budget=-3), "gepa.rollout_budget", "above 0"),
    (gepa(gepa__rollout_budget=3, gepa__rollout__budget=4), "gepa.rollout_budget", "keep one"),
    (gepa(gepa__evaluation__test_pool=[49, 50]), "gepa.evaluation.test_pool", "disjoint"),
    (gepa(gepa__proposer_type="spec"), "gepa.spec_path", "name the spec"),
    (gepa(gepa__population__selection_pressure=0.5), "gepa.population.selection_pressure", "1 or"),
    (gepa(gepa__mutation__llm_model="gpt-5-nano"), "gepa.mutation.llm_model", "-mini"),
    (gepa(gepa__modules=[{"max_instruction_slots": 1}]), "gepa.modules[0].module_id", "add it"),
    (gepa(gepa__modules=[{"module_id": "a", "allowed_tools": ["x", "x"]}]),
     "gepa.modules[0].allowed_tools", "once"),
    (gepa(initial_prompt={"messages": [{"role": "system", "pattern": "p"}],
                          "metadata": {"pipeline_modules": ["a"]}}),
     "gepa.modules", "module_id = 'a'"),
    (gepa(gepa__evaluation=None, gepa__total_seeds=18), "gepa.total_seeds", "19"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "path", "fix"), BAD, ids=[row[1] for row in BAD])
def test_a_bad_value_is_named_with_its_place_and_fix(data, path, fix):
    problems = refused(data)

    key = path.removeprefix("prompt_learning.")
    assert key in problems, list(problems)
    assert fix in problems[key].fix
    assert len(problems) == 1, list(problems)


def test_all_problems_come_at_once_over_every_layer():
    data = mipro(
        task_app_url="ftp://x",
        mipro__num_iterations=0,
        mipro__test_pool=[10],
        policy__model="gpt-5-pro",
        mipro__proposer_output_tokens="RAPID",
        termination_config__max_trials="ten",
    )

    assert set(refused(data)) == {
        "task_app_url",
        "mipro.num_iterations",
        "mipro.test_pool",
        "policy.model",
        "mipro.proposer_output_tokens",
        "termination_config.max_trials",
    }


def test_an_error_is_an_invalid_argument_and_a_value_error_with_a_readable_message():
    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(mipro(mipro__num_iterations=0), env={})

    assert isinstance(caught.value, InvalidArgument)
    assert isinstance(caught.value, ValueError)
    assert caught.value.reason == "CONFIG_INVALID"
    assert str(caught.value) == (
        "configuration: 1 problem\n"
        "  `prompt_learning.mipro.num_iterations` = 0: must be above 0; give a value above 0"
    )


def test_a_problem_is_named_in_the_words_of_the_file():
    data = {
        "policy_optimization": {
            "algorithm": "mipro",
            "container_url": "nowhere",
            "online_pool": [-1],
            "mipro": {"seeds": {"test": "x"}, "execution_mode": "sometimes"},
        }
    }

    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(data, env={})

    assert {problem.path for problem in caught.value.problems} == {
        "policy_optimization.container_url",
        "policy_optimization.online_pool",
        "policy_optimization.mipro.seeds.test",
        "policy_optimization.mipro.execution_mode",
    }


def test_prompts_and_keys_are_never_shown():
    data = mipro(
        task_app_api_key=["hush-key"],
        initial_prompt={"messages": "SECRET PROMPT"},
        mipro__metaprompt=["SECRET META"],
        mipro__stages=[{"baseline_instruction": {"x": "SECRET TEXT"}}],
    )

    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(data, env={})

    assert len(caught.value.problems) == 4
    text = str(caught.value) + str(caught.value.metadata) + repr(caught.value.problems)
    assert "SECRET" not in text
    assert "hush" not in text


def test_too_many_problems_are_cut_in_the_message_only():
    stages = [{"stage_id": f"s{i}", "max_demo_slots": -1} for i in range(50)]

    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(mipro(mipro__stages=stages), env={})

    assert len(caught.value.problems) == 50
    assert "and 30 more" in str(caught.value)


@pytest.mark.parametrize(
    "data", [{}, {"prompt_learning": {}}, {"prompt_learning": 3}, {"mipro": 1}]
)
def test_an_empty_file_says_what_is_missing(data):
    assert "algorithm" in refused(data)


def test_two_jobs_in_a_file_are_refused():
    data = mipro() | {"job": {"task_app": "http://localhost:1"}}

    assert any("beside" in problem.message for problem in refused(data).values())


def test_unknown_keys_warn_with_the_nearest_name():
    config = PromptLearningConfig.from_mapping(
        mipro(mipro__num_iteration=3, policy__top_p=0.9) | {"trainer": {}}, env={}
    )

    assert config.warnings == (
        "`trainer`: unknown section beside `prompt_learning`, ignored",
        "`prompt_learning.policy.top_p`: unknown key, ignored; remove it",
        "`prompt_learning.mipro.num_iteration`: unknown key, ignored; "
        "did you mean `num_iterations`?",
    )


def test_deprecated_keys_warn_and_are_used():
    config = PromptLearningConfig.from_mapping(
        mipro(mipro__meta_model="gpt-4o-mini", mipro__meta_model_temperature=0.5), env={}
    )

    assert config.mipro is not None
    assert config.mipro.proposer is not None
    assert config.mipro.proposer.model == "gpt-4o-mini"
    assert config.mipro.proposer.temperature == 0.5
    assert sum("deprecated" in warning for warning in config.warnings) == 2


def test_the_callers_mapping_is_never_changed():
    data = mipro(mipro__meta_model="gpt-4o-mini", online_pool=[1])
    before = copy.deepcopy(data)

    PromptLearningConfig.from_mapping(
        data, overrides={"prompt_learning.mipro.batch_size": 3}, env={}
    )

    assert data == before


def test_pools_at_the_top_go_down_unless_they_are_there():
    config = PromptLearningConfig.from_mapping(
        mipro(online_pool=[12, 13], test_pool=[90], mipro__test_pool=None), env={}
    )

    assert config.mipro is not None
    assert config.mipro.online_pool == tuple(range(10, 40))
    assert config.mipro.test_pool == (90,)
    assert config.warnings == (
        "`prompt_learning.online_pool`: is ignored, because `prompt_learning.mipro.online_pool` "
        "is given",
    )


def test_the_roots_termination_wins_over_the_sections():
    data = mipro(termination_config={"max_trials": 3, "max_rollouts": 9})
    data["termination_config"] = {"max_trials": 5}

    config = PromptLearningConfig.from_mapping(data, env={})

    assert config.termination_config.max_trials == 5
    assert config.termination_config.max_rollouts == 9

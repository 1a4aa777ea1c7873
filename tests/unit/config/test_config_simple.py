"""`MIPROConfig.simple` plans a sound single-stage search for every budget."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.config import ConfigError, MIPROConfig, PromptLearningConfig, resolve_job


def simple(**changes: Any) -> MIPROConfig:
    arguments: dict[str, Any] = {
        "task_app_url": "http://localhost:8002",
        "task_app_api_key": "k",
        "env_name": "iris",
        "rollout_budget": 100,
        "initial_prompt_messages": [
            {"role": "user", "pattern": "{features}", "order": 1},
            {"role": "system", "content": "Name the flower.", "order": 0},
        ],
    }
    return MIPROConfig.simple(**{**arguments, **changes})


def pools(config: MIPROConfig) -> list[set[int]]:
    found = (
        config.bootstrap_train_seeds,
        config.online_pool,
        config.reference_pool,
        config.test_pool,
    )
    return [set(pool or ()) for pool in found]


def assert_disjoint(config: MIPROConfig) -> None:
    sets = pools(config)
    assert sum(len(pool) for pool in sets) == len(set.union(*sets))


@pytest.mark.parametrize(
    ("budget", "bootstrap", "online", "reference", "iterations", "evaluations"),
    [(50, 5, 16, 10, 5, 3), (100, 10, 33, 20, 5, 3), (400, 10, 50, 30, 5, 3), (1, 3, 5, 5, 5, 3)],
)
def test_sizes_follow_from_the_budget(
    budget, bootstrap, online, reference, iterations, evaluations
):
    config = simple(rollout_budget=budget)

    assert [len(pool) for pool in pools(config)[:3]] == [bootstrap, online, reference]
    assert config.num_iterations == iterations
    assert config.num_evaluations_per_iteration == evaluations
    assert config.batch_size == min(32, online)
    assert config.max_concurrent == 10


@given(budget=st.integers(1, 10_000), own=st.lists(st.integers(0, 80), max_size=30, unique=True))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_pools_never_meet_whatever_the_budget_and_the_callers_pools(budget, own):
    assert_disjoint(simple(rollout_budget=budget, test_seeds=own))
    if own:
        assert_disjoint(simple(rollout_budget=budget, online_seeds=own))
        assert_disjoint(simple(rollout_budget=budget, reference_pool=own))


def test_the_stage_starts_from_the_system_message_and_keeps_the_policy():
    config = simple(policy_model="gpt-4o-mini", policy_provider="openai", policy_temperature=0.0)

    (module,) = config.modules
    (stage,) = module.stages
    assert (module.module_id, stage.stage_id) == ("default", "default_stage_0")
    assert stage.baseline_instruction == "Name the flower."
    assert [message.role for message in stage.baseline_messages] == ["system", "user"]
    assert stage.policy is not None
    assert stage.policy.model == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("messages", "instruction"),
    [
        ([{"role": "user", "pattern": "Sort {x}"}], "Sort {x}"),
        ([{"role": "assistant", "pattern": "Hi"}], "Complete the task."),
    ],
)
def test_the_instruction_falls_back_to_the_user_message_then_to_a_default(messages, instruction):
    stage = simple(initial_prompt_messages=messages).modules[0].stages[0]

    assert stage.baseline_instruction == instruction


def test_explicit_settings_win():
    config = simple(
        num_iterations=2, num_evaluations_per_iteration=9, batch_size=4, online_seeds=range(30, 36)
    )

    assert config.num_iterations == 2
    assert config.num_evaluations_per_iteration == 9
    assert config.batch_size == 4
    assert config.online_pool == (30, 31, 32, 33, 34, 35)


@pytest.mark.parametrize(
    ("preset", "effort", "model", "tokens"),
    [
        ("fast", "LOW", "gpt-4o-mini", 512),
        ("balanced", "LOW", "gpt-4o-mini", 1024),
        ("high_quality", "MEDIUM", "gpt-4o", 2048),
    ],
)
def test_meta_presets_choose_the_proposer(preset, effort, model, tokens):
    config = simple(meta_preset=preset)

    assert config.proposer_effort == effort
    assert config.proposer is not None
    assert (config.proposer.model, config.proposer.max_tokens) == (model, tokens)


def test_all_wrong_arguments_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        simple(
            rollout_budget=0, env_name="", initial_prompt_messages=[], meta_preset="best", colour=1
        )

    assert {problem.path for problem in caught.value.problems} == {
        "simple.rollout_budget",
        "simple.env_name",
        "simple.initial_prompt_messages",
        "simple.meta_preset",
        "simple.colour",
    }


def test_the_result_resolves_and_holds_no_key():
    mipro = simple(task_app_api_key="hush-hush")

    job = resolve_job(
        PromptLearningConfig(task_app_url="http://localhost:8002", mipro=mipro), dataset_size=300
    )

    assert "hush" not in repr(mipro) + str(mipro.model_dump())
    assert job.stages[0].baseline_instruction == "Name the flower."
    assert job.env_name == "iris"
    assert job.pools.complete

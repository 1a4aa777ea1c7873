"""A configuration settles into a job that leaves nothing open."""

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.config import (
    ConfigError,
    PromptLearningConfig,
    ResolvedJob,
    ResolvedMessage,
    ResolvedModel,
    resolve_job,
)

CORPUS = Path(__file__).resolve().parent / "corpus"


def load(name: str) -> PromptLearningConfig:
    return PromptLearningConfig.from_path(CORPUS / f"{name}.toml", env={"TASK_KEY": "hush-hush"})


def job_of(mipro: dict[str, Any], **top: Any) -> ResolvedJob:
    data = {"algorithm": "mipro", "task_app_url": "http://localhost:1", "mipro": mipro, **top}
    return resolve_job(PromptLearningConfig.from_mapping(data, env={}))


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_round_trip_resolves_to_the_same_job(path):
    config = load(path.stem)
    again = PromptLearningConfig.from_mapping(config.to_dict(), env={}, base_dir=config.base_dir)

    first, second = resolve_job(config).to_dict(), resolve_job(again).to_dict()

    first.pop("warnings")
    second.pop("warnings")
    assert first == second


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_job_travels_as_json_without_its_key(path):
    job = resolve_job(load(path.stem), dataset_size=1000)

    assert "hush" not in json.dumps(job.to_dict()) + repr(job)
    assert job.pools.complete


def test_the_key_is_on_the_job():
    assert resolve_job(load("nested")).task_app_api_key == "hush-hush"


def test_modules_become_stages_in_order_with_edges_and_models():
    job = resolve_job(load("modules"))

    assert [(stage.module_id, stage.stage_id) for stage in job.stages] == [
        ("retrieve", "plan"),
        ("retrieve", "search"),
        ("retrieve", "rank"),
        ("answer", "answer"),
    ]
    assert job.edges == (("plan", "search"), ("search", "rank"), ("plan", "rank"))
    plan, _, rank, answer = job.stages
    assert plan.model == ResolvedModel(
        provider="openai", model="gpt-4o-mini", temperature=0.2, max_output_tokens=512
    )
    assert rank.messages == (
        ResolvedMessage(role="system", pattern="Order the passages."),
        ResolvedMessage(role="user", pattern="{passages}"),
    )
    assert rank.wildcards == {"passages": "REQUIRED"}
    assert rank.baseline_instruction == "Order the passages."
    assert not rank.optimize_demos
    assert answer.max_instruction_slots == 2
    assert job.proposer.effort == "MEDIUM"


def test_unnamed_stages_of_several_modules_stay_apart():
    modules: list[dict[str, Any]] = [{"stages": [{}, {}]}, {"stages": [{}]}, {}]

    job = job_of({"modules": modules, "edges": [["module_0_stage_0", "module_1_stage_0"]]})

    assert [stage.stage_id for stage in job.stages] == [
        "module_0_stage_0",
        "module_0_stage_1",
        "module_1_stage_0",
        "module_2",
    ]


def test_without_a_prompt_there_is_one_stage_whose_baseline_is_learnt():
    job = resolve_job(load("minimal"))

    (stage,) = job.stages
    assert stage.messages == ()
    assert stage.baseline_instruction is None
    assert stage.model is None


def test_a_default_model_serves_stages_without_one():
    model = ResolvedModel(provider="local", model="local-reader")

    assert resolve_job(load("minimal"), default_model=model).stages[0].model == model
    assert resolve_job(load("flat_root"), default_model=model).stages[0].model != model


def test_an_initial_prompt_is_ordered_and_its_wildcards_are_complete():
    prompt = {
        "messages": [
            {"role": "user", "pattern": '{a} {b} {{c}} {"d": 1}', "order": 5},
            {"role": "System", "content": "Do it.", "order": 1},
        ],
        "wildcards": {"b": "optional"},
    }

    (stage,) = job_of({}, initial_prompt=prompt).stages

    assert [message.role for message in stage.messages] == ["system", "user"]
    assert stage.wildcards == {"a": "REQUIRED", "b": "OPTIONAL"}
    assert stage.baseline_instruction == "Do it."


def test_pipeline_modules_of_a_prompt_become_stages():
    metadata = {"pipeline_modules": ["a", {"name": "b", "instruction_text": "Do b."}]}
    prompt = {"messages": [{"role": "system", "pattern": "x"}], "metadata": metadata}

    job = job_of({}, initial_prompt=prompt)

    assert [(s.stage_id, s.baseline_instruction) for s in job.stages] == [
        ("a", None),
        ("b", "Do b."),
    ]


def test_the_walkthroughs_keys_get_their_meaning():
    job = resolve_job(load("minimal"))

    assert job.mipro is not None
    assert job.mipro.bootstrap_rounds == 2
    assert job.mipro.proposals_per_call == 3
    assert job.mipro.instructions_per_batch == 6
    assert job.mipro.max_demo_set_size == 2
    assert job.mipro.top_k == 2
    assert (job.budget.max_rollouts, job.budget.max_seconds) == (120, 900)
    assert job.budget.target_score == 0.95


def test_a_walkthrough_without_a_budget_gets_the_documented_one_with_a_warning():
    job = job_of({"num_iterations": 10, "top_k": 2})

    assert job.budget.max_rollouts == 100
    assert any("default of 100" in warning for warning in job.warnings)


@pytest.mark.parametrize("budget", [40, 100, 200, 1000])
def test_a_walkthroughs_search_fits_its_budget(budget):
    data = {
        "algorithm": "mipro",
        "task_app_url": "http://localhost:1",
        "mipro": {"num_iterations": 10, "top_k": 2},
        "termination_config": {"budget": budget},
    }
    job = resolve_job(PromptLearningConfig.from_mapping(data, env={}), dataset_size=3000)

    assert job.mipro is not None
    assert job.pools.bootstrap is not None
    assert job.pools.validation is not None
    spent = (
        len(job.pools.bootstrap)
        + job.mipro.num_iterations * job.mipro.batch_size
        + 2 * len(job.pools.validation)
    )
    assert spent <= max(budget, 50)


def test_the_tightest_cap_wins_and_aliases_count():
    job = job_of(
        {"max_spend_usd": 1.0, "max_total_tokens": 500, "max_token_limit": 400,
         "max_wall_clock_seconds": 90.0},
        termination_config={
            "max_total_spend_usd": 2.0, "max_tokens": 900, "max_duration_minutes": 1,
            "max_trials_allowed": 7,
            "max_category_costs_usd": {"rollout": 1.0, "proposal": 2.0, "verification": 0.5},
        },
    )  # fmt: skip

    assert job.budget.max_cost_usd == 1.0
    assert job.budget.max_tokens == 400
    assert job.budget.max_seconds == 60
    assert job.budget.max_trials == 7
    assert job.budget.max_category_costs_usd == {
        "task": 1.0, "proposer": 2.0, "judge": 0.5,
    }  # fmt: skip


def test_an_unenforced_token_limit_is_no_cap():
    job = job_of({"max_token_limit": 400, "enforce_token_limit": False})

    assert job.budget.max_tokens is None


@pytest.mark.parametrize(
    ("judge", "weights"),
    [
        ({}, (1.0, 0.0, 0.0)),
        ({"enabled": True}, (1.0, 0.0, 0.0)),
        ({"enabled": True, "reward_source": "judge"}, (0.0, 0.0, 1.0)),
        ({"enabled": True, "reward_source": "verifier", "weight_event": 2.0}, (0.0, 2.0, 0.0)),
        ({"enabled": True, "reward_source": "fused", "weight_outcome": 0.5}, (1.0, 0.0, 0.5)),
        ({"enabled": False, "weight_outcome": 0.5}, (1.0, 0.0, 0.0)),
    ],
)
def test_reward_weights_follow_the_reward_source(judge, weights):
    verifier = job_of({}, judge=judge).verifier

    assert (verifier.weight_env, verifier.weight_event, verifier.weight_outcome) == weights


def test_later_names_of_the_verifier_are_read():
    config = load("nested")

    assert config.verifier is config.judge
    assert resolve_job(config).verifier.graph_id == "zero_shot_verifier_rubric_single"


@pytest.mark.parametrize(
    ("preset", "demos", "expected"),
    [
        ("light", True, (10, 3, 6, 100)),
        ("medium", True, (18, 6, 12, 300)),
        ("heavy", True, (27, 9, 18, 1000)),
        ("light", False, (9, 6, 1, 100)),
    ],
)
def test_presets_have_miprov2s_numbers(preset, demos, expected):
    job = job_of({"auto": preset, "optimize_demos": demos})

    assert job.mipro is not None
    found = job.mipro.preset
    assert found is not None
    assert (
        found.trial_count,
        found.instruction_count,
        found.demo_set_count,
        found.validation_size,
    ) == expected
    assert job.mipro.minibatch_pool == "validation"
    assert job.mipro.num_iterations == expected[0]
    assert job.mipro.full_eval_every_k == 5


@pytest.mark.parametrize(("preset", "trials"), [("light", 20), ("medium", 28), ("heavy", 33)])
def test_presets_grow_with_the_stages(preset, trials):
    job = job_of({"auto": preset, "stages": [{"stage_id": "a"}, {"stage_id": "b"}]})

    assert job.mipro is not None
    assert job.mipro.num_iterations == trials


def test_defaults_are_the_documented_ones():
    job = job_of({"online_pool": {"start": 0, "end": 100}})

    assert job.mipro is not None
    mipro = job.mipro
    assert (mipro.num_iterations, mipro.num_evaluations_per_iteration, mipro.batch_size) == (
        20,
        5,
        32,
    )
    assert mipro.few_shot_score_threshold == 0.8
    assert (mipro.max_demo_set_size, mipro.max_demo_sets) == (4, 17)
    assert (mipro.instructions_per_batch, mipro.duplicate_retry_limit) == (10, 10)
    assert mipro.generate_at_iterations == (0,)
    assert (job.max_concurrent, job.random_seed) == (20, 0)


def test_seed_zero_of_the_search_beats_the_jobs_seed():
    assert job_of({"random_seed": 0}, random_seed=5).random_seed == 0


def test_a_stage_that_may_change_nothing_anywhere_is_refused():
    with pytest.raises(ConfigError, match="nothing to search"):
        job_of({"optimize_instructions": False, "stages": [{"max_demo_slots": 0}]})


def test_a_configuration_built_by_hand_is_checked():
    config = PromptLearningConfig(algorithm="mipro", task_app_url="nowhere")

    with pytest.raises(ConfigError) as caught:
        resolve_job(config)

    assert {problem.path for problem in caught.value.problems} == {"task_app_url", "mipro"}


def test_online_jobs_carry_their_settings():
    job = resolve_job(load("online"))

    assert job.online is not None
    assert job.online.rollouts_per_candidate == 10
    assert job.task_app_url is None
    assert job.proposer.model is not None
    assert job.proposer.model.max_output_tokens == 512
    assert job.mipro is not None
    assert job.mipro.generate_at_iterations == (0, 1, 2)


def test_idle_keys_are_said_to_be_idle():
    config = PromptLearningConfig.from_mapping(
        {
            "algorithm": "mipro",
            "task_app_url": "http://localhost:1",
            "use_byok": True,
            "mipro": {"results_file": "x.json"},
        },
        env={},
    )

    assert [warning.split(":")[0] for warning in config.warnings] == [
        "`use_byok`",
        "`mipro.results_file`",
    ]

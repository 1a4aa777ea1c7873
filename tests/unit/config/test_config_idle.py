"""A setting that changes nothing is told of, once, with its place and the reason."""

from typing import Any

import pytest

from burnish.config import PromptLearningConfig

POOLS = {
    "bootstrap_train_seeds": {"start": 0, "end": 10},
    "online_pool": {"start": 10, "end": 40},
    "test_pool": {"start": 40, "end": 60},
}


def idle(algorithm: str = "mipro", **tables: Any) -> list[str]:
    """What is said to have no effect in a file with some tables."""
    data: dict[str, Any] = {
        "algorithm": algorithm,
        "task_app_url": "http://localhost:8002",
        "policy": {"model": "gpt-4o-mini", "provider": "openai"},
        **tables,
    }
    if algorithm == "mipro":
        data["mipro"] = {**POOLS, **tables.get("mipro", {})}
    else:
        seeds = {"evaluation": {"seeds": {"start": 0, "end": 50}}}
        data["gepa"] = {**seeds, **tables.get("gepa", {})}
    config = PromptLearningConfig.from_mapping({"prompt_learning": data}, env={})
    return [
        warning.partition(":")[0].strip("`").removeprefix("prompt_learning.")
        for warning in config.warnings
        if "has no effect here: " in warning
    ]


def test_a_file_without_such_settings_is_told_nothing():
    assert idle() == []
    assert idle("gepa") == []


PROXY = {
    "hi_provider": "openai", "hi_model": "gpt-4o", "lo_provider": "openai",
    "lo_model": "gpt-4o-mini",
}  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"proxy_models": PROXY, "mipro": {"engine": "race"}}, ["proxy_models"]),
        ({"mipro": {"proxy_models": PROXY, "protocol": "miprov2"}}, ["mipro.proxy_models"]),
        ({"mipro": {"adaptive_pool": "LOW", "engine": "race"}}, ["mipro.adaptive_pool"]),
        (
            {"mipro": {"adaptive_pool": {"level": "HIGH"}, "protocol": "miprov2"}},
            ["mipro.adaptive_pool"],
        ),
        ({"mipro": {"tpe": {"gamma": 0.2}}}, ["mipro.tpe.gamma"]),
        ({"mipro": {"tpe_gamma": 0.2}}, ["mipro.tpe_gamma"]),
        ({"mipro": {"proposer_mode": "dspy"}}, ["mipro.proposer_mode"]),
        ({"mipro": {"demo": {"include_empty": False}}}, ["mipro.demo.include_empty"]),
        ({"termination_config": {"max_error_rate": 0.0}}, ["termination_config.max_error_rate"]),
        ({"gepa": {"mutation": {"rate": 0.4}}}, ["gepa"]),
    ],
)
def test_each_setting_that_changes_nothing_is_told_of_by_its_path(tables, told):
    assert idle(**tables) == told


@pytest.mark.parametrize(
    "tables",
    [
        {"mipro": {"adaptive_pool": "NONE"}},
        {"mipro": {"adaptive_pool": "NONE", "engine": "race"}},
        {"mipro": {"adaptive_pool": {"level": "HIGH"}}},
        {"proxy_models": PROXY},
        {"mipro": {"proxy_models": PROXY}},
        {"mipro": {"meta_update": {"every_iterations": 4, "keep_k": 3, "topk_success": 2}}},
        {"mipro": {"demo": {"include_empty": True}}},
        {"mipro": {"tpe": {"n_candidates": 30, "epsilon": 0.1, "n_startup_trials": 4}}},
        {"termination_config": {"pessimism_enabled": False, "max_rollouts": 100}},
    ],
)
def test_what_is_switched_off_or_used_is_not_told_of(tables):
    assert idle(**tables) == []


def test_gepas_own_settings_are_told_of_under_gepa_alone():
    assert idle("gepa", gepa={"adaptive_batch": "LOW"}) == []
    assert idle("gepa", gepa={"adaptive_pool": "LOW"}) == ["gepa.adaptive_pool"]
    assert idle("gepa", gepa={"proposer_type": "dspy"}) == ["gepa.proposer_type"]
    assert idle("gepa", gepa={"proposer_type": "synth"}) == []
    module = {"module_id": "main", "max_tokens": 90, "allowed_tools": ["find"]}
    told = [f"gepa.modules[0].{key}" for key in ("allowed_tools", "max_tokens")]
    assert idle("gepa", gepa={"modules": [module]}) == told
    assert idle("gepa", mipro={"num_iterations": 3}) == ["mipro"]

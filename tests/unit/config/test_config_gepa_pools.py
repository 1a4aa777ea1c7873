"""The rows of a job of GEPA: those that its proposer may read with their answers."""

from typing import Any

import pytest

from burnish.config import ConfigError, PromptLearningConfig, resolve_job

SEEDS = {"seeds": {"start": 0, "end": 50}, "validation_seeds": {"start": 50, "end": 60},
         "test_pool": {"start": 60, "end": 70}}  # fmt: skip


def synth(top: dict[str, Any] | None = None, **evaluation: Any) -> PromptLearningConfig:
    data = {
        "algorithm": "gepa",
        "task_app_url": "http://localhost:8002",
        "policy": {"model": "gpt-4o-mini", "provider": "openai"},
        "gepa": {"evaluation": {**SEEDS, **evaluation}},
        **(top or {}),
    }
    return PromptLearningConfig.from_mapping({"prompt_learning": data}, env={})


def native(pools: dict[str, Any]) -> PromptLearningConfig:
    job = {
        "algorithm": "gepa",
        "task_app": "http://localhost:8002",
        "model": {"provider": "local", "model": "local-reader"},
        "pools": {"online": list(range(50)), **pools},
    }
    return PromptLearningConfig.from_mapping({"job": job}, env={})


@pytest.mark.parametrize(
    "config",
    [
        synth(reference_pool=[80, 81]),
        synth({"reference_pool": [80, 81]}),
        native({"reference": [80, 81]}),
    ],
    ids=["evaluation", "top", "native"],
)
def test_reference_rows_are_read_wherever_they_are_given(config):
    assert resolve_job(config, dataset_size=100).pools.reference == (80, 81)
    assert config.warnings == ()


def test_reference_rows_that_are_not_given_are_drawn_from_what_is_left():
    pools = resolve_job(synth(), dataset_size=100).pools
    assert pools.reference
    assert not set(pools.reference) & {*range(70)}
    assert pools.bootstrap == ()


@pytest.mark.parametrize(("count", "pareto"), [(13, 10), (20, 10), (50, 25), (67, 33), (300, 64)])
def test_half_of_the_training_rows_are_compared_on_when_nothing_else_is_asked_for(count, pareto):
    rows = {"validation": list(range(300, 310)), "test": list(range(310, 320)), "reference": [320]}
    job = resolve_job(native({"online": list(range(count)), **rows}))
    assert job.gepa is not None
    assert job.gepa.pareto_set_size == pareto


@pytest.mark.parametrize("shared", [4, 55, 65])
def test_reference_rows_are_no_rows_of_another_pool(shared):
    with pytest.raises(ConfigError, match=r"reference_pool.*shares 1 seeds"):
        synth(reference_pool=[shared, 80])

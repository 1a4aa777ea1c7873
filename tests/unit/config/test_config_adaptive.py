"""Adaptive levels resolve to sizes that exist."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.config import (
    AdaptiveBatchLevel,
    AdaptiveCurriculumLevel,
    AdaptivePoolConfig,
    ConfigError,
    PromptLearningConfig,
    resolve_adaptive_batch_config,
    resolve_adaptive_pool_config,
)


@pytest.mark.parametrize(
    ("level", "row"),
    [
        ("NONE", (0, None, None, 999_999, 999_999, 999_999, 1, 0, 1.0, "random", "random")),
        ("LOW", (50, 150, 100, 10, 30, 2, 5, 15, 0.95, "clustering", "diversity")),
        ("MODERATE", (30, 100, 50, 5, 20, 3, 3, 10, 0.9, "clustering", "diversity")),
        ("HIGH", (20, 60, 30, 3, 10, 5, 2, 5, 0.8, "clustering", "diversity")),
    ],
)
def test_a_pool_level_stands_for_its_row(level, row):
    pool = resolve_adaptive_pool_config(level=level)

    assert (
        pool.anchor_size,
        pool.pool_init_size,
        pool.pool_min_size,
        pool.warmup_iters,
        pool.anneal_stop_iter,
        pool.pool_update_period,
        pool.min_evals_per_example,
        pool.k_info_prompts,
        pool.info_buffer_factor,
        pool.anchor_selection_method,
        pool.exploration_strategy,
    ) == row
    assert pool.enabled == (level != "NONE")


def test_pool_level_is_low_by_default_and_class_defaults_are_the_classs():
    assert resolve_adaptive_pool_config().level is AdaptiveCurriculumLevel.LOW
    assert resolve_adaptive_pool_config().anchor_size == 50
    assert AdaptivePoolConfig().anchor_size == 30
    assert AdaptivePoolConfig().pool_init_size is None


def test_forty_seeds_clamp_all_three_sizes():
    pool = resolve_adaptive_pool_config(level="LOW", dev_pool_size=40)

    assert (pool.pool_init_size, pool.pool_min_size, pool.anchor_size) == (40, 40, 40)


@given(
    level=st.sampled_from(list(AdaptiveCurriculumLevel)),
    size=st.integers(0, 500),
    anchor=st.none() | st.integers(0, 200),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_sizes_always_nest(level, size, anchor):
    overrides = {} if anchor is None else {"anchor_size": anchor}

    pool = resolve_adaptive_pool_config(level=level, overrides=overrides, dev_pool_size=size)

    assert pool.pool_init_size is not None
    assert pool.pool_min_size is not None
    assert size >= pool.pool_init_size >= pool.pool_min_size >= pool.anchor_size >= 0


def test_overrides_replace_the_levels_values():
    pool = resolve_adaptive_pool_config(level="HIGH", overrides={"warmup_iters": 12})

    assert pool.warmup_iters == 12
    assert pool.anneal_stop_iter == 13, "it has to come after the warm-up"


@pytest.mark.parametrize(
    "overrides",
    [
        {"pool_update_period": 0},
        {"info_buffer_factor": 1.5},
        {"heatup_trigger": "later"},
        {"heatup_reserve_pool": "all"},
        {"anchor_size": 9, "pool_min_size": 5},
        {"warmup_iters": 5, "anneal_stop_iter": 5},
        {"anchor_sise": 5},
    ],
)
def test_bad_overrides_are_refused(overrides):
    with pytest.raises(ConfigError):
        resolve_adaptive_pool_config(overrides=overrides)


@pytest.mark.parametrize(
    ("level", "row"),
    [
        ("NONE", (8, 0.0, "full", 64, "random")),
        ("LOW", (5, 0.0, "subsample", 80, "coverage")),
        ("MODERATE", (3, 0.0, "subsample", 64, "coverage")),
        ("HIGH", (2, 0.0, "subsample", 48, "coverage")),
    ],
)
def test_a_batch_level_stands_for_its_row(level, row):
    batch = resolve_adaptive_batch_config(level=level)

    assert (
        batch.reflection_minibatch_size,
        batch.min_local_improvement,
        batch.val_evaluation_mode,
        batch.val_subsample_size,
        batch.candidate_selection_strategy,
    ) == row
    assert batch.enabled == (level != "NONE")


def test_batch_level_is_moderate_by_default():
    assert resolve_adaptive_batch_config().level is AdaptiveBatchLevel.MODERATE
    with pytest.raises(ConfigError):
        resolve_adaptive_batch_config(overrides={"reflection_minibatch_size": 0})


def test_a_level_in_a_file_fills_the_table_and_survives_a_round_trip():
    config = PromptLearningConfig.from_mapping(
        {
            "algorithm": "mipro",
            "task_app_url": "http://localhost:1",
            "mipro": {"adaptive_pool": "HIGH"},
        },
        env={},
    )

    assert config.mipro is not None
    assert config.mipro.adaptive_pool == resolve_adaptive_pool_config(level="HIGH")
    again = PromptLearningConfig.from_mapping(config.to_dict(), env={})
    assert again.to_dict() == config.to_dict()

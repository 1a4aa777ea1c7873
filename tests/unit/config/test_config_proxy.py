"""What of a cheap model's table reaches a job."""

from dataclasses import replace
from typing import Any

import pytest

from burnish.config import PromptLearningConfig, ResolvedJob, resolve_job
from burnish.job_spec import to_job_spec

TABLE = {
    "hi_provider": "openai",
    "hi_model": "gpt-4o",
    "lo_provider": "openai",
    "lo_model": "gpt-4.1-nano",
    "n_min_hi": 7,
    "verify_every": 4,
}


def resolved(table: dict[str, Any], **mipro: Any) -> ResolvedJob:
    data = {
        "algorithm": "mipro",
        "task_app_url": "http://localhost:1",
        "policy": {"model": "gpt-4o", "provider": "openai"},
        "proxy_models": table,
        "mipro": {
            "online_pool": list(range(30)),
            "bootstrap_train_seeds": [40],
            "test_pool": [50],
            **mipro,
        },
    }
    return resolve_job(PromptLearningConfig.from_mapping(data, env={}))


def test_the_table_is_the_jobs_cheap_model():
    proxy = to_job_spec(resolved(TABLE)).proxy

    assert (proxy.high_model.provider, proxy.high_model.model) == ("openai", "gpt-4o")
    assert (proxy.low_model.provider, proxy.low_model.model) == ("openai", "gpt-4.1-nano")
    assert (proxy.min_pair_count, proxy.verify_every) == (7, 4)
    assert (proxy.min_r2, proxy.stop_r2, proxy.min_net_gain_usd) == (0.5, 0.2, -100.0)
    assert (proxy.max_variance, proxy.stop_variance) == (1e6, 1e9)


def test_the_dear_model_may_be_named_with_its_provider():
    proxy = to_job_spec(resolved({**TABLE, "hi_model": "openai/gpt-4o"})).proxy

    assert proxy.high_model.model == "gpt-4o"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hi_model": "gpt-5"}, "no stage runs on hi_model"),
        ({"lo_model": "openai/gpt-4o"}, "both models are the same"),
    ],
)
def test_a_table_that_replaces_nothing_is_told_of(change, told):
    job = resolved({**TABLE, **change})

    assert any(told in warning for warning in job.warnings)
    assert not to_job_spec(job).HasField("proxy")


@pytest.mark.parametrize("mipro", [{"engine": "race"}, {"protocol": "miprov2"}])
def test_searches_that_take_every_reward_for_a_measurement_are_given_none(mipro):
    assert not to_job_spec(resolved(TABLE, **mipro)).HasField("proxy")


def test_trials_without_shared_rows_are_warned_of():
    alone, pooled = resolved(TABLE), resolved(TABLE, adaptive_pool="LOW")

    assert any("rows that all trials share" in warning for warning in alone.warnings)
    assert not any("rows that all trials share" in warning for warning in pooled.warnings)


def test_a_job_without_the_table_has_none():
    job = resolved(TABLE)
    assert job.proxy_models is not None
    assert not to_job_spec(replace(job, proxy_models=None)).HasField("proxy")

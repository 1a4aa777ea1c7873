"""Pools that a file leaves open are derived: held out, disjoint, repeatable."""

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.config import ConfigError, PromptLearningConfig, ResolvedJob, derive_pools, resolve_job


def job_of(mipro: dict[str, Any], **top: Any) -> ResolvedJob:
    data = {"algorithm": "mipro", "task_app_url": "http://localhost:1", "mipro": mipro, **top}
    return resolve_job(PromptLearningConfig.from_mapping(data, env={}))


def by_name(job: ResolvedJob) -> dict[str, set[int]]:
    names = ("bootstrap", "online", "validation", "test", "reference")
    return {name: set(getattr(job.pools, name) or ()) for name in names}


@given(
    size=st.integers(4, 4000),
    budget=st.none() | st.integers(1, 5000),
    seed=st.integers(0, 50),
    preset=st.sampled_from([None, "light", "medium", "heavy"]),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_derived_pools_are_disjoint_held_out_and_inside_the_data(size, budget, seed, preset):
    caps = {} if budget is None else {"max_rollouts": budget}
    mipro = {"random_seed": seed} | ({} if preset is None else {"auto": preset})
    job = derive_pools(job_of(mipro, termination_config=caps), size)

    pools = by_name(job)
    assert job.pools.complete
    assert all(0 <= number < size for pool in pools.values() for number in pool)
    if preset is not None:
        assert pools.pop("online") == pools["validation"]
    for left, right in combinations(pools.values(), 2):
        assert not left & right
    assert pools["test"]
    assert pools["validation"]
    assert job.mipro is not None
    assert 1 <= job.mipro.batch_size <= max(len(by_name(job)["online"]), 1)


@given(size=st.integers(60, 500), online=st.sets(st.integers(0, 59), min_size=1, max_size=40))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_given_pools_stay_and_derived_ones_avoid_them(size, online):
    job = derive_pools(job_of({"online_pool": sorted(online)}), size)

    pools = by_name(job)
    assert pools["online"] == online
    assert pools["validation"] == online, "without validation seeds the online pool is evaluated"
    for name in ("bootstrap", "test", "reference"):
        assert not pools[name] & online


def test_the_same_seed_derives_the_same_pools_and_another_does_not():
    first, again = (derive_pools(job_of({}), 1000).pools for _ in range(2))
    other = derive_pools(job_of({"random_seed": 1}), 1000).pools

    assert first == again
    assert first != other


def test_rows_are_drawn_from_all_over_the_data():
    pools = derive_pools(job_of({}), 10_000).pools

    assert pools.test is not None
    assert max(pools.test) > 5_000


def test_data_of_any_size_needs_no_list_of_its_rows():
    assert derive_pools(job_of({}), 2**31 - 1).pools.complete


@pytest.mark.parametrize("size", [0, 1, 2])
def test_too_few_rows_are_refused(size):
    with pytest.raises(ConfigError, match="too few"):
        derive_pools(job_of({}), size)


def test_a_full_data_set_leaves_no_test_pool_and_says_so():
    given = {
        "bootstrap_train_seeds": {"start": 0, "end": 5},
        "online_pool": {"start": 5, "end": 10},
        "test_pool": [10, 11],
    }

    job = derive_pools(job_of(given), 12)

    assert job.pools.reference == ()
    assert any("`reference` pool: no rows" in warning for warning in job.warnings)


def test_seeds_beyond_the_data_are_a_warning():
    job = derive_pools(job_of({"online_pool": [1, 2, 500]}), 100)

    assert any("1 seeds are beyond the 100 rows" in warning for warning in job.warnings)


def test_a_seed_given_twice_counts_once():
    job = job_of({"online_pool": [3, 3, 4], "bootstrap_train_seeds": [1]})

    assert job.pools.online == (3, 4)
    assert any("twice" in warning for warning in job.warnings)


def test_a_preset_samples_a_large_validation_pool_and_scores_a_small_one_whole():
    large = derive_pools(job_of({"auto": "light", "val_seeds": {"start": 0, "end": 900}}), 2000)
    small = derive_pools(job_of({"auto": "light", "val_seeds": {"start": 0, "end": 40}}), 2000)

    assert large.mipro is not None
    assert large.pools.validation is not None
    assert (len(large.pools.validation), large.mipro.batch_size) == (100, 35)
    assert large.pools.online == large.pools.validation
    assert small.mipro is not None
    assert small.mipro.batch_size == 40


def gepa(**evaluation: Any) -> ResolvedJob:
    data = {
        "algorithm": "gepa",
        "task_app_url": "http://localhost:1",
        "gepa": {"evaluation": evaluation},
    }
    return resolve_job(PromptLearningConfig.from_mapping(data, env={}))


@pytest.mark.parametrize(("count", "pareto"), [(13, 10), (50, 25), (67, 33), (500, 64)])
def test_the_pareto_set_fits_the_training_seeds_in_either_form(count, pareto):
    for seeds in (list(range(count)), {"start": 0, "end": count}):
        job = gepa(seeds=seeds)
        assert job.gepa is not None
        assert job.gepa.pareto_set_size == pareto


def test_gepa_pools_are_derived_too():
    job = derive_pools(gepa(), 1000)

    pools = by_name(job)
    assert pools["bootstrap"] == set()
    assert len(pools["online"]) >= 67
    assert not pools["test"] & (pools["online"] | pools["validation"])
    with pytest.raises(ConfigError, match="Pareto"):
        derive_pools(gepa(), 12)


def test_a_reserve_of_the_adaptive_pool_may_not_hold_test_seeds():
    pools = {"online_pool": [1, 2, 3], "test_pool": [7, 8], "bootstrap_train_seeds": [5]}

    with pytest.raises(ConfigError, match="heatup_reserve_pool"):
        job_of({**pools, "adaptive_pool": {"heatup_reserve_pool": [3, 8]}})
    assert job_of({**pools, "adaptive_pool": {"heatup_reserve_pool": [3, 9]}}).adaptive_pool

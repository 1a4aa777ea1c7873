"""Finding the reward in a reply of any generation."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.task_app.model import RewardInvalid, RewardRange
from burnish.task_app.rewards import extract_reward

PLACES = [
    ("reward_info", "outcome_objectives", "reward"),
    ("reward_info", "outcome_reward"),
    ("metrics", "outcome_objectives", "reward"),
    ("metrics", "outcome_reward"),
    ("metrics", "outcome_score"),
    ("metrics", "mean_return"),
    ("metrics", "reward_mean"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "reward_info",
                    "outcome_objectives",
                    "reward",
                    "metrics",
                    "outcome_reward",
                    "episode_returns",
                    "trajectories",
                    "steps",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def put(body: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


@given(st.lists(st.none() | st.floats(0, 1), min_size=len(PLACES), max_size=len(PLACES)))
def test_the_first_place_that_holds_a_number_wins(values):
    body = {"metrics": {"episode_returns": [0.123]}}
    for path, value in zip(PLACES, values, strict=True):
        put(body, path, value)
    wanted = next((value for value in values if value is not None), 0.123)
    assert extract_reward(body) == wanted


@given(st.dictionaries(st.sampled_from(["reward_info", "metrics", "trajectories"]), JSON))
def test_any_body_gives_a_finite_number_nothing_or_an_error(body):
    try:
        reward = extract_reward(body)
    except RewardInvalid:
        return
    assert reward is None or math.isfinite(reward)


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("value", ["0.5", [0.5], {}, math.nan, math.inf, 10**400])
def test_a_reward_that_is_no_number_is_an_error_and_not_0(path, value):
    body: dict[str, Any] = {}
    put(body, path, value)
    put(body, ("metrics", "episode_returns"), [0.0])
    with pytest.raises(RewardInvalid, match=r"no finite number|finite"):
        extract_reward(body)


@pytest.mark.parametrize(
    ("body", "reward"),
    [
        ({"metrics": {"episode_returns": [1, 0, 0.5]}}, 0.5),
        ({"metrics": {"episode_rewards": [1, 0]}}, 0.5),
        ({"metrics": {"episode_returns": []}}, None),
        ({"trajectories": [{"steps": [{"reward": 0.25}, {}]}, {"steps": [{"reward": 0.5}]}]}, 0.75),
        ({"trajectories": [{"steps": []}]}, None),
        ({"metrics": {"mean_return": True}}, 1.0),
        ({"metrics": {"details": {"correct": True}}}, None),
        ({"reward_info": {"details": {"correct": 1}}}, None),
        ({}, None),
    ],
)
def test_older_forms_are_read_and_details_never(body, reward):
    assert extract_reward(body) == reward


def test_a_sum_that_overflows_is_an_error():
    with pytest.raises(RewardInvalid):
        extract_reward({"metrics": {"episode_returns": [1e308, 1e308]}})


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    part=st.floats(0, 1),
)
def test_a_reward_inside_the_range_lands_in_the_unit_interval_in_order(low, width, part):
    given_range = RewardRange(low=low, high=low + width)
    inside = min(low + part * width, given_range.high)
    assert 0.0 <= given_range.to_unit(inside) <= 1.0
    assert given_range.to_unit(given_range.low) == 0.0
    assert given_range.to_unit(given_range.high) == 1.0


@pytest.mark.parametrize("reward", [-0.001, 1.001, math.nan, math.inf, -math.inf])
def test_a_reward_outside_the_range_is_an_error_that_names_it(reward):
    with pytest.raises(RewardInvalid) as caught:
        RewardRange().to_unit(reward)
    assert caught.value.metadata["reward"] == repr(reward)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(RewardInvalid, match="range"):
        RewardRange(low=low, high=high)

"""Finds the app's own reward in a rollout reply of any generation.

The places are tried in one order. A place that is absent or null is passed over; one that holds
something that is no finite number is an error, because a reward that cannot be read is not 0.
`details.correct` is never a reward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.task_app.jsonwire import section
from burnish.task_app.model import RewardInvalid

_PLACES = (
    ("reward_info", "outcome_objectives", "reward"),
    ("reward_info", "outcome_reward"),
    ("metrics", "outcome_objectives", "reward"),
    ("metrics", "outcome_reward"),
    ("metrics", "outcome_score"),
    ("metrics", "mean_return"),
    ("metrics", "reward_mean"),
)


def extract_reward(body: Mapping[str, Any]) -> float | None:
    """Returns the reward, in the app's own range, or None when the reply holds none.

    Raises:
        RewardInvalid: The first place that holds anything holds no finite number.
    """
    for path in _PLACES:
        value = section(body, *path[:-1]).get(path[-1])
        if value is not None:
            return _finite(value, place=".".join(path))
    for name in ("episode_returns", "episode_rewards"):
        values = section(body, "metrics").get(name)
        if isinstance(values, Sequence) and not isinstance(values, str) and values:
            numbers = [_finite(value, place=f"metrics.{name}") for value in values]
            return _finite(_sum(numbers) / len(numbers), place=f"metrics.{name}")
    return _trajectory_reward(body)


def _trajectory_reward(body: Mapping[str, Any]) -> float | None:
    trajectories = body.get("trajectories")
    if not isinstance(trajectories, list):
        return None
    steps = [
        step
        for trajectory in trajectories
        if isinstance(trajectory, Mapping) and isinstance(trajectory.get("steps"), list)
        for step in trajectory["steps"]
        if isinstance(step, Mapping)
    ]
    place = "trajectories[].steps[].reward"
    rewards = [
        _finite(step["reward"], place=place) for step in steps if step.get("reward") is not None
    ]
    return _finite(_sum(rewards), place=place) if rewards else None


def _sum(numbers: Sequence[float]) -> float:
    try:
        return math.fsum(numbers)
    except OverflowError:
        return math.inf


def _finite(value: object, *, place: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if isinstance(value, bool):
        number = 1.0 if value else 0.0
    if not math.isfinite(number):
        raise RewardInvalid(
            f"`{place}` of the rollout reply is no finite number ({type(value).__name__}); "
            "return a number, or nothing when the rollout has no reward",
            metadata={"place": place, "type": type(value).__name__},
        )
    return number

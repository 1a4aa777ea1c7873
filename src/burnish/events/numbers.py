"""The numbers that many events share, read from plain values."""

from __future__ import annotations

from typing import cast

from burnish.plain import Plain


def mean_of(detail: Plain, key: str = "reward") -> float | None:
    """Returns the mean of an estimate; None when there is none."""
    found = detail.get(key)
    return cast(float, found["mean"]) if isinstance(found, dict) else None


def best_of(value: float | None) -> Plain:
    """Returns the best reward under both of its names."""
    return {} if value is None else {"best_score": value, "best_reward": value}


def standing(candidate: Plain, pool: str) -> Plain:
    """Returns how a candidate stands on a pool."""
    mean = mean_of(candidate, pool)
    identity = cast(Plain, candidate.get("candidate", {})).get("candidate_id")
    return {
        "rank": candidate["rank"],
        "candidate_id": identity,
        "accuracy": mean,
        "score": mean,
        "is_baseline": candidate["baseline"],
    }


def instance_scores(detail: Plain) -> Plain:
    """Returns the score of each row and its seed; a row that was not scored has None."""
    scores = cast(list[Plain], detail["scores"])
    return {
        "instance_scores": [one.get("reward") for one in scores],
        "seeds": [one["seed"] for one in scores],
    }


def test_scores(detail: Plain) -> Plain:
    """Returns the score of each held-out row in both shapes that are asked for."""
    scores = cast(list[Plain], detail["scores"])
    return {
        "test_seed_scores": [{"seed": one["seed"], "score": one.get("reward")} for one in scores],
        "test_per_seed": {str(one["seed"]): one.get("reward") for one in scores},
    }


def lift(mean: float | None, baseline: float | None) -> Plain:
    """Returns how much better than the baseline a mean is; percents of a baseline of 0 are None."""
    if mean is None or baseline is None:
        return {"lift_absolute": None, "lift_percent": None}
    gained = mean - baseline
    percent = 100 * gained / baseline if baseline else None
    return {"lift_absolute": gained, "lift_percent": percent}


def row_count(detail: Plain) -> int:
    """Returns how many rows the reward is the mean of."""
    reward = detail.get("reward")
    return int(reward["row_count"]) if isinstance(reward, dict) else 0


def tokens(usage: Plain) -> int:
    """Returns the tokens of a usage, read and written."""
    return sum(cast(int, usage.get(name, 0)) for name in ("input_tokens", "output_tokens"))

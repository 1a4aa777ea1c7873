"""Fuses the parts of a reward: a weighted mean over the parts with a positive weight.

A part that is wanted and missing is a failure, never 0, and never left out silently: leaving it out
would make rewards of one job mean different things.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish.errors import InvalidArgument


class WeightsInvalid(InvalidArgument):
    """Weights that no mean can be taken with. Do not retry."""

    default_reason = "REWARD_WEIGHTS_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of the parts, each at least 0. All 0 stands for the one part that there is."""

    environment: float = 0.0
    event: float = 0.0
    outcome: float = 0.0

    def __post_init__(self) -> None:
        """Refuses negative and infinite weights."""
        parts = {"environment": self.environment, "event": self.event, "outcome": self.outcome}
        wrong = {
            name: weight
            for name, weight in parts.items()
            if not (math.isfinite(weight) and weight >= 0)
        }
        if wrong:
            named = ", ".join(f"`{name}` is {weight!r}" for name, weight in wrong.items())
            raise WeightsInvalid(
                f"reward weights: {named}; give finite numbers from 0",
                metadata={name: repr(weight) for name, weight in wrong.items()},
            )

    def resolved(self, *, has_graph: bool) -> Weights:
        """Returns the weights in force: all 0 means the graph's outcome, or the app's reward."""
        if self.environment or self.event or self.outcome:
            return self
        return Weights(outcome=1.0) if has_graph else Weights(environment=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a rollout has no reward.

    Attributes:
        reason: UPPER_SNAKE_CASE.
        message: For a developer to read.
        retryable: Whether the same rollout may succeed later.
        metadata: Values that `message` mentions.
    """

    reason: str
    message: str
    retryable: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a reward, each in [0, 1]; None when there is none."""

    environment: float | None = None
    event: float | None = None
    outcome: float | None = None


def fuse(parts: Parts, weights: Weights) -> float | Failed:
    """Returns the fused reward, in [0, 1], or why there is none."""
    pairs = [
        ("environment", parts.environment, weights.environment),
        ("event", parts.event, weights.event),
        ("outcome", parts.outcome, weights.outcome),
    ]
    wanted = [(name, value, weight) for name, value, weight in pairs if weight > 0]
    missing = [name for name, value, _ in wanted if value is None]
    if missing or not wanted:
        named = ", ".join(missing) or "every part"
        return Failed(
            reason="REWARD_PART_MISSING",
            message=f"reward part {named} has a weight but no value; provide it, or weigh it 0",
            metadata={"parts": named},
        )
    for name, value, _ in wanted:
        if value is not None and not 0 <= value <= 1:
            return Failed(
                reason="REWARD_INVALID",
                message=f"reward part {name} is {value!r}; it has to be in [0, 1]",
                metadata={"part": name, "value": repr(value)},
            )
    heaviest = max(weight for _, _, weight in wanted)
    total = math.fsum(weight / heaviest for _, _, weight in wanted)
    mean = math.fsum((value or 0.0) * (weight / heaviest) for _, value, weight in wanted) / total
    return min(max(mean, 0.0), 1.0)

"""What a task app and Burnish say to each other, free of any wire format."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from burnish.errors import BurnishError, InvalidArgument

_EDGE = 1e-9


class RewardInvalid(InvalidArgument):
    """A reward that is no finite number inside the app's reward range. Do not retry."""

    default_reason = "REWARD_INVALID"


class RolloutFailed(BurnishError):
    """Raised by a task app when a seed could not be run; the rollout is then unscored, never 0.

    Args:
        message: For a developer to read; no prompt, key or token.
        reason: UPPER_SNAKE_CASE.
        retryable: Whether the same seed may succeed later.
    """

    default_reason = "ROLLOUT_FAILED"

    def __init__(
        self, message: str, *, reason: str = "ROLLOUT_FAILED", retryable: bool = True
    ) -> None:
        super().__init__(message, reason=reason)
        self._retryable = retryable

    @property
    def retryable(self) -> bool:
        """Whether the same seed may succeed later."""
        return self._retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRange:
    """The range of an app's rewards, mapped linearly to [0, 1].

    Attributes:
        low: Lowest reward.
        high: Highest reward, above `low`.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Refuses an empty or infinite range."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise RewardInvalid(
                f"reward range [{self.low}, {self.high}] is empty or not finite; "
                "give two finite numbers, the lower one first"
            )

    def to_unit(self, reward: float) -> float:
        """Maps a reward to [0, 1].

        Raises:
            RewardInvalid: The reward is not finite or outside the range.
        """
        span = self.high - self.low
        unit = (reward - self.low) / span if math.isfinite(reward) else math.nan
        if not -_EDGE <= unit <= 1 + _EDGE:
            raise RewardInvalid(
                f"reward {reward!r} is outside the app's range [{self.low:g}, {self.high:g}]; "
                "give the app a `reward_range` that holds every reward it returns",
                metadata={
                    "reward": repr(reward),
                    "low": repr(self.low),
                    "high": repr(self.high),
                },
            )
        return min(max(unit, 0.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A named part of the app's data: seeds from `start` to `end`, exclusive."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled row.

    Attributes:
        inputs: Values that the program puts into its user message, by name.
        output: Wanted answer, as text.
        answer_messages: OpenAI chat messages that a right answer consists of; empty means one
            assistant message with `output` as its text.
        seed: Index into the app's data; filled in when the app lists its examples.
    """

    inputs: Mapping[str, str]
    output: str
    answer_messages: Sequence[Mapping[str, Any]] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the app tells about its program, for proposers that read it.

    Attributes:
        code: Source; empty when only a description is told.
        module_path: Where the source was taken from.
        description: What the program does, in prose.
    """

    code: str = ""
    module_path: str = ""
    description: str = ""

    @classmethod
    def of(cls, source: Callable[..., Any] | ModuleType, *, description: str = "") -> Program:
        """Reads the source of a function or a module."""
        module = source.__name__ if isinstance(source, ModuleType) else source.__module__
        return cls(code=inspect.getsource(source), module_path=module, description=description)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """What a task app tells about its task.

    Attributes:
        task: Task id.
        description: What the task is, in prose.
        seed_count: Seeds run from 0 to this, exclusive; None when the app does not tell.
        stage_ids: Stages in the order they run; empty when the app does not tell.
        splits: Splits of the data; empty when the app does not tell.
        rubrics: Rubrics as a JSON value; None when there are none.
        reward_range: Range of the app's rewards.
    """

    task: str
    description: str = ""
    seed_count: int | None = None
    stage_ids: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()
    rubrics: object = None
    reward_range: RewardRange = RewardRange()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Model that the app should ask for.

    Attributes:
        model: Provider's model id.
        provider: Provider name.
        temperature: Sampling temperature; None leaves it to the app.
        max_output_tokens: Most tokens to write; None leaves it to the app.
    """

    model: str = ""
    provider: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequest:
    """One seed to be run.

    Attributes:
        rollout_id: Idempotency key, with `attempt`.
        seed: Index into the app's data.
        inference_url: Base URL for the app's model calls.
        attempt: Attempt, from 1.
        model: Model that the app should ask for.
        env_name: Environment or data set, when the job names one.
        env_config: Free-form settings of the job.
        max_seconds: Most time for the rollout; None means no limit of the app's own.
    """

    rollout_id: str
    seed: int
    inference_url: str
    attempt: int = 1
    model: ModelChoice = ModelChoice()
    env_name: str = ""
    env_config: Mapping[str, Any] = field(default_factory=dict)
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFailure:
    """Why a rollout has no result.

    Attributes:
        reason: UPPER_SNAKE_CASE reason, stable across releases.
        message: For a developer to read.
        retryable: Whether the same rollout may succeed later.
        metadata: Values that `message` mentions.
    """

    reason: str
    message: str
    retryable: bool
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a task app's function returns for one seed.

    Attributes:
        reward: The app's own reward, in its reward range; None when it has none.
        output: JSON value for verifiers; None when there is none.
        reference: What was wanted, as a JSON value; None when the app does not tell.
        details: Further JSON values by name, for people.
    """

    reward: float | None = None
    output: object = None
    reference: object = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses values that could not travel as JSON."""
        try:
            json.dumps([self.output, self.reference, dict(self.details)], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise RolloutFailed(
                f"the result holds a value that is no JSON ({error}); return plain values",
                reason="RESULT_NOT_JSON",
                retryable=False,
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReply:
    """What comes back from a task app for one seed: a result, or why there is none.

    Attributes:
        rollout_id: Echo of the request; empty when the app gave none.
        seed: Echo of the request; None when the app gave none.
        result: The result; None when `failure` is set.
        failure: Why there is none.
    """

    rollout_id: str
    seed: int | None
    result: Result | None = None
    failure: RolloutFailure | None = None

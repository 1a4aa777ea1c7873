"""What the controller asks of a task app, and gets from it, whatever the app speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from burnish.errors import FailedPrecondition
from burnish.task_app.model import (
    Example,
    ModelChoice,
    Program,
    RewardRange,
    RolloutFailure,
    RolloutRequest,
    TaskInfo,
)

KEY_REFUSED = "TASK_APP_UNAUTHORIZED"

AppInfo = TaskInfo
AppExample = Example
AppProgram = Program
AppFailure = RolloutFailure
RunRequest = RolloutRequest

__all__ = [
    "KEY_REFUSED",
    "AppExample",
    "AppFailure",
    "AppInfo",
    "AppOptions",
    "AppProgram",
    "AppResult",
    "ModelChoice",
    "RunRequest",
    "TaskAppClient",
    "TaskAppUnhealthy",
]


class TaskAppUnhealthy(FailedPrecondition):
    """A task app that does not answer, or does not answer as the contract says."""

    default_reason = "TASK_APP_UNHEALTHY"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    """How a client treats its app.

    Attributes:
        reward_range: Range of the app's rewards; None takes the one that the app tells.
        info_seconds: Most seconds for a question about the task.
        rollout_seconds: Most seconds for a rollout whose request sets no limit.
        max_reply_bytes: Longest reply that is read.
    """

    reward_range: RewardRange | None = None
    info_seconds: float = 30.0
    rollout_seconds: float = 120.0
    max_reply_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AppResult:
    """What one rollout came to.

    Attributes:
        environment_reward: The app's own reward, mapped to [0, 1]; None when it gives none.
        output: Output for verifiers, as JSON (UTF-8); empty when the app gives none.
        reference: What was wanted, as JSON (UTF-8); empty when the app does not tell.
        failure: Why there is no result; None when there is one.
    """

    environment_reward: float | None = None
    output: bytes = b""
    reference: bytes = b""
    failure: AppFailure | None = None


class TaskAppClient(Protocol):
    """One task app.

    A failed rollout is a value (`AppResult.failure`), never a reward of 0; other methods raise.
    """

    async def check(self) -> AppInfo:
        """Asks whether the app is well, and what its task is.

        Raises:
            TaskAppUnhealthy: It does not answer, refuses the key, or answers nonsense.
        """

    async def run(self, request: RunRequest) -> AppResult:
        """Runs one seed. Idempotent by `rollout_id` and `attempt`."""

    async def examples(self, seeds: Sequence[int]) -> list[AppExample] | None:
        """Returns the labelled rows of seeds, in their order, or None when the app shows none.

        Raises:
            TaskAppUnhealthy: The app does not answer as the contract says.
        """

    async def program(self) -> AppProgram | None:
        """Returns what the app tells of its program, or None when it tells nothing.

        Raises:
            TaskAppUnhealthy: The app does not answer as the contract says.
        """

    async def close(self) -> None:
        """Closes the connections."""

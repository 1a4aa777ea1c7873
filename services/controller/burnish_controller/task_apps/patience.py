"""Asks an app again while it is away: one that is killed and started again costs no job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from burnish_controller.task_apps.base import TaskAppUnhealthy
from burnish_runtime.retries import RetryPolicy, retried

UNREACHABLE_SECONDS = 90.0
_PATIENCE = RetryPolicy(
    attempts=None, seconds=UNREACHABLE_SECONDS, first_wait=0.25, longest_wait=3.0
)

_Answer = TypeVar("_Answer")


async def ask(question: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Asks an app something that changes nothing there.

    Raises:
        TaskAppUnhealthy: It refuses the key, or gave no right answer for a minute and a half.
    """
    return await retried(question, _PATIENCE, on=_may_pass)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, TaskAppUnhealthy) and error.reason == TaskAppUnhealthy.default_reason

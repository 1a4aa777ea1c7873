"""Asks an app again while it is away: one that is killed and started again costs no job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from burnish_controller.task_apps.base import TaskAppUnhealthy

UNREACHABLE_SECONDS = 90.0

_Answer = TypeVar("_Answer")


async def ask(question: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Asks an app something that changes nothing there.

    Raises:
        TaskAppUnhealthy: It refuses the key, or gave no right answer for a minute and a half.
    """
    async for attempt in stamina.retry_context(
        on=_may_pass, attempts=None, timeout=UNREACHABLE_SECONDS, wait_initial=0.25, wait_max=3.0
    ):
        with attempt:
            return await question()
    raise AssertionError("stamina either returns or raises")


def _may_pass(error: Exception) -> bool:
    return isinstance(error, TaskAppUnhealthy) and error.reason == TaskAppUnhealthy.default_reason

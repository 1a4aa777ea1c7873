"""A call that is made again while it fails in a way that may pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is tried, and the wait between two tries.

    Attributes:
        attempts: Tries in all, at least 1; None for as many as there is time for.
        seconds: Longest time from the first failure to the last; None for no limit.
        first_wait: Seconds before the second try, doubled each time. What the failure itself asks
            for wins.
        longest_wait: Most seconds between two tries.
        jitter: Most seconds added at random.
    """

    attempts: int | None = 5
    seconds: float | None = None
    first_wait: float = 0.5
    longest_wait: float = 30.0
    jitter: float = 1.0


async def retried(
    call: Callable[[], Awaitable[_Result]],
    policy: RetryPolicy,
    *,
    on: Callable[[Exception], bool | float],
) -> _Result:
    """Makes a call, and again while it fails, and returns its first result.

    Args:
        call: Makes one try.
        policy: How often, and the waits between.
        on: Whether to try again after a failure, or in how many seconds.

    Raises:
        Exception: The failure of the last try.
    """
    try:
        return await call()
    except Exception as error:
        first = error
    # A first try that succeeds, as most do, is spared what a retry costs.
    async for attempt in stamina.retry_context(
        on=on,
        attempts=policy.attempts,
        timeout=policy.seconds,
        wait_initial=policy.first_wait,
        wait_max=policy.longest_wait,
        wait_jitter=policy.jitter,
    ):
        with attempt:
            if attempt.num == 1:
                raise first
            return await call()
    raise AssertionError("stamina either returns or raises")

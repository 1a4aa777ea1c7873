"""Speaks `TaskAppService` to a task app."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from burnish.errors import (
    BurnishError,
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from burnish.task_app.grpc_caller import GrpcCaller
from burnish.task_app.jsonwire import BodyInvalid
from burnish.task_app.model import RewardRange, RolloutFailed
from burnish_controller.task_apps.address import AppAddress
from burnish_controller.task_apps.base import (
    KEY_REFUSED,
    AppExample,
    AppFailure,
    AppInfo,
    AppOptions,
    AppProgram,
    AppResult,
    RunRequest,
    TaskAppUnhealthy,
)
from burnish_controller.task_apps.rewards import judged

_GRACE_SECONDS = 1.0


class GrpcTaskApp:
    """A `TaskAppClient` over gRPC."""

    def __init__(self, address: AppAddress, *, api_key: str | None, options: AppOptions) -> None:
        self._base = str(address)
        self._options = options
        self._range = options.reward_range
        self._asking = asyncio.Lock()
        # Named as DNS, or a host such as `unix` would be taken for another way to connect.
        target = f"dns:///{address.authority}"
        self._caller = GrpcCaller(target, api_key=api_key, seconds=options.info_seconds)

    async def check(self) -> AppInfo:
        """Asks whether the app is well, and what its task is."""
        try:
            info = await self._caller.info()
        except BurnishError as error:
            raise self._unhealthy(error) from None
        if self._range is None:
            self._range = info.reward_range
        return info

    async def run(self, request: RunRequest) -> AppResult:
        """Runs one seed."""
        seconds = request.max_seconds
        limit = self._options.rollout_seconds if seconds is None else seconds
        try:
            reward_range = await self._reward_range()
            reply = await self._caller.run(request, seconds=limit + _GRACE_SECONDS)
        except BurnishError as error:
            return AppResult(failure=_failure(error))
        return judged(reply, request=request, reward_range=reward_range)

    async def examples(self, seeds: Sequence[int]) -> list[AppExample] | None:
        """Returns the labelled rows of seeds."""
        try:
            return await self._caller.examples(seeds)
        except BurnishError as error:
            raise self._unhealthy(error) from None

    async def program(self) -> AppProgram | None:
        """Returns what the app tells of its program."""
        try:
            return await self._caller.program()
        except BurnishError as error:
            raise self._unhealthy(error) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._caller.close()

    async def _reward_range(self) -> RewardRange:
        if self._range is None:
            async with self._asking:
                if self._range is None:
                    self._range = (await self._caller.info()).reward_range
        return self._range

    def _unhealthy(self, error: BurnishError) -> TaskAppUnhealthy:
        fix = "start the app, or correct its URI"
        reason = None
        if isinstance(error, Unauthenticated | PermissionDenied):
            fix, reason = "give the app's ENVIRONMENT_API_KEY", KEY_REFUSED
        elif not isinstance(error, Unavailable | DeadlineExceeded):
            fix = "see the app's log"
        return TaskAppUnhealthy(
            f"task app {self._base}: it answers {error.code.name} ({error.reason}); {fix}",
            reason=reason,
            metadata={"uri": self._base, "code": error.code.name, "reason": error.reason},
        )


def _failure(error: BurnishError) -> AppFailure:
    reason, retryable = "TASK_APP_ERROR", True
    if isinstance(error, Unavailable):
        reason = "TASK_APP_UNREACHABLE"
    elif isinstance(error, DeadlineExceeded):
        reason = "TASK_APP_TIMEOUT"
    elif isinstance(error, Unauthenticated | PermissionDenied):
        reason, retryable = KEY_REFUSED, False
    elif isinstance(error, BodyInvalid | RolloutFailed):
        reason, retryable = "TASK_APP_BAD_REPLY", False
    elif isinstance(error, InvalidArgument | Unimplemented):
        reason, retryable = "TASK_APP_REFUSED", False
    return AppFailure(
        reason=reason,
        message=f"the app answers {error.code.name} ({error.reason})",
        retryable=retryable,
        metadata={"code": error.code.name, "reason": error.reason},
    )

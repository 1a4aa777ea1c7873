"""Speaks `TaskAppService` to a task app."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from burnish.api.task import v1 as task_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import (
    BurnishError,
    DeadlineExceeded,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from burnish.rpc import connect, translated
from burnish.task_app.jsonwire import BodyInvalid, parse_object, parse_value
from burnish.task_app.model import Result, RewardRange, RolloutFailed, RolloutReply, Split
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

_SEEDS_PER_QUESTION = 1000
_GRACE_SECONDS = 1.0


class GrpcTaskApp:
    """A `TaskAppClient` over gRPC."""

    def __init__(self, address: AppAddress, *, api_key: str | None, options: AppOptions) -> None:
        self._base = str(address)
        self._options = options
        self._range = options.reward_range
        self._asking = asyncio.Lock()
        self._channel = connect(address.authority, token=api_key)
        self._stub = task_v1.TaskAppServiceStub(self._channel)

    async def check(self) -> AppInfo:
        """Asks whether the app is well, and what its task is."""
        try:
            async with translated():
                told = await self._stub.GetTaskInfo(
                    task_v1.GetTaskInfoRequest(), timeout=self._options.info_seconds
                )
            info = _info(told)
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
            async with translated():
                response = await self._stub.RunRollout(
                    _request(request), timeout=limit + _GRACE_SECONDS
                )
            reply = _reply(response)
        except BurnishError as error:
            return AppResult(failure=_failure(error))
        return judged(reply, request=request, reward_range=reward_range)

    async def examples(self, seeds: Sequence[int]) -> list[AppExample] | None:
        """Returns the labelled rows of seeds."""
        found: list[AppExample] = []
        for start in range(0, len(seeds), _SEEDS_PER_QUESTION):
            chunk = seeds[start : start + _SEEDS_PER_QUESTION]
            try:
                async with translated():
                    response = await self._stub.ListExamples(
                        task_v1.ListExamplesRequest(seeds=chunk),
                        timeout=self._options.info_seconds,
                    )
                made = [_example(example) for example in response.examples]
                if [example.seed for example in made] != list(chunk):
                    raise BodyInvalid("`ListExamples` does not give one example per seed, in order")
            except Unimplemented:
                return None
            except BurnishError as error:
                raise self._unhealthy(error) from None
            found += made
        return found

    async def program(self) -> AppProgram | None:
        """Returns what the app tells of its program."""
        try:
            async with translated():
                told = await self._stub.GetProgram(
                    task_v1.GetProgramRequest(), timeout=self._options.info_seconds
                )
        except Unimplemented:
            return None
        except BurnishError as error:
            raise self._unhealthy(error) from None
        if not told.program_code and not told.description:
            return None
        return AppProgram(
            code=told.program_code, module_path=told.module_path, description=told.description
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._channel.close()

    async def _reward_range(self) -> RewardRange:
        if self._range is None:
            async with self._asking:
                if self._range is None:
                    async with translated():
                        told = await self._stub.GetTaskInfo(
                            task_v1.GetTaskInfoRequest(), timeout=self._options.info_seconds
                        )
                    self._range = _info(told).reward_range
        return self._range

    def _unhealthy(self, error: BurnishError) -> TaskAppUnhealthy:
        fix = "start the app, or correct its URI"
        if isinstance(error, Unauthenticated | PermissionDenied):
            fix = "give the app's ENVIRONMENT_API_KEY"
        elif not isinstance(error, Unavailable | DeadlineExceeded):
            fix = "see the app's log"
        return TaskAppUnhealthy(
            f"task app {self._base}: it answers {error.code.name} ({error.reason}); {fix}",
            metadata={"uri": self._base, "code": error.code.name, "reason": error.reason},
        )


def _info(told: task_v1.GetTaskInfoResponse) -> AppInfo:
    unset = told.reward_min == 0 and told.reward_max == 0
    return AppInfo(
        task=told.task,
        description=told.description,
        seed_count=told.seed_count or None,
        stage_ids=tuple(told.stage_ids),
        splits=tuple(Split(name=s.name, start=s.start, end=s.end) for s in told.splits),
        rubrics=parse_value(told.rubrics, what="rubrics") if told.rubrics else None,
        reward_range=(
            RewardRange() if unset else RewardRange(low=told.reward_min, high=told.reward_max)
        ),
    )


def _request(request: RunRequest) -> task_v1.RunRolloutRequest:
    model = types_v1.ModelSpec(
        provider=request.model.provider,
        model=request.model.model,
        temperature=request.model.temperature,
        max_output_tokens=request.model.max_output_tokens or 0,
    )
    return task_v1.RunRolloutRequest(
        rollout_id=request.rollout_id,
        attempt=request.attempt,
        seed=request.seed,
        inference_url=request.inference_url,
        model=model,
        env_config=json.dumps(dict(request.env_config)).encode() if request.env_config else b"",
        env_name=request.env_name,
    )


def _reply(response: task_v1.RunRolloutResponse) -> RolloutReply:
    failure = response.failure
    told = RolloutReply(
        rollout_id=response.rollout_id or "<nothing>",
        seed=response.seed,
        failure=(
            AppFailure(
                reason=failure.reason or "ROLLOUT_FAILED",
                message=failure.message,
                retryable=failure.retryable,
                metadata=dict(failure.metadata),
            )
            if response.HasField("failure")
            else None
        ),
    )
    if told.failure is not None:
        return told
    return RolloutReply(
        rollout_id=told.rollout_id,
        seed=told.seed,
        result=Result(
            reward=response.reward if response.HasField("reward") else None,
            output=parse_value(response.output, what="output") if response.output else None,
            reference=(
                parse_value(response.reference, what="reference") if response.reference else None
            ),
        ),
    )


def _example(example: task_v1.Example) -> AppExample:
    return AppExample(
        seed=example.seed,
        inputs=dict(example.inputs),
        output=example.output,
        answer_messages=[
            parse_object(message, what="answer message") for message in example.answer_messages
        ],
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

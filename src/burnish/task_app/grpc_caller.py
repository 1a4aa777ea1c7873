"""Calls `TaskAppService`, and reads its messages into the model that HTTP is read into."""

from __future__ import annotations

import json
from collections.abc import Sequence

from burnish.api.task import v1 as task_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import Unimplemented
from burnish.rpc import connect, translated
from burnish.task_app.jsonwire import BodyInvalid, parse_object, parse_value
from burnish.task_app.model import (
    Example,
    Program,
    Result,
    RewardRange,
    RolloutFailure,
    RolloutReply,
    RolloutRequest,
    Split,
    TaskInfo,
)

_SEEDS_PER_QUESTION = 1000
_NOT_ECHOED = "<nothing>"


class GrpcCaller:
    """Calls one task app; every method raises a `BurnishError` when it is not answered."""

    def __init__(self, target: str, *, api_key: str | None, seconds: float) -> None:
        """Opens a channel; the connection itself is made by the first call.

        Args:
            target: `host:port`.
            api_key: The app's key; None sends none.
            seconds: Most seconds for a question, and for a rollout without a limit of its own.
        """
        self._seconds = seconds
        self._channel = connect(target, token=api_key)
        self._stub = task_v1.TaskAppServiceStub(self._channel)

    async def info(self) -> TaskInfo:
        """Asks what the task is."""
        async with translated():
            told = await self._stub.GetTaskInfo(task_v1.GetTaskInfoRequest(), timeout=self._seconds)
        unset = told.reward_min == 0 and told.reward_max == 0
        return TaskInfo(
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

    async def examples(self, seeds: Sequence[int]) -> list[Example] | None:
        """Returns labelled rows in the order of the seeds, or None when the app shows none."""
        found: list[Example] = []
        for start in range(0, len(seeds), _SEEDS_PER_QUESTION):
            chunk = seeds[start : start + _SEEDS_PER_QUESTION]
            try:
                async with translated():
                    response = await self._stub.ListExamples(
                        task_v1.ListExamplesRequest(seeds=chunk), timeout=self._seconds
                    )
            except Unimplemented:
                return None
            made = [_example(example) for example in response.examples]
            if [example.seed for example in made] != list(chunk):
                raise BodyInvalid("`ListExamples` does not give one example per seed, in order")
            found += made
        return found

    async def program(self) -> Program | None:
        """Returns what the app tells of its program, or None when it tells nothing."""
        try:
            async with translated():
                told = await self._stub.GetProgram(
                    task_v1.GetProgramRequest(), timeout=self._seconds
                )
        except Unimplemented:
            return None
        if not told.program_code and not told.description:
            return None
        return Program(
            code=told.program_code, module_path=told.module_path, description=told.description
        )

    async def run(self, request: RolloutRequest, *, seconds: float | None = None) -> RolloutReply:
        """Runs one seed.

        Args:
            request: The request.
            seconds: Most seconds; None takes those of the caller.
        """
        async with translated():
            response = await self._stub.RunRollout(
                _request(request), timeout=self._seconds if seconds is None else seconds
            )
        return _reply(response)

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()


def _request(request: RolloutRequest) -> task_v1.RunRolloutRequest:
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
    rollout_id = response.rollout_id or _NOT_ECHOED
    if response.HasField("failure"):
        told = response.failure
        failure = RolloutFailure(
            reason=told.reason or "ROLLOUT_FAILED",
            message=told.message,
            retryable=told.retryable,
            metadata=dict(told.metadata),
        )
        return RolloutReply(rollout_id=rollout_id, seed=response.seed, failure=failure)
    output, reference = response.output, response.reference
    result = Result(
        reward=response.reward if response.HasField("reward") else None,
        output=parse_value(output, what="output") if output else None,
        reference=parse_value(reference, what="reference") if reference else None,
    )
    return RolloutReply(rollout_id=rollout_id, seed=response.seed, result=result)


def _example(example: task_v1.Example) -> Example:
    return Example(
        seed=example.seed,
        inputs=dict(example.inputs),
        output=example.output,
        answer_messages=[
            parse_object(message, what="answer message") for message in example.answer_messages
        ],
    )

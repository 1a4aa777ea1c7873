"""`TaskAppService` through a real channel: our server against our client."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc import aio

from burnish.api.task import v1 as task_v1
from burnish.task_app import (
    AppKeys,
    Example,
    Program,
    Result,
    RewardRange,
    RolloutFailed,
    Split,
    TaskApp,
)
from burnish.task_app.grpc import start_grpc
from burnish.task_app.probe import ProbeModel
from burnish_controller.task_apps import (
    AppFailure,
    AppResult,
    ModelChoice,
    RunRequest,
    TaskAppClient,
    TaskAppUnhealthy,
    connect,
)

ROWS = [{"text": f"row {n}", "label": "yes" if n % 2 else "no"} for n in range(1200)]


def intents(**fields: Any) -> TaskApp:
    app = TaskApp(id="intents", description="Says yes or no.", rows=ROWS, **fields)

    @app.rollout
    async def run(task):
        reply = await task.chat([{"role": "user", "content": task.row["text"]}])
        return Result(
            reward=float(reply.text == task.row["label"]),
            output={"answer": reply.text, "config": dict(task.env_config)},
            reference=task.row["label"],
        )

    return app


@pytest.fixture
async def model():
    probe = ProbeModel(text="yes")
    await probe.start()
    yield probe
    await probe.stop()


@asynccontextmanager
async def served(
    app: TaskApp, *, key: str | None = None
) -> AsyncIterator[tuple[TaskAppClient, str]]:
    server = await start_grpc(app, keys=AppKeys(keys=() if key is None else (key,)))
    client = connect(server.url, api_key=key)
    try:
        yield client, server.url
    finally:
        await client.close()
        await server.stop()


@asynccontextmanager
async def answering(response: task_v1.RunRolloutResponse) -> AsyncIterator[TaskAppClient]:
    class Foreign(task_v1.TaskAppServiceServicer):
        async def GetTaskInfo(self, request, context):
            return task_v1.GetTaskInfoResponse(task="foreign", seed_count=3)

        async def GetProgram(self, request, context):
            return task_v1.GetProgramResponse()

        async def ListExamples(self, request, context):
            return task_v1.ListExamplesResponse()

        async def RunRollout(self, request, context):
            return response

    server = aio.server()
    task_v1.add_TaskAppServiceServicer_to_server(Foreign(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = connect(f"grpc://127.0.0.1:{port}")
    try:
        yield client
    finally:
        await client.close()
        await server.stop(None)


def request(model_url: str = "http://127.0.0.1:9", **fields: Any) -> RunRequest:
    given = {"rollout_id": "roll_1", "seed": 1, **fields}
    return RunRequest(
        inference_url=f"{model_url}/r/token/v1",
        model=ModelChoice(model="m-1", temperature=0.0, max_output_tokens=8),
        **given,
    )


def failure(result: AppResult) -> AppFailure:
    assert result.failure is not None
    return result.failure


async def test_a_rollout_means_the_same_as_over_http(model):
    async with served(intents()) as (client, _):
        result = await client.run(request(model.base_url, env_config={"k": [1]}))
    assert (result.failure, result.environment_reward) == (None, 1.0)
    assert json.loads(result.output) == {"answer": "yes", "config": {"k": [1]}}
    assert json.loads(result.reference) == "yes"
    assert model.bodies[0]["temperature"] == 0.0


async def test_the_task_is_described():
    splits = (Split(name="train", start=0, end=1000),)
    ranged = RewardRange(low=-1, high=3)
    app = intents(
        splits=splits,
        stage_ids=("one",),
        reward_range=ranged,
        rubrics={"version": "1"},
        program=Program(description="asks once"),
    )
    async with served(app) as (client, _):
        info, program = await client.check(), await client.program()
    assert (info.task, info.seed_count, info.splits) == ("intents", 1200, splits)
    assert (info.stage_ids, info.reward_range) == (("one",), ranged)
    assert info.rubrics == {"version": "1"}
    assert program == Program(description="asks once")


async def test_examples_come_in_order_and_beyond_one_question():
    answer: list[dict[str, Any]] = [{"role": "assistant", "content": None, "tool_calls": []}]

    def example(row):
        return Example(inputs={"text": row["text"]}, output=row["label"], answer_messages=answer)

    async with served(intents(example=example)) as (client, _):
        examples = await client.examples(range(1199, -1, -1))
    assert examples is not None
    assert [made.seed for made in examples] == list(range(1199, -1, -1))
    assert examples[0].answer_messages == answer


async def test_what_the_app_does_not_offer_is_none():
    async with served(intents()) as (client, _):
        assert await client.examples([1]) is None
        assert await client.program() is None


async def test_a_failing_model_leaves_the_rollout_unscored(model):
    model.status = 500
    async with served(intents()) as (client, _):
        result = await client.run(request(model.base_url))
    assert (failure(result).reason, failure(result).retryable) == ("INFERENCE_FAILED", True)


async def test_the_apps_own_failure_keeps_reason_and_retryability():
    app = TaskApp(id="picky", seed_count=2)

    @app.rollout
    async def run(task):
        raise RolloutFailed("broken row", reason="ROW_BROKEN", retryable=False)

    async with served(app) as (client, _):
        result = await client.run(request())
    told = failure(result)
    assert (told.reason, told.message, told.retryable) == ("ROW_BROKEN", "broken row", False)


async def test_an_unknown_seed_is_refused():
    async with served(intents()) as (client, _):
        result = await client.run(request(seed=1200))
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_REFUSED", False)
    assert "SEED_UNKNOWN" in failure(result).message


async def test_a_key_is_asked_for():
    async with served(intents(), key="right-key") as (client, url):
        assert (await client.check()).task == "intents"
        stranger = connect(url, api_key="wrong-key")
        with pytest.raises(TaskAppUnhealthy, match="ENVIRONMENT_API_KEY"):
            await stranger.check()
        refused = await stranger.run(request())
        await stranger.close()
    assert failure(refused).reason == "TASK_APP_UNAUTHORIZED"
    assert "key" not in failure(refused).message


async def test_an_app_that_is_not_there_is_named_and_may_be_retried():
    client = connect("grpc://127.0.0.1:9")
    with pytest.raises(TaskAppUnhealthy, match=r"grpc://127\.0\.0\.1:9.*start the app"):
        await client.check()
    result = await client.run(request())
    await client.close()
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_UNREACHABLE", True)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (task_v1.RunRolloutResponse(rollout_id="other", seed=1, reward=1), "RESULT_MISMATCH"),
        (task_v1.RunRolloutResponse(rollout_id="roll_1", seed=2, reward=1), "RESULT_MISMATCH"),
        (task_v1.RunRolloutResponse(reward=1), "RESULT_MISMATCH"),
        (task_v1.RunRolloutResponse(rollout_id="roll_1", seed=1, reward=1.5), "REWARD_INVALID"),
        (
            task_v1.RunRolloutResponse(rollout_id="roll_1", seed=1, reward=float("nan")),
            "REWARD_INVALID",
        ),
        (
            task_v1.RunRolloutResponse(rollout_id="roll_1", seed=1, output=b"{no"),
            "TASK_APP_BAD_REPLY",
        ),
    ],
)
async def test_a_reply_that_cannot_be_trusted_is_a_failure(response, reason):
    async with answering(response) as client:
        result = await client.run(request())
    assert result.environment_reward is None
    assert (failure(result).reason, failure(result).retryable) == (reason, False)


async def test_a_reply_without_a_reward_has_none():
    async with answering(task_v1.RunRolloutResponse(rollout_id="roll_1", seed=1)) as client:
        result = await client.run(request())
    assert (result.failure, result.environment_reward) == (None, None)

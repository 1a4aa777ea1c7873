"""The HTTP contract over real sockets: our server against our client, and against awkward apps."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from burnish.task_app import (
    AppKeys,
    Example,
    Program,
    Result,
    RewardRange,
    RolloutFailed,
    Split,
    TaskApp,
    start_http,
)
from burnish.task_app.probe import ProbeModel
from burnish_controller.task_apps import (
    AppFailure,
    AppOptions,
    AppResult,
    ModelChoice,
    RunRequest,
    TaskAppClient,
    TaskAppUnhealthy,
    connect,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]
DEFAULTS = AppOptions()
ROWS = [{"text": f"row {n}", "label": "yes" if n % 2 else "no"} for n in range(250)]


def intents(**fields: Any) -> TaskApp:
    app = TaskApp(id="intents", description="Says yes or no.", rows=ROWS, **fields)

    @app.rollout
    async def run(task):
        reply = await task.chat([{"role": "user", "content": task.row["text"]}])
        return Result(
            reward=float(reply.text == task.row["label"]),
            output={"answer": reply.text},
            reference={"answer": task.row["label"]},
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
    server = await start_http(app, keys=AppKeys(keys=() if key is None else (key,)))
    client = connect(server.url, api_key=key)
    try:
        yield client, server.url
    finally:
        await client.close()
        await server.stop()


@asynccontextmanager
async def foreign(
    routes: Sequence[Route], *, options: AppOptions = DEFAULTS
) -> AsyncIterator[TaskAppClient]:
    application = web.Application()
    for method, path, answer in routes:
        application.router.add_route(method, path, answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = connect(f"http://127.0.0.1:{runner.addresses[0][1]}", options=options)
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


def request(
    model_url: str, *, seed: int = 1, rollout_id: str = "roll_1", **fields: Any
) -> RunRequest:
    return RunRequest(
        rollout_id=rollout_id,
        seed=seed,
        inference_url=f"{model_url}/r/token/v1",
        model=ModelChoice(model="m-1", provider="local", temperature=0.5, max_output_tokens=64),
        **fields,
    )


def failure(result: AppResult) -> AppFailure:
    assert result.failure is not None
    return result.failure


def answering(body: Any, *, status: int = 200, seen: list[web.Request] | None = None) -> Handler:
    async def answer(incoming: web.Request) -> web.StreamResponse:
        if seen is not None:
            seen.append(incoming)
        made = body
        if callable(body):
            made = body(await incoming.json())
        return web.json_response(made, status=status)

    return answer


async def test_a_rollout_comes_back_with_reward_output_and_reference(model):
    async with served(intents()) as (client, _):
        right, wrong = await asyncio.gather(
            client.run(request(model.base_url, seed=1, rollout_id="a")),
            client.run(request(model.base_url, seed=2, rollout_id="b")),
        )
    assert right.failure is None
    assert (right.environment_reward, wrong.environment_reward) == (1.0, 0.0)
    assert json.loads(wrong.output) == {"answer": "yes"}
    assert json.loads(wrong.reference) == {"answer": "no"}


async def test_the_app_asks_for_the_model_the_job_names(model):
    async with served(intents()) as (client, _):
        await client.run(request(model.base_url))
    assert model.calls == ["/r/token/v1/chat/completions"]
    asked = model.bodies[0]
    assert (asked["model"], asked["temperature"], asked["max_completion_tokens"]) == (
        "m-1",
        0.5,
        64,
    )


async def test_the_official_client_talks_to_the_inference_url(model):
    app = TaskApp(id="official", rows=ROWS)

    @app.rollout
    async def run(task):
        reply = await task.openai().chat.completions.create(
            model=task.model, messages=[{"role": "user", "content": task.row["text"]}]
        )
        return Result(reward=float(reply.choices[0].message.content == task.row["label"]))

    async with served(app) as (client, _):
        first = await client.run(request(model.base_url, seed=1))
        second = await client.run(request(model.base_url, seed=2, rollout_id="roll_2"))
    assert (first.environment_reward, second.environment_reward) == (1.0, 0.0)
    assert model.calls == ["/r/token/v1/chat/completions"] * 2


async def test_a_failing_model_leaves_the_rollout_unscored_and_retryable(model):
    model.status = 503
    async with served(intents()) as (client, _):
        result = await client.run(request(model.base_url))
    assert result.environment_reward is None
    assert (failure(result).reason, failure(result).retryable) == ("INFERENCE_FAILED", True)
    assert [headers.get("x-stainless-retry-count") for headers in model.headers] == [
        None,
        "1",
        "2",
    ]


async def test_a_refused_model_call_is_not_tried_again(model):
    model.status = 402
    async with served(intents()) as (client, _):
        result = await client.run(request(model.base_url))
    assert (failure(result).reason, failure(result).retryable) == ("INFERENCE_FAILED", False)
    assert len(model.calls) == 1


async def test_an_official_client_that_is_refused_leaves_the_rollout_unscored(model):
    model.status = 402
    app = TaskApp(id="official", rows=ROWS)

    @app.rollout
    async def run(task):
        await task.openai().chat.completions.create(model="m", messages=[])

    async with served(app) as (client, _):
        result = await client.run(request(model.base_url))
    assert (failure(result).reason, failure(result).retryable) == ("INFERENCE_FAILED", False)


async def test_a_bug_in_the_app_is_a_failure_without_the_text_of_the_error(model):
    app = TaskApp(id="buggy", rows=ROWS)

    @app.rollout
    async def run(task):
        raise KeyError("what the user wrote")

    async with served(app) as (client, _):
        result = await client.run(request(model.base_url))
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_RUNTIME_ERROR", False)
    assert "KeyError" in failure(result).message
    assert "what the user wrote" not in failure(result).message


async def test_the_apps_own_failure_keeps_its_reason(model):
    app = TaskApp(id="picky", rows=ROWS)

    @app.rollout
    async def run(task):
        raise RolloutFailed("the sandbox is away", reason="SANDBOX_AWAY", retryable=True)

    async with served(app) as (client, _):
        result = await client.run(request(model.base_url))
    assert (failure(result).reason, failure(result).retryable) == ("SANDBOX_AWAY", True)
    assert "the sandbox is away" in failure(result).message


async def test_a_slow_rollout_runs_out_of_time(model):
    model.latency_seconds = 30
    async with served(intents()) as (client, _):
        result = await client.run(request(model.base_url, max_seconds=0.2))
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_TIMEOUT", True)


async def test_a_plain_function_may_be_the_rollout(model):
    app = TaskApp(id="plain", seed_count=3)

    @app.rollout
    def run(task):
        return Result(reward=task.row / 2)

    async with served(app) as (client, _):
        result = await client.run(request(model.base_url, seed=1))
    assert result.environment_reward == 0.5


async def test_rewards_are_mapped_from_the_range_the_app_tells(model):
    app = TaskApp(id="ranged", seed_count=3, reward_range=RewardRange(low=-10, high=10))

    @app.rollout
    async def run(task):
        return Result(reward=[-10, 5, 99][task.seed])

    async with served(app) as (client, _):
        results = [await client.run(request(model.base_url, seed=seed)) for seed in range(3)]
    assert [result.environment_reward for result in results] == [0.0, 0.75, None]
    assert (failure(results[2]).reason, failure(results[2]).retryable) == ("REWARD_INVALID", False)


async def test_a_seed_without_a_row_is_refused(model):
    async with served(intents()) as (client, _):
        result = await client.run(request(model.base_url, seed=250))
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_REFUSED", False)
    assert "seed_unknown" in failure(result).message


async def test_check_tells_what_the_task_is():
    splits = (Split(name="train", start=0, end=200), Split(name="test", start=200, end=250))
    async with served(intents(splits=splits, stage_ids=("answer",))) as (client, _):
        info = await client.check()
    assert (info.task, info.description, info.seed_count) == ("intents", "Says yes or no.", 250)
    assert (info.stage_ids, info.splits) == (("answer",), splits)


async def test_examples_come_in_the_order_of_the_seeds_across_questions():
    def example(row):
        return Example(inputs={"text": row["text"]}, output=row["label"])

    seeds = [249, *range(0, 240)]
    async with served(intents(example=example)) as (client, _):
        examples = await client.examples(seeds)
    assert examples is not None
    assert [made.seed for made in examples] == seeds
    assert (examples[0].inputs, examples[0].output) == ({"text": "row 249"}, "yes")


async def test_an_app_without_labels_or_program_says_so():
    async with served(intents()) as (client, _):
        assert await client.examples([1, 2]) is None
        assert await client.program() is None


async def test_the_program_is_told():
    async with served(intents(program=Program(code="x = 1", module_path="m"))) as (client, _):
        program = await client.program()
    assert program is not None
    assert (program.code, program.module_path) == ("x = 1", "m")


async def test_a_key_is_asked_for_and_never_echoed(model):
    key = "c0ffee" * 10
    async with served(intents(), key=key) as (client, url):
        assert (await client.check()).task == "intents"
        assert (await client.run(request(model.base_url))).failure is None
        stranger = connect(url, api_key="beef" * 10)
        refused = await stranger.run(request(model.base_url))
        with pytest.raises(TaskAppUnhealthy, match="ENVIRONMENT_API_KEY"):
            await stranger.check()
        await stranger.close()
        async with aiohttp.ClientSession() as session:
            answers = [
                await (await session.get(f"{url}/{path}", headers=headers)).text()
                for path in ("health", "info", "task_info?seed=1")
                for headers in ({"x-api-key": "beef" * 10}, {"authorization": f"Bearer {key}"})
            ]
    assert (failure(refused).reason, failure(refused).retryable) == ("TASK_APP_UNAUTHORIZED", False)
    assert all("c0ffee" not in text and "beef" not in text for text in answers)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "secret-1"},
        {"X-API-Keys": "other, secret-1"},
        {"Authorization": "Bearer secret-1"},
    ],
)
async def test_every_way_to_offer_a_key_is_accepted(headers):
    async with served(intents(), key="secret-1") as (_, url), aiohttp.ClientSession() as session:
        reply = await session.get(f"{url}/info", headers=headers)
        assert reply.status == 200
        assert (await session.get(f"{url}/info")).status == 401


async def test_an_open_app_refuses_a_page_in_a_browser():
    async with served(intents()) as (_, url), aiohttp.ClientSession() as session:
        reply = await session.get(f"{url}/info", headers={"Origin": "http://evil.example"})
        health = await (await session.get(f"{url}/health")).json()
    assert reply.status == 503
    assert health["auth"]["required"] is False
    assert "this machine only" in health["auth"]["note"]


async def test_an_app_without_a_key_is_closed_beyond_this_machine():
    server = await start_http(intents(), host="0.0.0.0", keys=AppKeys())  # noqa: S104
    port = server.url.rpartition(":")[2]
    try:
        async with aiohttp.ClientSession() as session:
            health = await session.get(f"http://127.0.0.1:{port}/health")
            info = await session.get(f"http://127.0.0.1:{port}/info")
            code = (await info.json())["detail"]["error"]["code"]
    finally:
        await server.stop()
    assert (health.status, info.status, code) == (503, 503, "missing_environment_api_key")


async def test_an_app_that_is_not_there_is_named_with_a_fix():
    client = connect("http://127.0.0.1:9")
    with pytest.raises(TaskAppUnhealthy, match=r"http://127\.0\.0\.1:9.*start the app"):
        await client.check()
    result = await client.run(request("http://127.0.0.1:9"))
    await client.close()
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_UNREACHABLE", True)


OLD = {"metrics": {"mean_return": 0.5, "episode_returns": [0.5], "num_steps": 1}}


def echoing(body: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda asked: {"run_id": asked["run_id"], **body}


@pytest.mark.parametrize("form", ["object", "list", "by_seed"])
async def test_every_shape_of_task_info_is_read(form):
    async def task_info(incoming):
        seeds = [*incoming.query.getall("seed", []), *incoming.query.getall("seeds", [])]
        if not seeds:
            return web.json_response({"taskset": {"id": "poly", "size": 40}})
        made = [{"example": {"inputs": {"q": seed}, "output": "x"}} for seed in seeds]
        if form == "by_seed":
            return web.json_response(dict(zip(seeds, made, strict=True)))
        return web.json_response(made[0] if form == "object" and len(made) == 1 else made)

    routes = [
        ("GET", "/health", answering({"status": "ok"})),
        ("GET", "/info", answering({"service": {"task": {"name": "poly"}}})),
        ("GET", "/task_info", task_info),
    ]
    async with foreign(routes) as client:
        info = await client.check()
        examples = await client.examples([3, 9, 4])
    assert (info.task, info.seed_count) == ("poly", 40)
    assert examples is not None
    assert [(made.seed, made.inputs["q"]) for made in examples] == [(3, "3"), (9, "9"), (4, "4")]


async def test_an_app_of_the_first_generation_is_understood():
    routes = [("POST", "/rollout", answering(echoing(OLD)))]
    async with foreign([*routes, ("GET", "/info", answering({}))]) as client:
        result = await client.run(request("http://127.0.0.1:9"))
    assert (result.failure, result.environment_reward) == (None, 0.5)


@pytest.mark.parametrize(
    ("status", "reason", "retryable"),
    [
        (500, "TASK_APP_ERROR", True),
        (503, "TASK_APP_ERROR", True),
        (429, "TASK_APP_ERROR", True),
        (401, "TASK_APP_UNAUTHORIZED", False),
        (422, "TASK_APP_REFUSED", False),
    ],
)
async def test_a_status_that_is_no_result_leaves_the_rollout_unscored(status, reason, retryable):
    routes = [
        ("POST", "/rollout", answering({"detail": "no"}, status=status)),
        ("GET", "/info", answering({})),
    ]
    async with foreign(routes) as client:
        result = await client.run(request("http://127.0.0.1:9"))
    assert result.environment_reward is None
    assert (failure(result).reason, failure(result).retryable) == (reason, retryable)


@pytest.mark.parametrize(
    "echo",
    [
        {"trace_correlation_id": "roll_other"},
        {"trace_correlation_id": "roll_1", "metadata": {"seed": 2}},
        {"trace": {"metadata": {"trace_correlation_id": "roll_other"}}},
    ],
)
async def test_an_answer_for_another_rollout_or_seed_is_a_mismatch(echo):
    routes = [
        ("POST", "/rollout", answering({**OLD, **echo})),
        ("GET", "/info", answering({})),
    ]
    async with foreign(routes) as client:
        result = await client.run(request("http://127.0.0.1:9", seed=1))
    assert (failure(result).reason, failure(result).retryable) == ("RESULT_MISMATCH", False)


async def test_a_reply_that_is_too_long_is_refused():
    routes = [
        ("POST", "/rollout", answering(echoing({**OLD, "output": "x" * 20_000}))),
        ("GET", "/info", answering({})),
    ]
    async with foreign(routes, options=AppOptions(max_reply_bytes=10_000)) as client:
        result = await client.run(request("http://127.0.0.1:9"))
    assert (failure(result).reason, failure(result).retryable) == ("TASK_APP_BAD_REPLY", False)


async def test_a_redirect_is_not_followed():
    async def away(incoming):
        raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest")

    async with foreign([("POST", "/rollout", away), ("GET", "/info", answering({}))]) as client:
        result = await client.run(request("http://127.0.0.1:9"))
    assert failure(result).reason == "TASK_APP_REFUSED"


async def test_the_request_carries_an_idempotency_key_and_no_candidate():
    seen: list[web.Request] = []
    routes = [
        ("POST", "/rollout", answering(echoing(OLD), seen=seen)),
        ("GET", "/info", answering({})),
    ]
    async with foreign(routes) as client:
        await client.run(request("http://127.0.0.1:9", attempt=3))
    body = await seen[0].json()
    assert seen[0].headers["idempotency-key"] == "roll_1:3"
    assert body["trace_correlation_id"] == body["run_id"] == "roll_1"
    assert set(body["policy"]["config"]) == {
        "model",
        "provider",
        "inference_url",
        "trace_correlation_id",
        "temperature",
        "max_completion_tokens",
    }

"""The conformance checks, against apps that keep the contract and apps that break one rule each."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web

from burnish.errors import InvalidArgument
from burnish.task_app import (
    AppKeys,
    Example,
    Program,
    Result,
    Rollout,
    TaskApp,
    start_http,
)
from burnish.task_app.conformance import CheckResult, check_app
from burnish.task_app.grpc import start_grpc

EVERY_CHECK = [
    "health",
    "key",
    "info",
    "seeds",
    "examples",
    "program",
    "rollout",
    "older_request",
    "concurrency",
    "failing_model",
    "done",
]


def example(row: dict[str, str]) -> Example:
    return Example(inputs={"text": row["text"]}, output=row["label"])


def complete() -> TaskApp:
    app = TaskApp(
        id="complete",
        rows=[{"text": f"row {n}", "label": "yes"} for n in range(9)],
        example=example,
        program=Program(code="print(1)"),
    )

    @app.rollout
    async def run(task: Rollout) -> Result:
        reply = await task.chat([{"role": "user", "content": task.row["text"]}])
        return Result(reward=float(reply.text == "yes"))

    return app


def states(results: list[CheckResult]) -> dict[str, str]:
    return {result.name: result.state for result in results}


async def test_an_app_of_the_sdk_passes_every_http_check():
    server = await start_http(complete(), keys=AppKeys(keys=("k-1",)))
    try:
        results = await check_app(server.url, "k-1")
    finally:
        await server.stop()
    assert states(results) == dict.fromkeys(EVERY_CHECK, "passed")


async def test_an_app_of_the_sdk_passes_the_grpc_checks():
    server = await start_grpc(complete(), keys=AppKeys(keys=("k-1",)))
    try:
        results = await check_app(server.url, "k-1")
    finally:
        await server.stop()
    skipped = {"seeds", "older_request", "done"}
    assert states(results) == {
        name: "skipped" if name in skipped else "passed" for name in EVERY_CHECK
    }


async def test_what_an_app_does_not_offer_is_skipped():
    app = TaskApp(id="bare", seed_count=1)

    @app.rollout
    async def run(task: Rollout) -> Result:
        await task.chat([])
        return Result(reward=1.0)

    server = await start_http(app, keys=AppKeys())
    try:
        results = await check_app(server.url)
    finally:
        await server.stop()
    skipped = {name for name, state in states(results).items() if state == "skipped"}
    assert skipped == {"key", "examples", "program"}
    assert all(result.passed for result in results)


async def test_an_app_that_is_not_there_fails_once_with_a_fix():
    results = await check_app("http://127.0.0.1:9", timeout_seconds=5)
    assert states(results)["health"] == "failed"
    assert "start the app" in results[0].fix
    assert {result.state for result in results[1:]} == {"skipped"}


async def test_another_scheme_is_refused():
    with pytest.raises(InvalidArgument, match="http://"):
        await check_app("ftp://127.0.0.1")


@asynccontextmanager
async def foreign(
    rollout: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], **answers: Any
) -> AsyncIterator[str]:
    async def run(request: web.Request) -> web.Response:
        return web.json_response(await rollout(await request.json()))

    def fixed(name: str, default: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(answers.get(name, default))

        return answer

    async def task_info(request: web.Request) -> web.Response:
        seeds = request.query.getall("seed", []) + request.query.getall("seeds", [])
        if not seeds:
            return web.json_response({"taskset": {"size": 5}})
        return web.json_response(answers.get("seed_info", {seed: {} for seed in seeds}))

    application = web.Application()
    application.router.add_get("/health", fixed("health", {"status": "ok"}))
    application.router.add_get("/info", fixed("info", {"service": {"task": "foreign"}}))
    application.router.add_get("/task_info", task_info)
    application.router.add_post("/rollout", run)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def post(asked: dict[str, Any]) -> int:
    url = asked["policy"]["config"]["inference_url"]
    async with (
        ClientSession() as session,
        session.post(f"{url}/chat/completions", json={"messages": []}) as reply,
    ):
        return reply.status


def scored(asked: dict[str, Any], reward: float) -> dict[str, Any]:
    return {"run_id": asked["run_id"], "metrics": {"mean_return": reward}}


async def honest(asked: dict[str, Any]) -> dict[str, Any]:
    if await post(asked) != 200:
        return {"run_id": asked["run_id"], "success_status": "network_error", "metrics": {}}
    return scored(asked, 0.5)


async def silent_zero(asked: dict[str, Any]) -> dict[str, Any]:
    return scored(asked, 0.5 if await post(asked) == 200 else 0.0)


async def no_call(asked: dict[str, Any]) -> dict[str, Any]:
    return scored(asked, 0.5)


async def out_of_range(asked: dict[str, Any]) -> dict[str, Any]:
    await post(asked)
    return scored(asked, 7)


async def other_rollout(asked: dict[str, Any]) -> dict[str, Any]:
    await post(asked)
    return {**scored(asked, 0.5), "trace_correlation_id": "somebody-else"}


async def test_an_honest_app_in_another_language_passes():
    async with foreign(honest) as url:
        results = await check_app(url)
    assert {name for name, state in states(results).items() if state == "failed"} == set()


@pytest.mark.parametrize(
    ("rollout", "check", "fix"),
    [
        (silent_zero, "failing_model", "network_error"),
        (no_call, "rollout", "inference_url"),
        (out_of_range, "rollout", "reward_range"),
        (other_rollout, "rollout", "echo"),
    ],
)
async def test_a_rollout_that_breaks_a_rule_is_caught_with_a_fix(rollout, check, fix):
    async with foreign(rollout) as url:
        results = await check_app(url)
    (found,) = [result for result in results if result.name == check]
    assert found.state == "failed"
    assert fix in found.fix


@pytest.mark.parametrize(
    ("answers", "check", "fix"),
    [
        ({"health": {"healthy": False}}, "health", "healthy"),
        ({"info": {}}, "info", "/info"),
        ({"seed_info": [{}, {}]}, "seeds", "docs/task-apps.md"),
        ({"seed_info": {"example": {"inputs": 1}}}, "seeds", "docs/task-apps.md"),
    ],
)
async def test_a_description_that_breaks_a_rule_is_caught_with_a_fix(answers, check, fix):
    async with foreign(honest, **answers) as url:
        results = await check_app(url)
    (found,) = [result for result in results if result.name == check]
    assert found.state == "failed"
    assert fix in found.fix

"""A rollout that could not be measured is missing, by reason: never a reward of 0, never silent."""

import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1

pytestmark = pytest.mark.asyncio(loop_scope="session")
LABELS = ["refund", "delivery", "password", "invoice"]
SYSTEM = f"Choose the intent of the message. Reply with one of: {', '.join(LABELS)}"


class Misbehaving:
    """An app by hand, in the plain HTTP contract, that goes wrong on some seeds."""

    def __init__(self) -> None:
        self.faults: dict[int, str] = {}
        self.seen: Counter[int] = Counter()
        self.url = ""
        self.session: Any = None

    async def rollout(self, request: web.Request) -> web.Response:
        body = await request.json()
        seed = body["env"]["seed"]
        fault = self.faults.get(seed, "")
        self.seen[seed] += 1
        if fault == "500":
            return web.Response(status=500, text="broken")
        if fault != "no call":
            status = await self._ask(body, seed, fault)
            if status >= 500:
                return web.json_response(self._reply(body, None, "network_error"))
        reply = self._reply(body, {"nan": float("nan"), "high": 1.5}.get(fault, 1.0))
        if fault == "mismatch":
            reply["trace_correlation_id"] = reply["run_id"] = "another-rollout"
        if fault == "no reward":
            del reply["metrics"], reply["reward_info"]
        return web.Response(text=json.dumps(reply), content_type="application/json")

    async def _ask(self, body: Any, seed: int, fault: str) -> int:
        config = body["policy"]["config"]
        system = "Sing a song of sixpence." if fault == "unmatched" else SYSTEM
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": f"Message: where is my {LABELS[seed % 4]} number {seed}?"},
        ]
        if fault == "unmatched":
            messages = [messages[0]]
        call = {"model": config["model"], "messages": messages}
        url = config["inference_url"] + "/chat/completions"
        async with self.session.post(url, json=call) as reply:
            await reply.read()
            return int(reply.status)

    def _reply(self, body: Any, reward: float | None, status: str = "success") -> dict[str, Any]:
        return {
            "run_id": body["run_id"],
            "trace_correlation_id": body["trace_correlation_id"],
            "seed": body["env"]["seed"],
            "metrics": {"mean_return": reward, "episode_returns": [reward], "num_steps": 1},
            "reward_info": {"outcome_reward": reward},
            "success_status": status,
        }


@asynccontextmanager
async def misbehaving() -> Any:
    app = Misbehaving()

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"healthy": True})

    async def info(_: web.Request) -> web.Response:
        return web.json_response({"task": {"id": "odd"}, "dataset": {"seeds": list(range(500))}})

    routes = web.Application()
    routes.router.add_get("/health", health)
    routes.router.add_get("/info", info)
    routes.router.add_get("/task_info", info)
    routes.router.add_post("/rollout", app.rollout)
    runner = web.AppRunner(routes, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as app.session:
        yield app
    await runner.cleanup()


def small_job(harness: Any, app: Misbehaving, provider: Any) -> Any:
    pools = harness.Pools(range(10), range(20, 40), range(40, 52), range(60, 72))
    spec = harness.job_spec(
        app.url,
        provider.model(),
        pools,
        num_iterations=1,
        num_evaluations_per_iteration=2,
        batch_size=5,
        top_k=1,
    )
    spec.stages.add(
        template=types_v1.PromptTemplate(
            stage_id="main",
            messages=[
                types_v1.MessagePattern(role="system", pattern=SYSTEM),
                types_v1.MessagePattern(role="user", pattern="Message: {input}"),
            ],
        ),
        optimise_instruction=True,
        optimise_demos=True,
    )
    spec.proposer.instruction_count = 2
    return spec


async def test_each_kind_of_failure_is_counted_by_its_reason_and_is_never_a_reward(
    harness, suite, provider
):
    faults = {40: "500", 41: "nan", 42: "high", 43: "unmatched", 44: "no call", 45: "no reward"}
    expected = {
        40: "TASK_APP_ERROR",
        41: "TASK_APP_BAD_REPLY",
        42: "REWARD_INVALID",
        43: "STAGE_UNMATCHED",
        44: "NO_CALLS",
    }
    async with misbehaving() as app:
        app.faults = dict(faults)
        run = await harness.run_job(suite, small_job(harness, app, provider))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    baseline = run.of_kind("baseline_evaluated")[0].reward
    assert baseline.mean == 1.0
    assert baseline.row_count == 12 - len(faults)
    unscored = next(
        event
        for event in run.of_kind("rollouts_unscored")
        if event.phase == job_v1.JOB_PHASE_BASELINE
    )
    wanted = Counter(expected.values())
    reasons = dict(unscored.count_by_reason)
    assert sum(reasons.values()) == len(faults)
    assert {reason: reasons[reason] for reason in wanted} == dict(wanted)
    assert all(one.reward.mean == 1.0 for one in run.result.history if one.HasField("reward"))
    assert run.result.baseline.validation.row_count == 12 - len(faults)
    assert sum(run.result.unscored_by_reason.values()) >= len(faults)
    assert app.seen[40] > app.seen[41]


async def test_a_provider_that_fails_for_ever_on_some_rows_costs_those_rows_alone(
    harness, suite, provider
):
    async def script(body: Any) -> int | None:
        text = json.dumps(body)
        return 500 if any(f"number {seed}?" in text for seed in (65, 70)) else None

    provider.script = script
    async with misbehaving() as app:
        run = await harness.run_job(suite, small_job(harness, app, provider))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert run.result.baseline.test.mean == 1.0
    assert run.result.baseline.test.row_count == 10
    for rewards in run.scores().values():
        assert [seed for seed, reward in rewards if reward is None] == [65, 70]
        assert {reward for _, reward in rewards} == {1.0, None}
    unscored = run.result.unscored_by_reason
    assert sum(unscored.values()) == 2 * len(run.scores())
    assert "" not in unscored


async def test_a_job_of_which_nothing_can_be_measured_fails_with_the_reason(
    harness, suite, provider
):
    async with misbehaving() as app:
        app.faults = dict.fromkeys(range(100), "high")
        run = await harness.run_job(suite, small_job(harness, app, provider))
    assert run.job.state == job_v1.JOB_STATE_FAILED
    assert run.job.failure.reason == "NOTHING_SCORED"
    assert "REWARD_INVALID" in run.job.failure.message
    assert run.events[-1].level == job_v1.EVENT_LEVEL_ERROR
    assert run.events[-1].state_changed.failure.reason == "NOTHING_SCORED"
    assert run.result.rollouts_by_phase["baseline"] == 12
    assert run.result.unscored_by_reason["REWARD_INVALID"] == 12


async def test_an_app_that_mixes_its_results_up_fails_the_job_at_once(harness, suite, provider):
    async with misbehaving() as app:
        app.faults = {21: "mismatch", 25: "mismatch", 30: "mismatch", 46: "mismatch"}
        run = await harness.run_job(suite, small_job(harness, app, provider))
    assert run.job.state == job_v1.JOB_STATE_FAILED
    assert run.job.failure.reason == "RESULT_MISMATCH"
    assert "another-rollout" in run.job.failure.message
    assert run.of_kind("baseline_evaluated") == []
    assert run.result.rollouts_by_phase["baseline"] < 12

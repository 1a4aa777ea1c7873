"""A rollout URL dies with its rollout: whoever kept one spends nothing of the suite's money."""

from typing import Any

import aiohttp
import pytest

from burnish.task_app import Example, Result, Rollout, TaskApp
from burnish.task_app.http import start_http
from examples.intents.app import INSTRUCTION, shipped_data

pytestmark = pytest.mark.asyncio(loop_scope="session")
POOLS = (range(12), range(20, 40), range(40, 52), range(60, 72))


def keeping(kept: list[tuple[str, Any]]) -> TaskApp:
    """Returns an app that keeps every URL that it was given, and what it asked there."""
    data = shipped_data()
    app = TaskApp(
        id="keeper",
        rows=data.rows,
        example=lambda row: Example(inputs={"input": row.text}, output=row.label),
    )
    listed = "\n".join(data.labels)

    @app.rollout
    async def classify(task: Rollout) -> Result:
        messages = [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": f"Message: {task.row.text}\n\nIntents:\n{listed}"},
        ]
        kept.append((task.inference_url, messages))
        reply = await task.chat(messages)
        answer = {"answer": reply.text}
        return Result(reward=float(reply.text == task.row.label), output=answer)

    return app


@pytest.mark.slow
async def test_a_kept_rollout_url_opens_nothing_once_its_rollout_is_over(harness, suite, provider):
    kept: list[tuple[str, Any]] = []
    app = await start_http(keeping(kept), port=0)
    try:
        spec = harness.job_spec(app.url, provider.model(), harness.Pools(*POOLS), num_iterations=2)
        run = await harness.run_job(suite, spec)
    finally:
        await app.stop()
    assert run.job.state == harness.job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    paid, told = provider.total, set()
    assert len(kept) >= 40
    async with aiohttp.ClientSession() as session:
        for url, messages in kept:
            for more in ({}, {"x-stainless-retry-count": "1"}):
                call = {"model": "m", "messages": messages}
                async with session.post(f"{url}/chat/completions", json=call, headers=more) as got:
                    error = (await got.json())["error"]
                    told.add((got.status, error["code"], error["message"].partition(" (")[0]))
    assert len(told) == 1
    assert next(iter(told))[:2] == (404, "rollout_unknown")
    assert provider.total == paid

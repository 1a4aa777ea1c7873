"""A job's winner served to a share of online traffic by the suite that found it."""

import asyncio
import json
from typing import Any

import openai
import pytest

from burnish.client import AsyncClient
from burnish.errors import NotFound

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def asked(client, system, user, rollout):
    reply = await client.chat.completions.with_raw_response.create(
        model="local-reader",
        messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
        extra_headers={"x-burnish-rollout": rollout},
    )
    return reply.headers, reply.text


async def traced(client, rollout, *, calls) -> dict[str, Any]:
    """Returns the session of a rollout once so many of its calls have arrived."""
    async with asyncio.timeout(30):
        while True:
            try:
                session: dict[str, Any] = await client.traces.session(rollout)
            except NotFound:
                session = {"event_history": []}
            if len(session["event_history"]) == calls:
                return session
            await asyncio.sleep(0.05)


async def test_a_winner_is_served_as_a_canary_by_the_suite_that_found_it(
    harness, suite, intents_app, provider
):
    run = await harness.run_job(suite, harness.job_spec(intents_app.url, provider.model()))
    baseline, winner = (
        {
            one.component_id: one.instruction.text
            for one in run.result.components
            if one.HasField("instruction")
        }[candidate.stages["main"].instruction_id]
        for candidate in (run.result.baseline.candidate, run.result.best.candidate)
    )
    sent = next(json.loads(body) for body in provider.bodies if baseline in body.decode())
    messages = {message["role"]: message["content"] for message in sent["messages"]}
    async with AsyncClient(suite.target, token=suite.token) as client:
        policy = await client.policies.publish(run.job.name, name="canary", share=0.5)
        assert policy.base_url == f"{suite.interceptor_url}/p/canary/v1"
        async with asyncio.timeout(30):
            while not any(one.applied for one in policy.replicas):
                await asyncio.sleep(0.02)
                policy = await client.policies.get("canary")
        del provider.bodies[:]
        arms: dict[str, str] = {}
        booked = len(harness.task_calls(suite))
        async with openai.AsyncOpenAI(base_url=policy.base_url, api_key=suite.token) as app:
            for _ in range(2):
                for rollout in (f"visit-{n}" for n in range(16)):
                    headers, text = await asked(app, messages["system"], messages["user"], rollout)
                    arm = headers["x-burnish-candidate-id"]
                    assert arms.setdefault(rollout, arm) == arm
                    assert winner not in text
        assert set(arms.values()) == {"baseline", "winner"}
        systems = [json.loads(body)["messages"][0]["content"] for body in provider.bodies]
        count = sum(arm == "winner" for arm in arms.values())
        assert systems.count(winner) == 2 * count
        assert systems.count(baseline) == 2 * (16 - count)
        # The job is over; nothing of it is booked there.
        assert len(harness.task_calls(suite)) == booked
        session = await traced(client, "visit-0", calls=2)
        assert session["metadata"]["mixed"] is False
        assert winner not in json.dumps(session)
        await client.policies.delete("canary")

"""Apps as people write them: one that streams, one that calls tools through the official client."""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.datasets import load_rows
from burnish.task_app import Example, Result, Rollout, TaskApp
from burnish.task_app.http import start_http

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "intents" / "data" / "support.jsonl"
ROWS = load_rows(SHIPPED)
LABELS = sorted({row.label for row in ROWS})
INSTRUCTION = "You classify customer messages. Reply with only the name of the intent that fits."
LISTED = "\n".join(f"{n}. {label}" for n, label in enumerate(LABELS, start=1))
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "set_intent",
        "description": "Sets the intent of the message.",
        "parameters": {
            "type": "object",
            "properties": {"intent": {"type": "string", "enum": LABELS}},
            "required": ["intent"],
        },
    },
}
CHOICE: Any = {"type": "function", "function": {"name": "set_intent"}}


def messages(row: Any) -> list[Any]:
    return [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": f"Message: {row.text}\n\nIntents:\n{LISTED}"},
    ]


@asynccontextmanager
async def served(answer: Any) -> Any:
    app = TaskApp(
        id="client",
        rows=ROWS,
        example=lambda row: Example(inputs={"input": row.text}, output=row.label),
    )

    @app.rollout
    async def classify(task: Rollout) -> Result:
        found = await answer(task)
        return Result(reward=float(found == task.row.label), output={"answer": found})

    server = await start_http(app, port=0)
    try:
        yield server.url
    finally:
        await server.stop()


def traces(harness: Any, suite: Any, run: Any) -> list[tuple[Any, Any]]:
    """Trace and reply of each journaled call of the job."""
    job_id = run.job.name.removeprefix("jobs/")
    query = f"SELECT * FROM calls WHERE role = 'task' AND job_id = '{job_id}'"  # noqa: S608
    return [
        (
            ledger_v1.CallTrace.FromString(row["trace"]),
            ledger_v1.CallReply.FromString(row["reply"]),
        )
        for row in harness.rows(suite, query)
    ]


async def test_an_app_that_streams_is_optimised_like_one_that_does_not(harness, suite, provider):
    chunks: list[int] = []

    async def streaming(task: Rollout) -> str:
        stream: Any = await task.openai().chat.completions.create(
            model=task.model, messages=messages(task.row), temperature=0.0, stream=True
        )
        pieces = [event.choices[0].delta.content or "" async for event in stream if event.choices]
        chunks.append(len(pieces))
        return "".join(pieces).strip()

    async def plain(task: Rollout) -> str:
        return (await task.chat(messages(task.row))).text

    async with served(streaming) as url:
        streamed = await harness.run_job(suite, harness.job_spec(url, provider.model()))
    async with served(plain) as url:
        whole = await harness.run_job(suite, harness.job_spec(url, provider.model()))
    assert streamed.job.state == job_v1.JOB_STATE_SUCCEEDED, streamed.job.failure
    assert streamed.found() == whole.found()
    assert min(chunks) > 1
    for trace, reply in traces(harness, suite, streamed):
        assert json.loads(trace.provider_request)["stream"] is True
        assert reply.content_type.startswith("text/event-stream")
        assert reply.body.endswith(b"data: [DONE]\n\n")
    usage = streamed.result.usage_by_role["task"]
    assert usage.call_count == sum(streamed.result.rollouts_by_phase.values())
    assert not usage.estimated
    assert usage.output_tokens == whole.result.usage_by_role["task"].output_tokens


async def test_an_app_with_tools_in_the_official_client_gets_tool_demos(harness, suite, provider):
    async def tools(task: Rollout) -> str:
        reply: Any = await task.openai().chat.completions.create(
            model=task.model,
            messages=messages(task.row),
            temperature=0.0,
            tools=[TOOL],
            tool_choice=CHOICE,
        )
        call = reply.choices[0].message.tool_calls[0]
        assert call.function.name == "set_intent"
        return str(json.loads(call.function.arguments)["intent"])

    async with served(tools) as url:
        run = await harness.run_job(suite, harness.job_spec(url, provider.model()))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert not run.result.unscored_by_reason
    demos = [demo for one in run.result.components for demo in one.demo_set.demos]
    bootstrapped = [demo for demo in demos if demo.HasField("reward")]
    assert bootstrapped
    for demo in bootstrapped:
        said = [json.loads(message) for message in demo.messages]
        assert said[0]["tool_calls"][0]["function"]["name"] == "set_intent"
        assert said[1]["role"] == "tool"
        assert said[1]["tool_call_id"] == said[0]["tool_calls"][0]["id"]
    with_demos = 0
    for trace, _ in traces(harness, suite, run):
        sent = json.loads(trace.provider_request)
        assert sent["tools"] == [TOOL]
        assert sent["messages"][-1] == json.loads(trace.app_request)["messages"][-1]
        with_demos += any(message["role"] == "tool" for message in sent["messages"])
    assert with_demos

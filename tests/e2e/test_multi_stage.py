"""A program of two stages over the wire: both optimised at once, over HTTP and over gRPC."""

import json
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.datasets import load_rows
from burnish.task_app import Example, Result, Rollout, TaskApp
from burnish.task_app.grpc import start_grpc
from burnish.task_app.http import start_http

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHIPPED = Path(__file__).resolve().parents[2] / "examples" / "intents" / "data" / "support.jsonl"
ROWS = load_rows(SHIPPED)
LABELS = sorted({row.label for row in ROWS})
AREA = "You route messages. Choose the area that the message belongs to. Reply with its name only."
INTENT = (
    "Name the one intent that a message to our support desk has. Reply with the intent's name,"
    " nothing else."
)
AREAS = sorted({label.split("_")[0] for label in LABELS})


def listed(names: list[str]) -> str:
    return "\n".join(f"{n}. {name}" for n, name in enumerate(names, start=1))


def two_stage_app() -> TaskApp:
    app = TaskApp(
        id="two-stage",
        rows=ROWS,
        stage_ids=("area", "intent"),
        example=lambda row: Example(inputs={"input": row.text}, output=row.label),
    )

    @app.rollout
    async def classify(task: Rollout) -> Result:
        area = await task.chat(
            [
                {"role": "system", "content": AREA},
                {"role": "user", "content": f"Text: {task.row.text}\n\nAreas:\n{listed(AREAS)}"},
            ]
        )
        intent = await task.chat(
            [
                {"role": "system", "content": INTENT},
                {
                    "role": "user",
                    "content": f"Area guess: {area.text}\nMessage: {task.row.text}\n\n"
                    f"Intents:\n{listed(LABELS)}",
                },
            ]
        )
        right = [task.row.label.split("_")[0] == area.text, task.row.label == intent.text]
        return Result(reward=sum(right) / 2, output={"answer": intent.text})

    return app


@asynccontextmanager
async def served(transport: str) -> Any:
    start = start_http if transport == "http" else start_grpc
    server = await start(two_stage_app(), port=0)
    try:
        yield server.url
    finally:
        await server.stop()


def spec_of(harness: Any, url: str, provider: Any, *, declared: bool) -> Any:
    spec = harness.job_spec(url, provider.model(), num_iterations=8)
    # One of the two stages right makes a demo: that is no rare thing with this baseline.
    spec.offline.bootstrap.min_reward = 0.5
    if declared:
        for stage_id, system, user in (
            ("area", AREA, "Text: {input}\n\nAreas:\n{areas}"),
            ("intent", INTENT, "Area guess: {area}\nMessage: {input}\n\nIntents:\n{intents}"),
        ):
            spec.stages.add(
                template=types_v1.PromptTemplate(
                    stage_id=stage_id,
                    messages=[
                        types_v1.MessagePattern(role="system", pattern=system),
                        types_v1.MessagePattern(role="user", pattern=user),
                    ],
                ),
                optimise_instruction=True,
                optimise_demos=True,
            )
    return spec


def journal(harness: Any, suite: Any, run: Any) -> dict[str, list[tuple[str, Any]]]:
    """Stage and trace of each rollout's calls in the order they were made."""
    job_id = run.job.name.removeprefix("jobs/")
    found = defaultdict(list)
    query = f"SELECT * FROM calls WHERE role = 'task' AND job_id = '{job_id}' ORDER BY position"  # noqa: S608
    for row in harness.rows(suite, query):
        trace = ledger_v1.CallTrace.FromString(row["trace"])
        found[row["scope"]].append((row["stage_id"], trace))
    return found


def of_kind(run: Any, kind: str) -> dict[str, Any]:
    return {
        one.component_id: one for one in run.result.components if one.WhichOneof("content") == kind
    }


@pytest.mark.parametrize("transport", ["http", "grpc"])
async def test_both_stages_are_searched_jointly_and_recognised_by_what_they_say(
    transport, harness, suite, provider
):
    async with served(transport) as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, declared=True))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert not run.result.unscored_by_reason
    instructions, demo_sets = of_kind(run, "instruction"), of_kind(run, "demo_set")
    for parts in (instructions, demo_sets):
        counts = Counter(one.stage_id for one in parts.values())
        assert counts["area"] > 1
        assert counts["intent"] > 1
    candidates = {one.candidate.candidate_id: one.candidate for one in run.result.candidates}
    choices = [
        {(name, stage.instruction_id, stage.demo_set_id) for name, stage in one.stages.items()}
        for one in candidates.values()
    ]
    assert all({name for name, _, _ in choice} == {"area", "intent"} for choice in choices)
    baseline = run.result.baseline.candidate.stages
    moved = Counter(
        name
        for one in candidates.values()
        for name, stage in one.stages.items()
        if stage.instruction_id != baseline[name].instruction_id
    )
    assert moved["area"]
    assert moved["intent"]
    check_wire(journal(harness, suite, run), candidates, instructions, demo_sets)
    assert run.result.usage_by_role["task"].call_count == 2 * sum(
        run.result.rollouts_by_phase.values()
    )


def check_wire(calls: Any, candidates: Any, instructions: Any, demo_sets: Any) -> None:
    """Each call carried its own stage's instruction and demos, and nothing else was changed."""
    with_demos = 0
    for made in calls.values():
        assert [stage for stage, _ in made] == ["area", "intent"]
        for stage, trace in made:
            assert trace.candidate_id in candidates
            choice = candidates[trace.candidate_id].stages[stage]
            asked, sent = (
                json.loads(body)["messages"] for body in (trace.app_request, trace.provider_request)
            )
            demos = demo_sets[choice.demo_set_id].demo_set.demos
            with_demos += bool(demos)
            assert sent[0]["content"] == instructions[choice.instruction_id].instruction.text
            assert sent[-1] == asked[-1]
            assert len(sent) == len(asked) + 2 * len(demos)
    assert with_demos


async def test_undeclared_stages_are_learnt_from_the_wire(harness, suite, provider):
    async with served("http") as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, declared=False))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    learnt = {one.template.stage_id: one.template for one in run.of_kind("baseline_learned")}
    assert [one.messages[0].pattern for one in learnt.values()] == [AREA, INTENT]
    assert not run.result.unscored_by_reason
    stages = {stage for made in journal(harness, suite, run).values() for stage, _ in made}
    assert stages - {""} == set(learnt)

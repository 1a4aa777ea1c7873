"""A job on the shipped data whose every figure can be worked out by hand, for tests of rewards.

The model is scripted. Asked as the app asks it, it names the right intent in a long and kind
sentence. Asked as the draft asks it, it says one word, and on every other row the wrong one. So the
app's own reward likes the first, a rubric that wants few words the second, and a rubric that wants
thanks the first.
"""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.client import AsyncClient
from burnish.datasets import load_rows
from burnish.graph_files import read_graph
from burnish.rollouts import RolloutScore
from burnish.task_app import Result, Rollout, TaskApp
from burnish.task_app.http import start_http

DATA = Path(__file__).resolve().parents[2] / "examples" / "intents" / "data" / "support.jsonl"
ROWS = load_rows(DATA)
SEEDS = {row.text: seed for seed, row in enumerate(ROWS)}
LABELS = sorted({row.label for row in ROWS})
KIND = "Name the intent of the message, kindly."
TERSE = "Say the intent's name, nothing else."
HALF = types_v1.RewardWeights(environment=0.5, outcome=0.5)
FEW_WORDS = {"id": "few_words", "description": "At most 3 words."}
THANKS = {"id": "thanks", "description": "Contains 'thank you'."}


def judged_by(criterion: dict[str, str]) -> verifier_v1.VerifierGraph:
    rubric = {"version": "1", "goal_text": "Name the intent.", "criteria": [criterion]}
    model = {"provider": "local", "model": "local-judge"}
    judge = {"id": "judge", "rubric": {"rubric": rubric, "model": model}}
    return read_graph({"nodes": [judge], "output_node": "judge"})


def said(terse: bool, seed: int) -> str:
    """What the scripted model says of a row."""
    label = ROWS[seed].label
    if not terse:
        return f"The customer means {label}, thank you for asking."
    return label if seed % 2 == 0 else next(one for one in LABELS if one != label)


def environment_by_hand(terse: bool, seed: int) -> float:
    return 0.0 if terse and seed % 2 else 1.0


def outcome_by_hand(criterion: dict[str, str], terse: bool) -> float:
    return float(terse if criterion is FEW_WORDS else not terse)


def scripted() -> Any:
    async def script(body: dict[str, Any]) -> web.Response:
        system, user = body["messages"][0]["content"], body["messages"][-1]["content"]
        text = said(system == TERSE, SEEDS[user])
        return web.json_response(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
            }
        )

    return script


@asynccontextmanager
async def served(rubrics: object = None) -> Any:
    app = TaskApp(id="fused", rows=ROWS, rubrics=rubrics)

    @app.rollout
    async def classify(task: Rollout) -> Result:
        reply = await task.chat(
            [{"role": "system", "content": KIND}, {"role": "user", "content": task.row.text}]
        )
        right = task.row.label in reply.text
        return Result(reward=float(right), output={"answer": reply.text}, reference=task.row.label)

    server = await start_http(app, port=0)
    try:
        yield server.url
    finally:
        await server.stop()


def spec_of(harness: Any, url: str, provider: Any, graph: verifier_v1.VerifierGraph) -> Any:
    pools = harness.Pools(range(6), range(10, 30), range(30, 42), range(50, 60))
    spec = harness.job_spec(
        url, provider.model(), pools, num_iterations=2, num_evaluations_per_iteration=2,
        batch_size=6, top_k=2,
    )  # fmt: skip
    spec.stages.add(
        template=types_v1.PromptTemplate(
            stage_id="main",
            messages=[
                types_v1.MessagePattern(role="system", pattern=KIND),
                types_v1.MessagePattern(role="user", pattern="{message}"),
            ],
        ),
        optimise_instruction=True,
    )
    spec.drafts.add(stage_id="main", text=TERSE)
    spec.proposer.instruction_count = 0
    spec.offline.bootstrap.max_demo_sets = 1
    spec.offline.bootstrap.max_bootstrapped_demos = 0
    spec.offline.bootstrap.max_labelled_demos = 0
    spec.scoring.verifier_graph.CopyFrom(graph)
    spec.scoring.weights.CopyFrom(HALF)
    return spec


async def rollouts_of(suite: Any, job: str) -> list[RolloutScore]:
    async with AsyncClient(suite.target, token=suite.token) as client:
        return [one async for one in client.rollouts.of_job(job)]


def instructions(run: Any) -> dict[str, str]:
    """Text of each candidate's instruction, by candidate."""
    texts = {one.component_id: one.instruction.text for one in run.result.components}
    return {
        one.candidate.candidate_id: texts[one.candidate.stages["main"].instruction_id]
        for one in run.result.candidates
    }

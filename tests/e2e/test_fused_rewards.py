"""Fused rewards on the shipped data: the app's reward and a rubric's, by the simulated judge.

The model is scripted, so that every figure can be worked out by hand. Asked as the app asks it, it
names the right intent in a long and kind sentence. Asked as the draft asks it, it says one word,
and on every other row the wrong one. So the app's own reward likes the first, a rubric that wants
few words the second, and a rubric that wants thanks the first.
"""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.client import AsyncClient
from burnish.datasets import load_rows
from burnish.graph_files import read_graph
from burnish.rollouts import RolloutScore
from burnish.task_app import Result, Rollout, TaskApp
from burnish.task_app.http import start_http

pytestmark = pytest.mark.asyncio(loop_scope="session")
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
async def served() -> Any:
    app = TaskApp(id="fused", rows=ROWS)

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


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("criterion", "winner"), [(FEW_WORDS, TERSE), (THANKS, KIND)], ids=["few words", "thanks"]
)
async def test_swapping_the_graph_changes_who_wins_as_worked_out_by_hand(
    harness, suite, provider, criterion, winner
):
    provider.script = scripted()
    async with served() as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, judged_by(criterion)))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    by_candidate = instructions(run)
    assert sorted(by_candidate.values()) == sorted([KIND, TERSE])
    by_hand = {}
    for text in (KIND, TERSE):
        terse = text == TERSE
        parts = [
            (environment_by_hand(terse, seed), outcome_by_hand(criterion, terse))
            for seed in range(30, 42)
        ]
        by_hand[text] = mean([0.5 * own + 0.5 * judged for own, judged in parts])
    # KIND: 0.5 x 1 + 0.5 x 0 or 1; TERSE: 0.5 x 0.5 + 0.5 x 1 or 0.
    assert by_hand == ({KIND: 0.5, TERSE: 0.75} if criterion is FEW_WORDS else
                       {KIND: 1.0, TERSE: 0.25})  # fmt: skip
    ranked = [by_candidate[one.candidate.candidate_id] for one in run.result.candidates]
    assert ranked == sorted(by_hand, key=lambda text: -by_hand[text])
    assert ranked[0] == winner
    for one in run.result.candidates:
        expected = by_hand[by_candidate[one.candidate.candidate_id]]
        assert one.validation.mean == pytest.approx(expected)
        assert one.validation.row_count == 12


async def test_every_rollout_shows_parts_weights_graph_and_that_the_judge_is_simulated(
    harness, suite, provider
):
    # A rubric of its own: what was judged before is kept, and would cost nothing here.
    graph = judged_by({"id": "few_words", "description": "At most 4 words."})
    provider.script = scripted()
    async with served() as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, graph))
    texts = instructions(run)
    found = await rollouts_of(suite, run.job.name)
    assert len(found) == sum(run.result.rollouts_by_phase.values()) > 30
    for one in found:
        terse = texts.get(one.candidate_id) == TERSE
        own = environment_by_hand(terse, one.seed)
        assert one.parts == {"environment": own, "outcome": float(terse)}
        assert one.weights == {"environment": 0.5, "outcome": 0.5}
        assert one.reward == pytest.approx(0.5 * own + 0.5 * float(terse))
        assert one.simulated
        assert one.verifier_graph == run.job.verifier_graph
        assert json.loads(str(one.plain["output"]))["answer"] == said(terse, one.seed)
    assert run.result.simulated_count == len(found)
    judge = run.result.usage_by_role["judge"]
    assert judge.cost_usd == 0.0
    assert 0 < judge.call_count <= len(found)
    tested = next(one for one in run.result.candidates if one.rank == 1)
    assert tested.parts["outcome"].mean == 1.0
    assert tested.parts["environment"].mean == 0.5


async def test_a_new_version_of_a_graph_is_for_new_jobs_and_a_running_one_keeps_its_own(
    harness, suite, provider
):
    provider.script = scripted()
    provider.delays = {harness.READER: 0.05}
    name = "verifierGraphs/swapped"
    async with AsyncClient(suite.target, token=suite.token) as client, served() as url:
        first = await client.graphs.register(judged_by(FEW_WORDS), name="swapped")
        asked = verifier_v1.VerifierGraph(name=name)
        spec = spec_of(harness, url, provider, asked)
        spec.max_concurrency = 1
        async with harness.Submitted(suite, spec) as old:
            await harness.until(lambda: old.phase >= job_v1.JOB_PHASE_BASELINE)
            second = await client.graphs.register(judged_by(THANKS), name="swapped")
            done_before = len(await rollouts_of(suite, old.name))
            new = await harness.run_job(suite, spec_of(harness, url, provider, asked))
            ended = await old.finished()
    assert (first.version, second.version) == (1, 2)
    assert ended.job.verifier_graph == first.name
    assert new.job.verifier_graph == second.name
    for run, criterion in ((ended, FEW_WORDS), (new, THANKS)):
        texts = instructions(run)
        found = await rollouts_of(suite, run.job.name)
        assert len(found) > done_before or run is new
        for one in found:
            terse = texts.get(one.candidate_id) == TERSE
            assert one.parts["outcome"] == outcome_by_hand(criterion, terse)


async def test_a_judge_that_fails_on_some_rows_leaves_those_unscored(harness, suite, provider):
    code = (
        "def score(rollout):\n"
        "    if len(rollout['output']['answer']) % 2:\n"
        "        raise ValueError('cannot judge')\n"
        "    return 1.0\n"
    )
    graph = read_graph({"nodes": [{"id": "own", "python": {"source": code}}], "output_node": "own"})
    provider.script = scripted()
    async with served() as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, graph))
    texts = instructions(run)
    found = await rollouts_of(suite, run.job.name)
    unscored = 0
    for one in found:
        failed = bool(len(said(texts.get(one.candidate_id) == TERSE, one.seed)) % 2)
        unscored += failed
        assert (one.reward is None) == failed
        assert (one.failure is not None) == failed
        assert one.environment_reward is not None
    assert 0 < unscored < len(found)
    assert sum(run.result.unscored_by_reason.values()) == unscored


async def test_a_part_that_is_never_offered_is_told_at_creation(harness, suite, provider):
    async with served() as url:
        spec = spec_of(harness, url, provider, judged_by(FEW_WORDS))
        spec.scoring.weights.event = 0.5
        request = job_v1.CreateJobRequest(spec=spec, validate_only=True)
        channel = rpc.connect(suite.target, token=suite.token)
        try:
            async with rpc.translated():
                stub = job_v1.JobServiceStub(channel)
                job = (await stub.CreateJob(request, timeout=60)).job
        finally:
            await channel.close()
    assert any("scoring.weights.event" in warning for warning in job.warnings)
    assert job.reward_weights == HALF

"""Judges of a real job: the app's rubric, events read from the trace, paid once under kills."""

import asyncio
import json

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.graph_files import read_graph
from tests.e2e.fused import (
    FEW_WORDS,
    KIND,
    TERSE,
    environment_by_hand,
    instructions,
    judged_by,
    rollouts_of,
    scripted,
    served,
    spec_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
JUDGE = "local-judge"
LOCAL = {"provider": "local", "model": JUDGE}
OWN = {"version": "7", "goal_text": "Name it.", "criteria": [FEW_WORDS]}


async def test_a_judge_without_a_rubric_goes_by_the_task_apps_own(harness, suite, provider):
    provider.script = scripted()
    graph = read_graph({"nodes": [{"id": "judge", "rubric": {"model": LOCAL}}],
                        "output_node": "judge"})  # fmt: skip
    async with served(rubrics={"outcome": OWN}) as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, graph))
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert json.loads(run.job.judge_options.rubric_source) == {"outcome": OWN}
    texts = instructions(run)
    for one in await rollouts_of(suite, run.job.name):
        terse = texts.get(one.candidate_id) == TERSE
        assert one.parts["outcome"] == float(terse)
        assert one.criteria == {"judge.few_words": float(terse)}


async def test_a_shipped_graph_judges_by_the_rubric_of_the_job(harness, suite, provider):
    provider.script = scripted()
    graph = verifier_v1.VerifierGraph(name="verifierGraphs/zero_shot_verifier")
    async with served() as url:
        spec = spec_of(harness, url, provider, graph)
        options = spec.scoring.judge_options
        options.rubric_source = json.dumps({"outcome": [FEW_WORDS]}).encode()
        options.model.CopyFrom(types_v1.ModelSpec(provider="local", model=JUDGE))
        run = await harness.run_job(suite, spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert run.job.verifier_graph.startswith("verifierGraphs/zero_shot_verifier/versions/")
    texts = instructions(run)
    best = texts[run.result.best.candidate.candidate_id]
    assert best == TERSE
    for one in await rollouts_of(suite, run.job.name):
        assert one.parts["outcome"] == float(texts.get(one.candidate_id) == TERSE)


async def test_events_are_judged_by_the_trace_that_the_suite_kept(harness, suite, provider):
    provider.script = scripted()
    rubric = {"outcome": [FEW_WORDS], "event": [{"id": "brief", "description": "At most 3 words."}]}
    judge = {"id": "judge", "scope": "transcript", "rubric": {"model": LOCAL, "rubric": rubric}}
    graph = read_graph({"nodes": [judge], "output_node": "judge", "event_node": "judge"})
    async with served() as url:
        spec = spec_of(harness, url, provider, graph)
        spec.scoring.weights.event = 1.0
        run = await harness.run_job(suite, spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    texts = instructions(run)
    for one in await rollouts_of(suite, run.job.name):
        assert one.weights == {"environment": 0.5, "event": 1.0, "outcome": 0.5}
        terse = texts.get(one.candidate_id) == TERSE
        own = environment_by_hand(terse, one.seed)
        assert one.parts == {"environment": own, "event": float(terse), "outcome": float(terse)}
        expected = (0.5 * own + 1.0 * float(terse) + 0.5 * float(terse)) / 2
        assert one.reward == pytest.approx(expected)


@pytest.mark.slow
async def test_kills_of_verifier_and_controller_change_no_reward_and_pay_no_judge_twice(
    harness, tmp_path
):
    async with (
        harness.counting_provider() as provider,
        harness.Suite(tmp_path / "state") as suite,
        served() as url,
    ):
        model_script = scripted()

        async def script(body):
            return None if body["model"] == JUDGE else await model_script(body)

        provider.script = script
        provider.delays = {harness.READER: 0.02, JUDGE: 0.1}
        spec = spec_of(harness, url, provider, judged_by(FEW_WORDS))
        spec.max_concurrency = 4
        spec.scoring.judge_options.model.CopyFrom(
            provider.model(JUDGE, price=types_v1.Price(input_usd_per_million=1.0))
        )
        kills = []

        async def kill(job):
            for victim, judged in (("verifier", 6), ("controller", 20), ("verifier", 34)):
                await harness.until(
                    lambda judged=judged: provider.models[JUDGE] >= judged, seconds=100
                )
                process = suite.processes[victim]
                await harness.until(lambda process=process: process.ready)
                if job.state in harness.FINAL:
                    return
                kills.append(process.kill())
                await harness.until(lambda process=process: not process.ready)

        async with harness.Submitted(suite, spec) as job:
            killing = asyncio.create_task(kill(job))
            run = await asyncio.wait_for(job.finished(), 200)
            await killing
            is_open = "SELECT 1 FROM calls WHERE role = 'judge' AND state = 'open'"
            await harness.until(lambda: not harness.rows(suite, is_open))
            result = (await job.finished()).result
        assert len(kills) == 3
        assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
        found = await rollouts_of(suite, run.job.name)
        calls = harness.rows(suite, "SELECT * FROM calls WHERE role = 'judge'")
    assert not run.result.unscored_by_reason
    texts = instructions(run)
    assert sorted(texts.values()) == sorted([KIND, TERSE])
    for one in found:
        terse = texts.get(one.candidate_id) == TERSE
        own = environment_by_hand(terse, one.seed)
        assert one.parts == {"environment": own, "outcome": float(terse)}
    # One whose verifier died before it could tell the ledger stays booked as possibly paid, though
    # what the judge said had been kept.
    done = [row for row in calls if row["state"] == "done"]
    assert {row["state"] for row in calls} <= {"done", "lost"}
    assert all(row["scope"].startswith("judgements/") for row in calls)
    lost = sum(row["lost_calls"] for row in calls)
    assert len(done) <= provider.models[JUDGE] <= len(done) + lost
    judge = result.usage_by_role["judge"]
    assert judge.call_count == len(done)
    assert judge.possibly_paid_call_count == lost
    assert judge.cost_usd > 0

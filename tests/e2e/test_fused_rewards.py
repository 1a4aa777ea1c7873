"""Fused rewards on the shipped data: the app's reward and a rubric's, by the simulated judge."""

import json

import aiohttp
import pytest

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.client import AsyncClient
from burnish.graph_files import read_graph
from tests.e2e.commands import burnish
from tests.e2e.fused import (
    FEW_WORDS,
    HALF,
    KIND,
    TERSE,
    THANKS,
    environment_by_hand,
    instructions,
    judged_by,
    outcome_by_hand,
    rollouts_of,
    said,
    scripted,
    served,
    spec_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


async def test_the_parts_are_on_the_command_line_and_a_saved_list_is_scored_anew(
    harness, suite, provider, tmp_path
):
    provider.script = scripted()
    async with served() as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, judged_by(FEW_WORDS)))
    shown = await burnish(suite, "job", "rollouts", run.job.name, "--phase", "test")
    assert shown.exit_code == 0, shown.output
    assert "environment 0.000 x0.5, outcome 1.000 x0.5" in shown.stdout
    assert "(simulated)" in shown.stdout
    listed = await burnish(suite, "job", "rollouts", run.job.name, "--json")
    (tmp_path / "saved.json").write_text(listed.stdout)
    # Its calls are not in the file: a judge of the transcript reads what the suite kept.
    judge = {"id": "judge", "scope": "transcript",
             "rubric": {"rubric": {"criteria": [THANKS]},
                        "model": {"provider": "local", "model": "local-judge"}}}  # fmt: skip
    (tmp_path / "other.json").write_text(json.dumps({"nodes": [judge], "output_node": "judge"}))
    anew = await burnish(
        suite, "verify", "run", str(tmp_path / "saved.json"), "-g", str(tmp_path / "other.json"),
        "--json",
    )  # fmt: skip
    assert anew.exit_code == 0, anew.output
    before = {one.rollout_id: one for one in await rollouts_of(suite, run.job.name)}
    scores = json.loads(anew.stdout)["rollouts"]
    assert len(scores) == len(before)
    for one in scores:
        assert one["reward"]["outcome"] == 1.0 - before[one["rollout_id"]].parts["outcome"]


async def test_a_rollout_of_a_job_is_scored_over_http_by_its_reference(harness, suite, provider):
    provider.script = scripted()
    async with served() as url:
        run = await harness.run_job(suite, spec_of(harness, url, provider, judged_by(FEW_WORDS)))
    found = await rollouts_of(suite, run.job.name)
    body = {
        "rubric": {"outcome": [THANKS]},
        "options": {"provider": "local", "model": "local-judge"},
    }
    headers = {"X-API-Key": suite.token}
    address = f"{suite.api_url}/api/judge/v1/score"
    async with aiohttp.ClientSession(headers=headers) as session:
        for one in (found[0], found[-1]):
            asked = {**body, "trace_ref": f"trace:{one.rollout_id}"}
            async with session.post(address, json=asked) as reply:
                review = await reply.json()
            assert reply.status == 200, review
            assert review["outcome_review"]["total"] == 1.0 - one.parts["outcome"]
        async with session.post(address, json={**body, "trace_ref": "trace:none"}) as reply:
            assert reply.status == 404


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

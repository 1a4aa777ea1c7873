"""Jobs of GEPA on the real suite: without a key, from a file to a prompt that is better."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from google.protobuf import json_format

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.estimates import estimate_job
from burnish.job_loading import load_job
from burnish.task_app.http import start_http
from examples.intents.app import shipped_data
from examples.two_stage.app import make_app
from examples.two_stage.demo import stages

pytestmark = pytest.mark.asyncio(loop_scope="session")
FILE = Path(__file__).resolve().parents[2] / "examples" / "intents" / "gepa.toml"
SIZES = {
    "initial_size": 3,
    "num_generations": 3,
    "children_per_generation": 3,
    "pareto_set_size": 24,
    "minibatch_size": 6,
}
# One tested row can be enough for a promotion, where a test is not about the verdict.
ANY = job_v1.Promotion(min_probability=0.0)


def gepa(harness, url, provider, *, rollouts=320, **settings):
    """A job of GEPA of modest size."""
    pools = harness.Pools((), range(60, 120), range(300, 320), range(420, 440), range(160, 230))
    spec = harness.job_spec(url, provider.model(), pools, seed=3)
    spec.algorithm = "gepa"
    spec.algorithm_settings.Clear()
    json_format.ParseDict({**SIZES, **settings}, spec.algorithm_settings)
    spec.proposer.instruction_count = 2
    spec.proposer.meta_model.CopyFrom(provider.model(harness.PROPOSER, max_output_tokens=1500))
    spec.budget.max_rollouts = rollouts
    return spec


def spent(run):
    """Rollouts that count towards the cap."""
    return sum(n for phase, n in run.result.rollouts_by_phase.items() if phase != "test")


def check_story(run):
    """What the log tells of generations agrees with itself."""
    started = [one.generation for one in run.of_kind("generation_started")]
    completed = [one.generation for one in run.of_kind("generation_completed")]
    assert started == completed == sorted(set(started))
    told = run.of_kind("transformation_proposed")
    assert len({one.candidate_id for one in told}) == len(told)
    derived = {one.candidate_id for one in told} | {run.result.baseline.candidate.candidate_id}
    assert {one.candidate.candidate_id for one in run.result.candidates} <= derived
    accepted = [
        one.candidate_id
        for one in run.of_kind("candidate_evaluated")
        if one.status == job_v1.CANDIDATE_STATUS_ACCEPTED
    ]
    assert sum(one.accepted_count for one in run.of_kind("generation_completed")) == len(accepted)
    front: set[str] = set()
    for one in run.of_kind("frontier_updated"):
        front = (front | set(one.added_candidate_ids)) - set(one.removed_candidate_ids)
        assert front == set(one.candidate_ids)


async def test_the_file_that_comes_with_the_example_makes_its_prompt_better(
    harness, suite, intents_app
):
    loaded = await load_job(FILE, task_app_url=intents_app.url)
    assert not [one for one in loaded.warnings if "no effect" in one]
    run = await harness.run_job(suite, loaded.spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert run.job.best_candidate_id != run.result.baseline.candidate.candidate_id
    assert run.result.test_difference.lower > 0.03, run.result.verdict
    assert spent(run) <= loaded.spec.budget.max_rollouts
    foreseen = estimate_job(loaded.spec)
    for phase, count in run.result.rollouts_by_phase.items():
        assert foreseen.rollouts[phase].low <= count <= foreseen.rollouts[phase].high
    for role in ("task", "proposer"):
        calls = run.result.usage_by_role[role].call_count
        assert foreseen.roles[role].calls.low <= calls <= foreseen.roles[role].calls.high
    check_story(run)
    operators = {one.operator for one in run.of_kind("transformation_proposed")}
    assert {"propose", "reflect"} <= operators
    assert harness.gaps(run.events) == []


@pytest.mark.parametrize("rollouts", [24, 40, 75, 130])
async def test_a_budget_of_any_size_is_kept(rollouts, harness, suite, intents_app, provider):
    spec = gepa(harness, intents_app.url, provider, rollouts=rollouts)
    run = await harness.run_job(suite, spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert spent(run) <= rollouts
    assert run.result.history
    check_story(run)


async def test_a_proposer_sees_the_rows_of_briefs_and_references_and_no_other(
    harness, suite, intents_app, provider
):
    spec = gepa(harness, intents_app.url, provider, patience_generations=0)
    async with harness.Submitted(suite, spec) as job:
        run = await job.finished()
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    job_id = job.name.removeprefix("jobs/")
    query = f"SELECT data FROM study_entries WHERE job_id = '{job_id}'"  # noqa: S608
    entries = [search_v1.StudyEntry.FromString(row["data"]) for row in harness.rows(suite, query)]
    works = [one.work_suggested for one in entries if one.HasField("work_suggested")]
    allowed = {seed for work in works for seed in work.proposal.evidence_seeds}
    compared = {
        cell.seed
        for work in works
        for trial in work.evaluation.trials
        if trial.kind == search_v1.TRIAL_KIND_FULL
        for cell in trial.cells
    }
    assert allowed
    assert compared
    assert not allowed & compared
    said = "\n".join(
        message["content"]
        for body in map(json.loads, provider.bodies)
        if body["model"] == harness.PROPOSER
        for message in body["messages"]
    )
    texts = [row.text for row in shipped_data().rows]
    shown = {
        seed
        for seed, text in enumerate(texts)
        if json.dumps(text, ensure_ascii=False) in said and texts.count(text) == 1
    }
    assert shown & allowed
    assert shown <= allowed | set(range(160, 230))


async def test_both_stages_of_a_program_evolve(harness, suite, provider):
    data = shipped_data()
    async with served(make_app(data)) as url:
        spec = gepa(harness, url, provider, num_generations=4, patience_generations=0)
        for one in stages():
            template = {"stage_id": one["id"], "messages": one["messages"]}
            stage = spec.stages.add(optimise_instruction=True)
            json_format.ParseDict(template, stage.template)
        spec.proposer.instruction_count = 1
        run = await harness.run_job(suite, spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    check_story(run)
    written = {
        stage
        for one in run.of_kind("transformation_proposed")
        for stage in one.text_by_stage
        if one.operator in {"reflect", "merge"}
    }
    assert written == {"route", "intent"}
    assert spent(run) <= spec.budget.max_rollouts


@asynccontextmanager
async def served(app):
    server = await start_http(app, port=0)
    try:
        yield server.url
    finally:
        await server.stop()


async def test_briefs_that_bring_nothing_leave_the_job_with_its_baseline(
    harness, suite, intents_app, provider
):
    async def nothing(body):
        if body["model"] != harness.PROPOSER:
            return None
        message = {"role": "assistant", "content": ""}
        usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage})

    provider.script = nothing
    spec = gepa(harness, intents_app.url, provider)
    spec.proposer.retry_limit = 0
    run = await harness.run_job(suite, spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert run.job.best_candidate_id == run.result.baseline.candidate.candidate_id
    assert not run.of_kind("transformation_proposed")
    assert len(run.result.candidates) == 1
    check_story(run)


async def test_a_job_that_was_paused_in_a_generation_ends_as_one_that_was_not(
    harness, suite, intents_app, provider
):
    spec = gepa(harness, intents_app.url, provider)
    spec.promotion.CopyFrom(ANY)
    untouched = await harness.run_job(suite, spec)
    provider.delays[harness.READER] = 0.01
    async with harness.Submitted(suite, spec) as job:
        await harness.until(
            lambda: any(
                event.HasField("generation_started") and event.generation_started.generation
                for event in job.events
            ),
            what="no generation began",
        )
        await call(job, "Pause")
        await harness.until(lambda: job.state == job_v1.JOB_STATE_PAUSED, what="never paused")
        last = job.events[-1].sequence
        await asyncio.sleep(0.3)
        assert job.events[-1].sequence == last
        await call(job, "Resume")
        run = await job.finished()
    assert run.found() == untouched.found()
    for kind in ("transformation_proposed", "frontier_updated", "generation_completed"):
        assert run.of_kind(kind) == untouched.of_kind(kind)


async def call(job, verb):
    request = getattr(job_v1, f"{verb}JobRequest")(name=job.name)
    with rpc.translated():
        await getattr(job.jobs, f"{verb}Job")(request, timeout=60)

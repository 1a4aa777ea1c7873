"""The job service over a real channel: creating, listing, watching and reading jobs."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from burnish_controller.peers import PATIENCE
from burnish_controller.testing import World, small_job
from burnish_controller.testing.program import Fate


async def _until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        yield running


async def test_a_job_runs_from_its_creation_to_a_winner(world):
    job = await world.create(small_job())
    assert (job.name, job.study) == ("jobs/job1", "studies/job1")
    events = await world.finished()
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    ended = await world.job()
    assert ended.state == job_v1.JOB_STATE_SUCCEEDED
    assert ended.phase == job_v1.JOB_PHASE_COMPLETE
    assert ended.last_sequence == events[-1].sequence
    assert ended.progress.fraction == 1.0
    assert ended.progress.usage.call_count == world.program.paid.total()
    result = await world.result()
    assert not result.best.baseline
    assert [one.rank for one in result.candidates] == list(range(1, len(result.candidates) + 1))
    assert result.candidates[0].candidate == result.best.candidate
    assert result.best.test.mean == 1.0
    assert len(result.best.test_scores) == len(result.baseline.test_scores) == 6
    assert result.test_difference.row_count == 6
    assert set(world.program.paid.values()) == {1}
    assert result.rollouts_by_phase == {"baseline": 6, "bootstrap": 8, "search": 12, "test": 12}


async def test_every_fault_of_a_job_is_told_at_once_and_nothing_is_created(world):
    spec = small_job(max_concurrency=9_999)
    spec.task_app.uri = "ftp://nowhere"
    spec.budget.max_tokens = -1
    world.search.refusal = "study `studies/x`: `settings.batch_size` is 0; use at least 1"
    with pytest.raises(InvalidArgument) as refused:
        await world.create(spec, job_id="9 lives")
    assert refused.value.reason == "JOB_SPEC_INVALID"
    for words in ("9 lives", "ftp://nowhere", "9999", "max_tokens", "batch_size"):
        assert words in refused.value.message
    async with rpc.translated():
        listed = await world.jobs.ListJobs(job_v1.ListJobsRequest(), timeout=5)
    assert list(listed.jobs) == []
    assert world.program.opened["opened"] == world.program.opened["closed"]


async def test_an_app_that_is_not_well_is_refused_before_anything_is_stored(world):
    world.program.healthy = False
    with pytest.raises(FailedPrecondition) as refused:
        await world.create(small_job())
    assert refused.value.reason == "TASK_APP_UNHEALTHY"
    with pytest.raises(NotFound):
        await world.job()


async def test_validate_only_checks_and_creates_nothing(world):
    job = await world.create(small_job(), validate_only=True)
    assert job.warnings
    with pytest.raises(NotFound):
        await world.job()
    world.program.healthy = False
    with pytest.raises(FailedPrecondition):
        await world.create(small_job(), validate_only=True)


async def test_seeds_that_the_app_does_not_have_are_told_of_before_a_rollout_is_run(world):
    # The test pool of the small job is rows 40 to 45, and no other goes as far.
    world.program.seed_count = 46
    assert not any("beyond" in one for one in (await world.create(small_job())).warnings)
    world.program.seed_count = 44
    told = (await world.create(small_job(), validate_only=True)).warnings
    assert any("`test_pool`: 2 of its 6 seeds are beyond the 44 rows" in one for one in told)
    world.program.seed_count = 25
    with pytest.raises(InvalidArgument) as refused:
        await world.create(small_job(), validate_only=True)
    for words in (
        "`test_pool` begins at seed 40",
        "`validation_pool` begins at seed 30",
        "0 to 24",
    ):
        assert words in refused.value.message


async def test_a_repeated_request_returns_the_job_also_when_the_app_is_gone(world):
    request_id = str(uuid.uuid4())
    first = await world.create(small_job(), job_id="", request_id=request_id)
    world.program.healthy = False
    again = await world.create(small_job(), job_id="", request_id=request_id)
    assert again.name == first.name
    by_id = await world.create(small_job(), job_id=first.name.removeprefix("jobs/"))
    assert by_id.name == first.name
    world.program.healthy = True
    async with rpc.translated():
        listed = await world.jobs.ListJobs(job_v1.ListJobsRequest(), timeout=5)
    assert len(listed.jobs) == 1


@pytest.mark.parametrize("fields", [{"request_id": "r-1"}, {}])
async def test_the_same_id_for_another_job_is_a_conflict(world, fields):
    await world.create(small_job(), request_id="r-1")
    job_id = "other-job" if fields else "job1"
    with pytest.raises(AlreadyExists) as refused:
        await world.create(small_job(random_seed=5), job_id=job_id, **fields)
    assert refused.value.reason == "JOB_EXISTS"


async def test_two_equal_requests_at_once_make_one_job(world):
    both = await asyncio.gather(
        *(world.create(small_job(), job_id="", request_id="r-1") for _ in range(4))
    )
    assert len({job.name for job in both}) == 1
    await world.finished(both[0].name.removeprefix("jobs/"))
    assert set(world.program.paid.values()) == {1}


async def test_jobs_are_listed_newest_first_page_by_page(world):
    world.program.gate.clear()
    for n in range(5):
        await world.create(small_job(), job_id=f"job-{n}")
    names, token = [], ""
    while True:
        async with rpc.translated():
            page = await world.jobs.ListJobs(
                job_v1.ListJobsRequest(page_size=2, page_token=token), timeout=5
            )
        names += [job.name for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"jobs/job-{n}" for n in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    "request_", [job_v1.ListJobsRequest(page_size=-1), job_v1.ListJobsRequest(page_token="?!")]
)
async def test_a_page_that_cannot_be_is_refused(world, request_):
    with pytest.raises(InvalidArgument):
        async with rpc.translated():
            await world.jobs.ListJobs(request_, timeout=5)


async def test_an_unknown_job_is_not_found(world):
    for call in (world.job, world.result, world.finished):
        with pytest.raises(NotFound, match="jobs/nowhere"):
            await call("nowhere")


async def test_a_watch_resumes_after_any_sequence(world):
    await world.create(small_job())
    everything = await world.finished()
    for after in (0, 1, len(everything) // 2, len(everything) - 1):
        found = [event async for event in world.watch(after=after)]
        assert [one.sequence for one in found] == list(range(after + 1, len(everything) + 1))


async def test_a_watch_after_the_end_of_an_ended_job_returns_at_once(world):
    await world.create(small_job())
    last = (await world.finished())[-1].sequence
    for after in (last, last + 7):
        async with asyncio.timeout(5):
            assert [event async for event in world.watch(after=after)] == []


async def test_a_watch_of_a_silent_job_has_heartbeats(world, monkeypatch):
    monkeypatch.setattr("burnish_controller.job_servicer._HEARTBEAT_SECONDS", 0.02)
    world.program.gate.clear()
    await world.create(small_job())
    await world.reached("component_added")
    silent = 0
    async with rpc.translated():
        async for response in world.jobs.WatchJob(
            job_v1.WatchJobRequest(name="jobs/job1", after_sequence=99)
        ):
            assert not response.HasField("event")
            silent += 1
            if silent == 3:
                break


async def test_results_can_be_read_while_the_job_runs(world):
    await world.create(small_job())
    await world.reached("baseline_evaluated")
    result = await world.result()
    assert result.baseline.validation.row_count == 6
    assert not result.HasField("test_difference")


async def test_the_key_of_the_app_is_given_to_it_and_never_told(world):
    given = []
    connect = world.program.connect

    def noting(uri, key):
        given.append(key)
        return connect(uri, key)

    world.program.connect = noting
    await world.stop()
    await world.start()
    job = await world.create(small_job(), task_app_api_key="sesame-9431")
    await world.finished()
    assert given == ["sesame-9431", "sesame-9431"]
    for message in (job, await world.job(), await world.result()):
        assert "sesame-9431" not in str(message)


async def test_the_policy_of_an_ended_job_is_told_without_reaching_its_app(world):
    await world.create(small_job())
    await world.finished()
    await _until(lambda: world.program.opened["closed"] == world.program.opened["opened"])
    opened = world.program.opened["opened"]
    async with rpc.translated():
        response = await world.policies.GetPolicy(
            policy_v1.GetPolicyRequest(name="policies/job1"), timeout=5
        )
    assert response.policy.job == "jobs/job1"
    assert [stage.template.stage_id for stage in response.policy.stages] == ["main"]
    assert world.program.opened["opened"] == opened


async def test_a_result_on_the_wrong_rollout_fails_the_job_loudly(world):
    world.program.mix_up = True
    await world.create(small_job())
    last = (await world.finished())[-1]
    assert last.state_changed.to_state == job_v1.JOB_STATE_FAILED
    assert last.state_changed.failure.reason == "RESULT_MISMATCH"
    assert (await world.job()).termination_reason == job_v1.TERMINATION_REASON_ERROR


async def test_a_bug_of_ours_fails_its_job_once_and_keeps_its_text_in_the_log(world, monkeypatch):
    calls = []

    async def broken(*arguments: object) -> str:
        calls.append(arguments)
        raise RuntimeError("secret detail")

    monkeypatch.setattr("burnish_controller.phases.bootstrap.run_bootstrap_pool", broken)
    await world.create(small_job())
    failure = (await world.finished())[-1].state_changed.failure
    assert failure.reason == "INTERNAL"
    assert "secret detail" not in failure.message
    assert len(calls) == 1


async def test_a_peer_that_stays_away_fails_the_job_with_its_reason(world, monkeypatch):
    monkeypatch.setattr("burnish_controller.peers.PATIENCE", replace(PATIENCE, seconds=0.3))

    world.search.away = True
    await world.create(small_job())
    failure = (await world.finished())[-1].state_changed.failure
    assert failure.reason == "UNAVAILABLE"


async def test_nothing_scored_fails_the_job_with_the_reason_met_most_often(world):
    world.program.fate = lambda number: Fate.UNSENT
    spec = small_job()
    spec.offline.validation_pool.CopyFrom(types_v1.SeedPool(seeds=[30]))
    await world.create(spec)
    failure = (await world.finished())[-1].state_changed.failure
    assert failure.reason == "NOTHING_SCORED"
    assert "MODEL_FAILED" in failure.message

"""The client, plain and asynchronous, against a scripted controller on a real port."""

import asyncio

import grpc
import pytest

from burnish.api.job.v1 import job_service_pb2, job_spec_pb2
from burnish.client import AsyncClient
from burnish.connection import BackendNotConfigured
from burnish.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from burnish.jobs import CreateOptions
from burnish.results import JobSnapshot
from burnish.sync import Client
from burnish.testing.fake_jobs import TOKEN, FakeController
from burnish.testing.fake_story import BASELINE_TEXT, WINNER_TEXT

SPEC = job_spec_pb2.JobSpec(algorithm="mipro")


@pytest.fixture
def away_from_any_suite(tmp_path, monkeypatch):
    for name in ("BURNISH_TARGET", "BACKEND_BASE_URL", "SYNTH_BACKEND_URL", "BURNISH_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SYNTH_API_KEY", raising=False)
    monkeypatch.setenv("BURNISH_STATE_DIR", str(tmp_path))


async def test_a_job_is_followed_to_its_end_and_its_result_is_typed():
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        job = await client.jobs.create(SPEC, options=CreateOptions(job_id="pl_mine"))
        end = await job.wait(timeout=30)
        result = await job.result()
    assert (job.name, end.state, end.phase, end.finished) == (
        "jobs/pl_mine",
        "succeeded",
        "complete",
        True,
    )
    assert result.best is not None
    assert result.best.prompt.text == WINNER_TEXT
    assert result.baseline is not None
    assert result.baseline.prompt.text == BASELINE_TEXT
    assert result.improvement is not None
    assert (result.improvement.mean, result.improvement.row_count) == (0.2, 100)
    assert [one.rank for one in result.candidates] == [1, 2]


async def test_on_update_is_called_on_every_event_with_the_state_at_that_time():
    seen: list[tuple[str, int]] = []

    def note(snapshot: JobSnapshot, event) -> None:
        seen.append((snapshot.state, event.sequence))

    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        job = await client.jobs.create(SPEC)
        end = await job.wait(timeout=30, on_update=note)
    assert [sequence for _, sequence in seen] == list(range(1, end.last_sequence + 1))


async def test_a_watch_that_breaks_goes_on_where_it_was_left():
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        controller.break_watch_after = 4
        job = await client.jobs.create(SPEC)
        sequences = [event.sequence async for event in client.jobs.watch(job.name)]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) > 20
    assert controller.calls.count("WatchJob") == 2


async def test_a_watch_resumes_after_a_given_sequence():
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        job = await client.jobs.create(SPEC)
        all_of_it = [event.sequence async for event in client.jobs.watch(job.name)]
        rest = [event.sequence async for event in client.jobs.watch(job.name, after_sequence=20)]
    assert rest == all_of_it[20:]


async def test_waiting_past_the_timeout_raises_and_leaves_the_job_running():
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        controller.hold_after = 5
        job = await client.jobs.create(SPEC)
        with pytest.raises(DeadlineExceeded, match="it goes on"):
            await job.wait(timeout=0.2)
        assert (await job.refresh()).state == "running"


async def test_a_watch_gives_up_on_a_controller_that_stays_away():
    controller = FakeController()
    await controller.start()
    controller.hold_after = 5
    async with AsyncClient(controller.target, token=TOKEN, patience=0.3, max_retries=0) as client:
        job = await client.jobs.create(SPEC)
        watched = client.jobs.watch(job.name)
        assert (await anext(watched)).sequence == 1
        await controller.stop()
        with pytest.raises(Unavailable):
            async for _ in watched:
                pass


async def test_pause_resume_and_cancel_reach_the_job():
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        controller.hold_after = 5
        job = await client.jobs.create(SPEC)
        assert (await job.pause()).state == "paused"
        assert (await client.jobs.resume(job.job_id)).state == "running"
        assert (await job.cancel()).state == "cancelled"
        assert (await job.wait(timeout=30)).state == "cancelled"


async def test_jobs_are_listed_page_by_page_newest_first():
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        names = [(await client.jobs.create(SPEC)).name for _ in range(3)]
        first = await client.jobs.list(page_size=2)
        second = await client.jobs.list(page_size=2, page_token=first.next_page_token)
    assert [job.name for job in (*first.jobs, *second.jobs)] == names[::-1]
    assert second.next_page_token == ""


async def test_errors_come_back_as_the_classes_of_the_error_tree():
    async with FakeController() as controller:
        async with AsyncClient(controller.target, token=TOKEN) as client:
            with pytest.raises(NotFound, match="jobs/pl_9") as caught:
                await client.jobs.get("pl_9")
            assert caught.value.reason == "JOB_NOT_FOUND"
            controller.refuse_with = (
                grpc.StatusCode.FAILED_PRECONDITION,
                "TASK_APP_UNHEALTHY",
                "the app is down",
            )
            with pytest.raises(FailedPrecondition) as refused:
                await client.jobs.create(SPEC)
            assert refused.value.reason == "TASK_APP_UNHEALTHY"
        async with AsyncClient(controller.target, token="wrong") as client:
            with pytest.raises(Unauthenticated):
                await client.jobs.list()


async def test_creating_sends_the_key_apart_from_the_spec_and_one_request_id():
    options = CreateOptions(task_app_api_key="secret-key", request_id="r-1", validate_only=True)
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        await client.jobs.create(SPEC, options=options)
        assert controller.created == []
        await client.jobs.create(
            SPEC, options=CreateOptions(task_app_api_key="secret-key", request_id="r-1")
        )
    (request,) = controller.created
    assert request == job_service_pb2.CreateJobRequest(
        spec=SPEC, task_app_api_key="secret-key", request_id="r-1"
    )
    assert "secret-key" not in str(request.spec)


async def test_a_client_that_reads_the_file_itself_logs_what_it_warns_of(caplog):
    pools = {"bootstrap_train_seeds": [1], "online_pool": [2], "test_pool": [3]}
    settings = {
        "algorithm": "mipro",
        "task_app_url": "http://localhost:8002",
        "policy": {"model": "gpt-4o-mini", "provider": "openai"},
        "mipro": {**pools, "reference_pool": [4], "parallel_risk": "low"},
    }
    async with (
        FakeController() as controller,
        AsyncClient(controller.target, token=TOKEN) as client,
    ):
        await client.jobs.create({"prompt_learning": settings})
    told = [one.getMessage() for one in caplog.records if one.name == "burnish.config"]
    assert sum("mipro.parallel_risk" in one for one in told) == 1


def test_the_plain_client_does_the_same_without_a_loop():
    with FakeController() as controller, Client(controller.target, token=TOKEN) as client:
        job = client.jobs.create(SPEC)
        seen: list[int] = []
        end = job.wait(timeout=30, on_update=lambda snapshot, event: seen.append(event.sequence))
        types = [event["type"] for event in job.events()]
        assert job.result().verdict.startswith("The prompt got better")
        assert client.jobs.list().jobs[0].name == job.name
    assert end.state == "succeeded"
    assert len(seen) == len(types) == end.last_sequence
    assert types[0] == "prompt.learning.started"
    assert types[-1] == "prompt.learning.mipro.complete"


def test_a_callback_may_use_the_client_that_calls_it():
    with FakeController() as controller, Client(controller.target, token=TOKEN) as client:
        job = client.jobs.create(SPEC)
        states: list[str] = []
        job.wait(
            timeout=30,
            on_update=lambda snapshot, event: states.append(
                client.jobs.get(job.name).snapshot.state
            ),
        )
    assert states[-1] == "succeeded"


async def test_the_plain_client_works_inside_a_running_loop():
    async with FakeController() as controller:

        def use() -> str:
            with Client(controller.target, token=TOKEN) as client:
                return client.jobs.create(SPEC).wait(timeout=30).state

        assert await asyncio.to_thread(use) == "succeeded"


def test_an_exception_in_a_callback_ends_the_wait():
    def fail(snapshot, event) -> None:
        raise KeyError("mine")

    with FakeController() as controller, Client(controller.target, token=TOKEN) as client:
        job = client.jobs.create(SPEC)
        with pytest.raises(KeyError, match="mine"):
            job.wait(timeout=30, on_update=fail)
        assert job.refresh().state == "succeeded"


@pytest.mark.usefixtures("away_from_any_suite")
def test_without_a_backend_the_client_says_what_to_do():
    with pytest.raises(BackendNotConfigured, match="burnish up"):
        Client()


@pytest.mark.usefixtures("away_from_any_suite")
def test_the_environment_names_the_backend_under_ours_and_synths_names(monkeypatch):
    with FakeController() as controller:
        monkeypatch.setenv("BACKEND_BASE_URL", f"http://{controller.target}/api")
        monkeypatch.setenv("SYNTH_API_KEY", TOKEN)
        with Client() as client:
            assert client.jobs.list().jobs == ()
        monkeypatch.setenv("BURNISH_TARGET", controller.target)
        monkeypatch.setenv("BACKEND_BASE_URL", "127.0.0.1:1")
        with Client() as client:
            assert client.jobs.list().jobs == ()

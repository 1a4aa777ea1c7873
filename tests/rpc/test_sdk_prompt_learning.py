"""Prompt learning jobs against a scripted controller: the members that Synth's SDK promises."""

import grpc
import pytest

from burnish.prompt_learning import PromptLearningJob
from burnish.prompt_learning_client import (
    PromptLearningClient,
    PromptLearningJobPoller,
    get_prompt_text,
    get_prompts,
    get_scoring_summary,
)
from burnish.prompt_learning_config import PromptLearningJobConfig, SubmitFailed
from burnish.testing.fake_jobs import TOKEN, FakeController
from burnish.testing.fake_story import BASELINE_TEXT, WINNER_TEXT

CONFIG = """
[prompt_learning]
algorithm = "mipro"
task_app_url = "http://127.0.0.1:9"
task_app_api_key = "$ENVIRONMENT_API_KEY"

[prompt_learning.policy]
provider = "local"
model = "local-reader"

[prompt_learning.mipro]
env_name = "intents"
bootstrap_train_seeds = { start = 0, end = 10 }
online_pool = { start = 10, end = 30 }
val_seeds = { start = 30, end = 40 }
test_pool = { start = 40, end = 60 }
reference_pool = { start = 60, end = 70 }
"""


@pytest.fixture(autouse=True)
def no_environment(tmp_path, monkeypatch):
    for name in ("BURNISH_TARGET", "BACKEND_BASE_URL", "SYNTH_API_KEY", "BURNISH_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ENVIRONMENT_API_KEY", raising=False)
    monkeypatch.setenv("BURNISH_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def controller():
    with FakeController() as started:
        yield started


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def job(controller, config):
    with PromptLearningJob.from_config(
        config, backend_url=controller.target, api_key=TOKEN, task_app_api_key="app-key"
    ) as made:
        yield made


def test_a_job_is_submitted_polled_and_read(job, controller):
    assert job.job_id is None
    job_id = job.submit()
    assert job_id == job.job_id
    assert job_id.startswith("pl_")
    end = job.poll_until_complete(timeout=30)
    assert (end["status"], end["best_score"], end["best_reward"]) == ("succeeded", 0.65, 0.65)
    found = job.get_results()
    assert found["best_score"] == found["best_reward"] == 0.65
    assert [prompt["rank"] for prompt in found["top_prompts"]] == [1, 2]
    assert found["best_prompt"]["sections"][0]["content"] == WINNER_TEXT
    assert found["improvement"]["mean"] == 0.2
    (request,) = controller.created
    assert request.task_app_api_key == "app-key"
    assert request.job_id == job_id


def test_rank_one_is_the_best_prompt_and_an_unknown_rank_has_none(job):
    job.submit()
    assert WINNER_TEXT in job.get_best_prompt_text()
    assert job.get_best_prompt_text(1) == job.get_best_prompt_text(rank=1)
    assert BASELINE_TEXT in job.get_best_prompt_text(2)
    assert job.get_best_prompt_text(3) is None


def test_on_status_is_called_on_every_update(job):
    job.submit()
    seen: list[dict[str, object]] = []
    end = job.poll_until_complete(timeout=30, on_status=seen.append)
    assert len(seen) == end["last_seq"]
    assert seen[-1]["status"] == "succeeded"


def test_a_status_callback_may_ask_the_job_itself(job):
    job.submit()
    phases = []
    job.poll_until_complete(
        timeout=30, on_status=lambda status: phases.append(job.get_status()["phase"])
    )
    assert phases[-1] == "complete"


def test_every_event_is_streamed_as_an_envelope(job):
    job.submit()
    events: list[dict[str, object]] = []
    job.stream_until_complete(timeout=30, on_event=events.append)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "prompt.learning.mipro.complete"
    assert {event["job_id"] for event in events} == {job.job_id}


def test_a_timeout_is_really_raised(job, controller):
    controller.hold_after = 5
    job.submit()
    with pytest.raises(TimeoutError, match="it goes on"):
        job.poll_until_complete(timeout=0.2)
    assert job.get_status()["status"] == "running"


def test_submitting_twice_is_a_runtime_error(job):
    job.submit()
    with pytest.raises(RuntimeError, match="submitted already"):
        job.submit()


def test_everything_but_submit_needs_a_submitted_job(job):
    for use in (job.get_status, job.get_results, job.get_best_prompt_text, job.cancel):
        with pytest.raises(RuntimeError, match="call `submit` first"):
            use()
    with pytest.raises(RuntimeError, match="call `submit` first"):
        job.poll_until_complete()


def test_an_unhealthy_task_app_is_a_value_error_and_a_second_try_is_allowed(job, controller):
    controller.refuse_with = (
        grpc.StatusCode.FAILED_PRECONDITION,
        "TASK_APP_UNHEALTHY",
        "the app is down",
    )
    with pytest.raises(ValueError, match="the app is down"):
        job.submit()
    first_id = job.job_id
    controller.refuse_with = None
    assert job.submit() == first_id


def test_a_controller_that_refuses_is_a_runtime_error(job, controller):
    controller.refuse_with = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_JOBS", "full")
    with pytest.raises(SubmitFailed, match="full") as caught:
        job.submit()
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.reason == "TOO_MANY_JOBS"


def test_a_wrong_configuration_is_a_value_error_with_every_problem(controller, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(CONFIG.replace("local-reader", "gpt-5-pro").replace("end = 30", "end = 5"))
    job = PromptLearningJob.from_config(path, backend_url=controller.target, api_key=TOKEN)
    with job, pytest.raises(ValueError, match="problem"):
        job.submit()
    assert controller.created == []


def test_a_missing_file_is_said_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        PromptLearningJob.from_config(tmp_path / "none.toml")


def test_a_job_is_gone_on_with_by_id_without_the_task_apps_key(job, controller):
    job_id = job.submit()
    with PromptLearningJob.from_job_id(job_id, controller.target, TOKEN) as again:
        assert again.poll_until_complete(timeout=30)["status"] == "succeeded"


def test_an_id_of_another_kind_is_a_value_error():
    with pytest.raises(ValueError, match="does not begin with `pl_`"):
        PromptLearningJob.from_job_id("ft_123")


def test_a_job_is_paused_resumed_and_cancelled(job, controller):
    controller.hold_after = 5
    job.submit()
    assert job.pause()["status"] == "paused"
    assert job.resume()["status"] == "running"
    assert job.cancel()["status"] == "cancelled"


async def test_the_plain_methods_work_inside_a_running_loop(job):
    job.submit()
    assert job.get_results()["best_score"] == 0.65


async def test_the_asynchronous_twins_do_the_same(controller, config):
    job = PromptLearningJob.from_config(config, backend_url=controller.target, api_key=TOKEN)
    seen: list[dict[str, object]] = []
    await job.submit_async()
    end = await job.poll_until_complete_async(timeout=30, on_status=seen.append)
    assert (end["status"], len(seen)) == ("succeeded", end["last_seq"])
    assert (await job.get_results_async())["best_score"] == 0.65
    assert WINNER_TEXT in (await job.get_best_prompt_text_async() or "")
    job.close()


def test_secrets_are_in_no_representation(config):
    made = PromptLearningJobConfig(config_path=config, api_key="k-123", task_app_api_key="k-456")
    assert "k-123" not in repr(made)
    assert "k-456" not in repr(made)


def test_a_poller_waits_for_a_job_by_id(job, controller):
    job_id = job.submit()
    seen: list[dict[str, object]] = []
    poller = PromptLearningJobPoller(controller.target, TOKEN)
    outcome = poller.poll_job(job_id, on_status=seen.append)
    assert outcome.status == "succeeded"
    assert outcome.payload["job_id"] == job_id
    assert len(seen) > 1


async def test_the_reading_client_gives_events_in_pages(job, controller):
    job_id = job.submit()
    async with PromptLearningClient(controller.target, TOKEN) as client:
        whole = await client.get_events(job_id)
        page = await client.get_events(job_id, since_seq=3, limit=2)
        nothing = await client.get_events(job_id, since_seq=len(whole))
    assert [event["seq"] for event in page] == [4, 5]
    assert nothing == []
    assert whole[-1]["seq"] == len(whole)


def test_prompts_and_scores_are_read_by_plain_functions(job, controller):
    job_id = job.submit()
    prompts = get_prompts(job_id, controller.target, TOKEN)
    assert prompts.best_score == 0.65
    assert prompts.text(1) == get_prompt_text(job_id, 1, controller.target, TOKEN)
    assert [result["rank"] for result in prompts.validation_results] == [1, 2]
    summary = get_scoring_summary(job_id, controller.target, TOKEN)
    assert summary["best_val_accuracy"] == 0.65
    assert summary["num_candidates_tried"] == 2
    assert summary["score_distribution"] == {
        "0.0-0.2": 0,
        "0.2-0.4": 0,
        "0.4-0.6": 0,
        "0.6-0.8": 1,
        "0.8-1.0": 0,
    }

"""The bodies of a rollout and of a task's description, in every published shape."""

import json

import pytest

from burnish.task_app.info_body import parse_example, parse_info, parse_program, parse_seed_infos
from burnish.task_app.jsonwire import BodyInvalid, parse_object
from burnish.task_app.model import (
    ModelChoice,
    Result,
    RolloutFailure,
    RolloutRequest,
    Split,
)
from burnish.task_app.rollout_body import (
    parse_reply,
    parse_request,
    redacted,
    reply_body,
    request_body,
)

URL = "http://127.0.0.1:7000/r/token/v1"
FIRST_GENERATION = {
    "run_id": "run-7",
    "env": {"env_name": "banking77", "config": {"seed": 12, "split": "train"}, "seed": None},
    "policy": {
        "policy_id": "p",
        "config": {
            "model": "gpt-4o-mini",
            "provider": "openai",
            "api_base": URL,
            "temperature": 0.0,
            "max_tokens": 512,
        },
        "output_mode": "tool_calls",
    },
    "record": {"return_trace": True, "trace_format": "compact"},
    "on_done": "reset",
    "safety": {"max_time_s": 3600},
    "mode": "rl",
}
SECOND_GENERATION = {
    "trace_correlation_id": "trace_1",
    "env": {"seed": 12},
    "policy": {
        "config": {
            "model": "gpt-4o-mini",
            "inference_url": URL,
            "max_completion_tokens": 512,
            "temperature": 1,
        }
    },
    "on_done": "reset",
    "mode": "eval",
}


def test_a_request_of_the_first_generation_is_read():
    read = parse_request(FIRST_GENERATION)
    assert read == RolloutRequest(
        rollout_id="run-7",
        seed=12,
        inference_url=URL,
        model=ModelChoice(
            model="gpt-4o-mini", provider="openai", temperature=0.0, max_output_tokens=512
        ),
        env_name="banking77",
        env_config={"seed": 12, "split": "train"},
        max_seconds=3600,
    )


def test_a_request_of_the_second_generation_is_read():
    read = parse_request(SECOND_GENERATION, attempt=2)
    assert (read.rollout_id, read.seed, read.inference_url, read.attempt) == (
        "trace_1",
        12,
        URL,
        2,
    )
    assert (read.model.temperature, read.model.max_output_tokens) == (1.0, 512)


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ({"config": "a", "cid": "b", "top": "c", "run": "d"}, "a"),
        ({"cid": "b", "top": "c", "run": "d"}, "b"),
        ({"top": "c", "run": "d"}, "c"),
        ({"run": "d"}, "d"),
    ],
)
def test_the_correlation_id_is_looked_for_in_the_order_of_the_contract(places, found):
    body = json.loads(json.dumps(SECOND_GENERATION))
    body["trace_correlation_id"] = places.get("top")
    body["run_id"] = places.get("run")
    if "config" in places:
        body["policy"]["config"]["trace_correlation_id"] = places["config"]
    assert parse_request(body, cid=places.get("cid", "")).rollout_id == found


def test_a_request_names_everything_that_is_missing_at_once():
    with pytest.raises(BodyInvalid) as caught:
        parse_request({"env": {"seed": -1}})
    for name in ("trace_correlation_id", "env.seed", "inference_url"):
        assert name in caught.value.message


def test_our_request_is_what_both_generations_expect():
    request = RolloutRequest(
        rollout_id="roll_1",
        seed=3,
        inference_url=URL,
        model=ModelChoice(model="m", provider="local", temperature=0.0, max_output_tokens=9),
        env_name="data",
        env_config={"split": "train"},
        max_seconds=30.0,
    )
    assert request_body(request) == {
        "run_id": "roll_1",
        "trace_correlation_id": "roll_1",
        "env": {"env_name": "data", "seed": 3, "config": {"split": "train", "seed": 3}},
        "policy": {
            "policy_name": "burnish",
            "config": {
                "model": "m",
                "provider": "local",
                "inference_url": URL,
                "trace_correlation_id": "roll_1",
                "temperature": 0.0,
                "max_completion_tokens": 9,
            },
        },
        "on_done": "reset",
        "mode": "eval",
        "safety": {"max_time_s": 30.0},
    }
    read = parse_request(request_body(request))
    assert (read.rollout_id, read.seed, read.model) == ("roll_1", 3, request.model)


REQUEST = RolloutRequest(rollout_id="roll_1", seed=3, inference_url=URL)


def test_a_result_is_written_in_both_generations_at_once():
    body = reply_body(
        REQUEST, Result(reward=0.5, output={"answer": "x"}, reference="y", details={"n": 1})
    )
    assert body["run_id"] == body["trace_correlation_id"] == "roll_1"
    assert body["pipeline_metadata"] == {"inference_url": URL, "trace_correlation_id": "roll_1"}
    assert body["trace"]["metadata"]["trace_correlation_id"] == "roll_1"
    assert body["reward_info"] == {
        "outcome_reward": 0.5,
        "outcome_objectives": {"reward": 0.5},
        "details": {"n": 1},
    }
    assert body["metrics"] == {
        "episode_returns": [0.5],
        "mean_return": 0.5,
        "outcome_score": 0.5,
        "num_steps": 1,
        "num_episodes": 1,
        "details": {"n": 1},
    }
    assert (body["success_status"], body["status_detail"], body["aborted"]) == (
        "success",
        None,
        False,
    )
    read = parse_reply(json.loads(json.dumps(body)))
    assert (read.rollout_id, read.seed, read.failure) == ("roll_1", 3, None)
    assert read.result == Result(
        reward=0.5, output={"answer": "x"}, reference="y", details={"n": 1}
    )


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("TASK_APP_TIMEOUT", "timeout"),
        ("TASK_APP_NETWORK_ERROR", "network_error"),
        ("INFERENCE_FAILED", "network_error"),
        ("ROW_BROKEN", "runtime_error"),
    ],
)
def test_a_failure_is_written_without_any_reward_and_read_back(reason, status):
    failure = RolloutFailure(reason=reason, message="why it failed", retryable=False)
    body = reply_body(REQUEST, failure)
    assert body["success_status"] == status
    assert body["metrics"]["episode_returns"] == []
    assert {body["metrics"]["mean_return"], body["reward_info"]["outcome_reward"]} == {None}
    read = parse_reply(body)
    assert read.result is None
    assert read.failure is not None
    assert (read.failure.reason, read.failure.retryable) == (reason, False)
    assert "why it failed" in read.failure.message


@pytest.mark.parametrize(
    "status", ["timeout", "network_error", "runtime_error", "TIMEOUT", "something_new"]
)
def test_a_status_other_than_success_wins_over_a_reward_of_0(status):
    told = {"success_status": status, "reward_info": {"outcome_reward": 0}}
    read = parse_reply({"trace_correlation_id": "t", **told})
    assert read.result is None
    assert read.failure is not None
    assert read.failure.retryable


def test_an_aborted_rollout_of_the_first_generation_is_a_failure():
    read = parse_reply({"run_id": "r", "aborted": True, "metrics": {"mean_return": 0.0}})
    assert read.failure is not None


def test_a_reward_that_cannot_be_read_is_a_failure_that_is_not_tried_again():
    read = parse_reply({"run_id": "r", "metrics": {"mean_return": "high"}})
    assert read.failure is not None
    assert (read.failure.reason, read.failure.retryable) == ("REWARD_INVALID", False)


def test_an_older_apps_details_stand_in_for_its_output():
    read = parse_reply({"metrics": {"mean_return": 1, "details": {"predicted": "a"}}})
    assert read.result is not None
    assert read.result.output == {"predicted": "a"}


def test_what_an_app_says_of_a_failure_is_shortened_and_loses_addresses_and_secrets():
    said = f"POST {URL} failed\nwith Bearer abcdef123456 and sk-1234567890 " + "x " * 500
    text = redacted(said)
    assert len(text) <= 300
    assert "token" not in text
    assert "abcdef" not in text
    assert "sk-123" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "text", ["[1]", "nope", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000, '{"a":' * 50_000]
)
def test_a_body_that_is_no_object_is_refused(text):
    with pytest.raises(BodyInvalid):
        parse_object(text, what="body")


@pytest.mark.parametrize(
    ("body", "seeds"),
    [
        ({"task": 1}, [4]),
        ([{"task": 1}], [4]),
        ({"4": {"task": 1}}, [4]),
        ([{"task": 1}, {"task": 2}], [4, 2]),
        ({"2": {"task": 2}, "4": {"task": 1}}, [4, 2]),
    ],
)
def test_every_shape_of_task_info_comes_out_in_seed_order(body, seeds):
    found = parse_seed_infos(body, seeds)
    assert [item["task"] for item in found] == [1, 2][: len(seeds)]


@pytest.mark.parametrize("body", [[{}], {"4": {}}, {"a": 1}, [1, 2], "x", None, {"4": 1, "2": 2}])
def test_another_shape_of_task_info_is_refused(body):
    with pytest.raises(BodyInvalid):
        parse_seed_infos(body, [4, 2])


@pytest.mark.parametrize(
    ("info", "taskset", "task", "count"),
    [
        ({"service": {"task": {"id": "b77"}}}, {"taskset": {"seed_count": 5}}, "b77", 5),
        ({"service": {"task": "b77"}, "dataset": {"size": 6}}, {}, "b77", 6),
        ({"task": {"name": "b77"}}, {"dataset": {"num_rows": 7}}, "b77", 7),
        ({}, {"taskset": {"id": "b77", "count": 8}}, "b77", 8),
        ({}, {"taskset": {"id": "b77", "splits": [{"name": "t", "start": 2, "end": 9}]}}, "b77", 9),
        ({}, {}, "", None),
    ],
)
def test_task_and_size_are_found_where_apps_put_them(info, taskset, task, count):
    read = parse_info(info, taskset)
    assert (read.task, read.seed_count) == (task, count)


def test_splits_that_make_no_sense_are_passed_over():
    splits = ["train", {"name": "a", "start": 5, "end": 2}, {"name": "b", "start": 0, "end": 2}]
    assert parse_info({}, {"taskset": {"splits": splits}}).splits == (
        Split(name="b", start=0, end=2),
    )


@pytest.mark.parametrize(
    "example",
    [
        "x",
        {"inputs": {}},
        {"inputs": {"a": 1}, "output": "x"},
        {"inputs": {"a": "b"}, "output": 3},
        {"inputs": {"a": "b"}, "output": "x", "answer_messages": ["hi"]},
    ],
)
def test_a_malformed_example_is_refused_with_its_seed(example):
    with pytest.raises(BodyInvalid, match="seed=7"):
        parse_example({"example": example}, seed=7)


def test_metadata_that_tells_nothing_is_no_program():
    assert parse_program({"program_code": "", "module_path": "m"}) is None
    assert parse_program({"program_code": 3}) is None

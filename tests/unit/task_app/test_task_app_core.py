"""The task app itself: how it is put together, its keys, and what its function may do."""

import pytest

from burnish.errors import FailedPrecondition
from burnish.task_app import (
    AppKeys,
    ChatReply,
    Example,
    Program,
    Result,
    RolloutFailed,
    SeedUnknown,
    Split,
    TaskApp,
    TaskAppInvalid,
)
from burnish.task_app.auth import is_loopback, offered_keys
from burnish.task_app.chat import ChatClient
from burnish.task_app.model import RolloutRequest


def request(seed: int = 0) -> RolloutRequest:
    return RolloutRequest(rollout_id="r", seed=seed, inference_url="http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "", "seed_count": 1}, "`id` is empty"),
        ({"id": "a"}, "either `rows` or `seed_count`"),
        ({"id": "a", "rows": [1], "seed_count": 1}, "either `rows` or `seed_count`"),
        ({"id": "a", "rows": []}, "no seeds"),
        (
            {"id": "a", "rows": [1], "splits": [Split(name="t", start=0, end=2)]},
            "split `t`",
        ),
    ],
)
def test_an_app_that_is_not_put_together_right_says_why(fields, words):
    with pytest.raises(TaskAppInvalid, match=words):
        TaskApp(**fields)


async def test_an_app_without_a_function_says_so():
    with pytest.raises(FailedPrecondition, match=r"@app\.rollout"):
        await TaskApp(id="a", seed_count=1).run(request(), ChatClient())


@pytest.mark.parametrize("seed", [-1, 2])
async def test_a_seed_without_a_row_is_refused(seed):
    app = TaskApp(id="a", rows=["x", "y"], example=lambda row: Example(inputs={}, output=row))
    app.rollout(lambda task: Result(reward=1.0))
    with pytest.raises(SeedUnknown, match=str(seed)):
        await app.run(request(seed), ChatClient())
    with pytest.raises(SeedUnknown, match=str(seed)):
        app.example_of(seed)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "RESULT_INVALID"),
        (0.0, "RESULT_INVALID"),
        (Result(reward=2.0), "REWARD_INVALID"),
        (Result(reward=float("nan")), "REWARD_INVALID"),
    ],
)
async def test_a_function_that_returns_no_usable_result_fails_the_rollout(answer, reason):
    app = TaskApp(id="a", seed_count=1)
    app.rollout(lambda task: answer)
    outcome = await app.run(request(), ChatClient())
    assert not isinstance(outcome, Result)
    assert (outcome.reason, outcome.retryable) == (reason, False)


async def test_a_lost_connection_of_the_functions_own_may_be_retried():
    app = TaskApp(id="a", seed_count=1)

    @app.rollout
    async def run(task):
        raise ConnectionResetError("peer 10.0.0.7 went away")

    outcome = await app.run(request(), ChatClient())
    assert not isinstance(outcome, Result)
    assert (outcome.reason, outcome.retryable) == ("TASK_APP_NETWORK_ERROR", True)
    assert "10.0.0.7" not in outcome.message


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan")])
def test_a_result_holds_json_only(value):
    with pytest.raises(RolloutFailed, match="JSON"):
        Result(output=value)


def test_a_program_reads_the_source_it_is_given():
    program = Program.of(request, description="asks")
    assert program.code.startswith("def request")
    assert program.description == "asks"


def test_keys_come_from_the_environment_and_never_show():
    keys = AppKeys.from_environment(
        {
            "ENVIRONMENT_API_KEY": " one ",
            "ENVIRONMENT_API_KEY_ALIASES": "two,, three",
            "DEV_ENVIRONMENT_API_KEY": "",
        }
    )
    assert keys.keys == ("one", "two", "three")
    assert "one" not in repr(keys)
    assert keys.accept(["x", "three"])
    assert not keys.accept(["x", ""])
    assert not AppKeys().accept([""])
    assert not AppKeys().required


def test_keys_are_read_from_every_header():
    headers = {"x-api-key": "a", "x-api-keys": "b, c,", "authorization": "bearer d"}
    assert offered_keys(headers) == ["a", "b", "c", "d"]
    assert offered_keys({"authorization": "Basic d"}) == []


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_loopback_counts_as_this_machine(host, local):
    assert is_loopback(host) is local


def reply(**message) -> ChatReply:
    return ChatReply({"choices": [{"message": message}]})


@pytest.mark.parametrize(
    ("arguments", "read"),
    [('{"a": 1}', {"a": 1}), ("[1]", None), ("{", None), (None, None), ({"a": 1}, None),
     ("[" * 100_000, None)],
)  # fmt: skip
def test_tool_arguments_are_read_or_none(arguments, read):
    call = {"function": {"name": "answer", "arguments": arguments}}
    assert reply(tool_calls=[call]).tool_arguments() == read
    assert reply(tool_calls=[call]).tool_arguments("answer") == read
    assert reply(tool_calls=[call]).tool_arguments("other") is None


def test_a_reply_without_text_reads_as_empty():
    assert reply(content=None).text == ""
    assert reply(content=" yes\n").text == "yes"
    assert reply(content="x").tool_calls == ()

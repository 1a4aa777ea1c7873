import json

import pytest

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.demos import (
    answer_messages,
    bootstrapped_demo,
    example_text,
    labelled_demo,
    message_text,
    reply_message,
    sent_call,
    user_wildcards,
)
from burnish_controller.ledger.budget import NOTHING
from burnish_controller.ledger.calls import Call, CallState
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import AppExample

TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "choose", "arguments": '{"label": "refund"}'},
}


def call(
    body: object = None,
    *,
    stage_id: str = "main",
    bindings: dict[str, str] | None = None,
    content_type: str = "application/json",
    status: int = 200,
    sent: object = None,
) -> Call:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(
        scope="r1", request_hash="aa", ordinal=0, job_id="job1", role="task", position=0,
        attempt=1, client_id="i", sequence=1, model=types_v1.ModelSpec(), state=CallState.DONE,
        worst=NOTHING,
        reply=ledger_v1.CallReply(status=status, content_type=content_type, body=raw),
        trace=ledger_v1.CallTrace(
            stage_id=stage_id,
            bindings={"query": "where"} if bindings is None else bindings,
            app_request=json.dumps(sent).encode(),
        ),
    )  # fmt: skip


def answer(**message: object) -> dict[str, object]:
    return {"choices": [{"message": {"role": "assistant", **message}}]}


def rollout(fused: float = 1.0) -> FinishedRollout:
    return FinishedRollout(
        job_id="job1", phase="bootstrap", attempt=1, cost_usd=0.0,
        result=types_v1.RolloutResult(rollout_id="r1", cell=types_v1.Cell(seed=0)),
        reward=types_v1.Reward(fused=fused),
    )  # fmt: skip


def read(messages: list[bytes] | None) -> list[dict[str, object]]:
    assert messages is not None
    return [json.loads(one) for one in messages]


def test_a_text_answer_is_kept_without_what_is_no_message():
    found = read(answer_messages(call(answer(content="refund", refusal=None, annotations=[]))))
    assert found == [{"role": "assistant", "content": "refund"}]


def test_each_tool_call_gets_an_answer():
    found = read(answer_messages(call(answer(content=None, tool_calls=[TOOL_CALL]))))
    assert found == [
        {"role": "assistant", "tool_calls": [TOOL_CALL], "content": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
    ]


@pytest.mark.parametrize(
    "reply",
    [
        call(answer(content="x"), status=500),
        call({"choices": []}),
        call({}),
        call([]),
        call(b"{cut off"),
    ],
)
def test_what_is_no_answer_gives_no_demo(reply):
    assert reply_message(reply) is None
    assert answer_messages(reply) is None
    assert bootstrapped_demo(rollout(), [reply], "main") is None


def chunk(**delta: object) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"


def test_a_streamed_text_is_put_together():
    body = chunk(role="assistant") + chunk(content="re") + chunk(content="fund")
    body += "data: " + json.dumps({"choices": [], "usage": {}}) + "\n\ndata: [DONE]\n\n"
    streamed = call(body.encode(), content_type="text/event-stream; charset=utf-8")
    assert reply_message(streamed) == {"role": "assistant", "content": "refund"}


def test_a_streamed_tool_call_is_put_together():
    first = {"index": 0, "id": "call_1", "type": "function",
             "function": {"name": "choose", "arguments": ""}}  # fmt: skip
    parts = [first] + [
        {"index": 0, "function": {"arguments": part}} for part in ('{"label": ', '"refund"}')
    ]
    body = "".join(chunk(tool_calls=[part]) for part in parts) + "data: [DONE]\n\n"
    message = reply_message(call(body.encode(), content_type="text/event-stream"))
    assert message == {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}


def test_a_demo_is_the_last_call_of_its_stage_with_what_was_bound():
    calls = [
        call(answer(content="first")),
        call(answer(content="last"), bindings={"query": "two"}),
        call(answer(content="other"), stage_id="second"),
        call(answer(content="unbound"), bindings={}),
    ]
    demo = bootstrapped_demo(rollout(0.9), calls, "main")
    assert demo is not None
    assert dict(demo.bindings) == {"query": "two"}
    assert read(list(demo.messages))[0]["content"] == "last"
    assert (demo.reward, demo.seed, demo.HasField("seed")) == (0.9, 0, True)
    assert demo.source == types_v1.DEMO_SOURCE_BOOTSTRAPPED


def test_a_stage_that_was_never_called_gives_no_demo():
    assert bootstrapped_demo(rollout(), [call(answer(content="x"))], "second") is None


def example(inputs: dict[str, str], **fields: object) -> AppExample:
    return AppExample(inputs=inputs, output="refund", seed=3, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "wildcards", "bindings"),
    [
        ({"query": "a", "note": "b"}, ["query"], {"query": "a"}),
        ({"query": "a", "note": "b"}, ["note", "query"], {"query": "a", "note": "b"}),
        ({"text": "a"}, ["input"], {"input": "a"}),
        ({"text": "a", "note": "b"}, ["input"], None),
        ({"text": "a"}, ["one", "two"], None),
        ({"text": "a"}, [], None),
    ],
)
def test_a_row_binds_the_wildcards_that_it_has(inputs, wildcards, bindings):
    demo = labelled_demo(example(inputs), wildcards=wildcards)
    assert (None if demo is None else dict(demo.bindings)) == bindings


def test_a_labelled_demo_answers_as_the_app_says_or_else_in_plain_text():
    plain = labelled_demo(example({"query": "a"}), wildcards=["query"])
    tools = [{"role": "assistant", "tool_calls": [TOOL_CALL]}, {"role": "tool", "content": "ok"}]
    called = labelled_demo(example({"query": "a"}, answer_messages=tools), wildcards=["query"])
    assert plain is not None
    assert called is not None
    assert read(list(plain.messages)) == [{"role": "assistant", "content": "refund"}]
    assert read(list(called.messages)) == tools
    assert plain.source == types_v1.DEMO_SOURCE_LABELLED
    assert not plain.HasField("reward")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "refund"}, "refund"),
        ({"content": [{"type": "text", "text": "re"}, {"type": "text", "text": "fund"}]}, "refund"),
        ({"content": None, "tool_calls": [TOOL_CALL]}, "refund"),
        ({"tool_calls": [{"function": {"arguments": '{"a": 1, "b": 2}'}}]}, '{"a": 1, "b": 2}'),
        ({"tool_calls": [{"function": {"arguments": "no json"}}]}, "no json"),
        ({"content": None}, ""),
    ],
)
def test_an_answer_is_read_as_text(message, text):
    assert message_text(message) == text


def test_rows_with_several_inputs_name_them():
    assert example_text(example({"a": "1", "b": "2"})) == "a: 1\nb: 2"
    assert example_text(example({"a": "1"})) == "1"


@pytest.mark.parametrize("sent", [None, [], {}, {"messages": "x"}, {"messages": ["x"]}])
def test_what_is_no_chat_request_is_not_learnt_from(sent):
    assert sent_call("r1", call(sent=sent)) is None


def test_what_was_sent_is_read_also_from_parts():
    parts = [{"type": "text", "text": "how "}, {"type": "image_url"}, {"type": "text", "text": "?"}]
    found = sent_call("r1", call(sent={"messages": [{"role": "user", "content": parts}]}))
    assert found is not None
    assert [(one.role, one.text) for one in found.messages] == [("user", "how ?")]


async def test_the_wildcards_of_a_stage_are_those_of_its_user_patterns(make_scene):
    scene = await make_scene()
    assert user_wildcards(scene.job, "main") == ["query"]
    assert user_wildcards(scene.job, "elsewhere") == []

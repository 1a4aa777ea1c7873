"""Traces in format 3: every field of the contract, every API, and nothing that cannot be read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish import trace_replies, trace_v3
from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish.api.types.v1 import rollout_pb2
from burnish.trace_v3 import View

MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Sort it."},
    {"role": "user", "content": [{"type": "text", "text": "where "}, {"type": "image_url"},
                                 {"type": "text", "text": "is it"}]},
]  # fmt: skip
TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "sort", "arguments": '{"intent":"arrival"}'},
}
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 3,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
}
CHAT = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": None,
                 "tool_calls": [TOOL_CALL]}, "finish_reason": "tool_calls"}],
    "usage": USAGE,
}  # fmt: skip


def stream(*chunks: object) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return (": keep-alive\n\n" + "".join(lines) + "data: [DONE]\n\n").encode()


def delta(part: dict[str, Any], *, index: int = 0, reason: str | None = None) -> dict[str, Any]:
    choice = {"index": index, "delta": part, "finish_reason": reason}
    return {"id": "chatcmpl-1", "choices": [choice]}


def trace(
    reply: bytes = json.dumps(CHAT).encode(),
    *,
    api: str = "",
    request: dict[str, Any] | None = None,
    content_type: str = "application/json",
    status: int = 200,
    **more: Any,
) -> trace_v1.Trace:
    asked = {"model": "m", "temperature": 0.5, "messages": MESSAGES}
    call = ledger_v1.CallTrace(
        stage_id="main",
        candidate_id="cand_1",
        app_request=json.dumps(request or asked).encode(),
    )
    call.start_time.FromSeconds(1_700_000_000)
    call.latency.FromMilliseconds(250)
    call.first_byte_latency.FromMilliseconds(100)
    found = trace_v1.Trace(
        call_id="c1",
        rollout_id="roll-1",
        policy="policies/live",
        policy_version=2,
        call=call,
        reply=ledger_v1.CallReply(status=status, content_type=content_type, body=reply),
        provider="openai",
        model="gpt-x",
        api=api,
        arm="winner",
        trace_id="a" * 32,
        usage=rollout_pb2.Usage(input_tokens=11, output_tokens=3, cost_usd=0.01),
        **more,
    )
    found.overhead.FromMicroseconds(120)
    return found


def test_a_session_has_every_field_of_the_contract():
    session = trace_v3.session("roll-1", [trace(match_ratio=0.9), trace()])
    assert session["session_id"] == "roll-1"
    assert session["created_at"] == "2023-11-14T22:13:20+00:00"
    assert [step["step_index"] for step in session["session_time_steps"]] == [0, 1]
    assert len(session["event_history"]) == 2
    event = session["event_history"][0]
    assert event["time_record"] == {"event_time": 1_700_000_000.0, "message_time": None}
    assert (event["model_name"], event["provider"]) == ("gpt-x", "openai")
    tokens = ("input_tokens", "output_tokens", "total_tokens")
    assert [event[key] for key in tokens] == [11, 3, 14]
    assert (event["cost_usd"], event["latency_ms"], event["trace_id"]) == (0.01, 250.0, "a" * 32)
    assert event["metadata"]["match_ratio"] == 0.9
    assert event["metadata"]["overhead_ms"] == 0.12
    record = event["call_records"][0]
    assert record["api_type"] == "chat_completions"
    assert record["schema_version"] == "1.0"
    assert record["request_params"] == {"model": "m", "temperature": 0.5}
    assert record["input_messages"] == MESSAGES
    assert record["output_tool_calls"] == [TOOL_CALL]
    assert (record["finish_reason"], record["outcome"]) == ("tool_calls", "success")
    assert record["usage"] == USAGE
    assert record["completed_at"] == "2023-11-14T22:13:20.250000+00:00"


def test_the_message_history_tells_who_said_what():
    history = trace_v3.session("roll-1", [trace()])["markov_blanket_message_history"]
    assert [one["message_type"] for one in history] == ["observation", "user_input", "action"]
    assert [one["content"]["text"] for one in history] == ["Sort it.", "where is it", ""]
    assert history[2]["time_record"]["event_time"] == 1_700_000_000.25


def test_the_compact_form_is_what_apps_return_and_judges_read():
    document = trace_v3.compact("roll-1", [trace()])
    assert document["schema_version"] == "3.0"
    assert document["markov_blanket_message_history"] == []
    assert document["metadata"]["trace_correlation_id"] == "roll-1"
    (event,) = document["event_history"]
    assert (event["type"], event["event_type"], event["correlation_id"]) == (
        "lm_call", "lm_call", "roll-1",
    )  # fmt: skip
    assert event["llm_request"]["messages"] == MESSAGES
    assert event["llm_response"]["message"]["tool_calls"] == [TOOL_CALL]
    assert event["llm_response"]["usage"] == USAGE


def test_the_apps_view_holds_neither_candidate_nor_reasoning():
    chat = json.loads(json.dumps(CHAT))
    chat["choices"][0]["message"]["reasoning_content"] = "the walrus told me"
    call = trace(json.dumps(chat).encode())
    call.call.provider_request = b'{"messages":[{"role":"system","content":"walrus"}]}'
    for write in (trace_v3.session, trace_v3.compact):
        text = json.dumps(write("roll-1", [call]))
        assert "walrus" not in text
        assert "cand_1" not in text
        assert "walrus" in json.dumps(write("roll-1", [call], view=View.PROVIDER))


def test_a_stream_is_read_as_the_message_that_it_adds_up_to():
    body = stream(
        delta({"role": "assistant", "content": "car"}),
        delta({"content": "d"}),
        delta({"content": "other"}, index=1),
        delta({"tool_calls": [{"index": 0, "id": "t1", "type": "function",
                               "function": {"name": "sort", "arguments": '{"a"'}}]}),
        delta({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        delta({}, reason="tool_calls"),
        delta({}, index=1, reason="stop"),
        {"choices": [], "usage": USAGE},
    )  # fmt: skip
    answer = trace_replies.answered(body, stream=True)
    assert answer.text == "card"
    assert answer.messages[1]["content"] == "other"
    assert answer.tool_calls == [
        {"id": "t1", "type": "function", "function": {"name": "sort", "arguments": '{"a":1}'}}
    ]
    assert list(answer.finish_reasons) == ["tool_calls", "stop"]
    assert answer.usage == USAGE


RESPONSE = {
    "id": "resp_1",
    "status": "completed",
    "instructions": "walrus",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "card"}]},
        {"type": "function_call", "call_id": "t1", "name": "sort", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9},
}  # fmt: skip
RESPONSES_REQUEST = {
    "model": "m",
    "instructions": "Sort it.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "t0", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t0", "output": "seen"},
    ],
}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_of_the_responses_api_reads_as_a_conversation(streamed):
    ends = {"type": "response.completed", "response": RESPONSE}
    begins = {"type": "response.created", "response": {"id": "resp_1", "output": []}}
    body = stream(begins, ends) if streamed else json.dumps(RESPONSE).encode()
    call = trace(
        body,
        api="responses",
        request=RESPONSES_REQUEST,
        content_type="text/event-stream" if streamed else "application/json",
    )
    document = trace_v3.session("roll-1", [call])
    record = document["event_history"][0]["call_records"][0]
    roles = [message["role"] for message in record["input_messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert record["output_text"] == "card"
    assert record["output_tool_calls"][0]["function"]["name"] == "sort"
    assert (record["usage"]["prompt_tokens"], record["usage"]["completion_tokens"]) == (7, 2)
    assert [one["content"] for one in record["tool_results"]] == ["seen"]
    assert "walrus" not in json.dumps(document)


def test_completions_and_embeddings_are_read_too():
    reply = {"choices": [{"index": 0, "text": " card", "finish_reason": "stop"}]}
    asked = {"model": "m", "prompt": "say"}
    call = trace(json.dumps(reply).encode(), api="completions", request=asked)
    record = trace_v3.session("r", [call])["event_history"][0]["call_records"][0]
    assert record["input_messages"] == [{"role": "user", "content": "say"}]
    assert record["output_text"] == " card"
    texts = {"model": "m", "input": ["a", "b"]}
    call = trace(b'{"data":[{"embedding":[0.1]}]}', api="embeddings", request=texts)
    record = trace_v3.session("r", [call])["event_history"][0]["call_records"][0]
    assert [one["content"] for one in record["input_messages"]] == ["a", "b"]
    assert record["output_messages"] == []


def test_a_failed_call_is_an_event_with_its_reason():
    failed = trace(b'{"error":{"message":"walrus"}}', status=429)
    failed.ClearField("usage")
    lost = trace(failure=rollout_pb2.Failure(reason="UPSTREAM_CLOSED", message="gone"))
    left = trace()
    left.ClearField("reply")
    document = trace_v3.session("roll-1", [failed, lost, left])
    records = [event["call_records"][0] for event in document["event_history"]]
    assert [one["outcome"] for one in records] == ["error", "error", "error"]
    assert records[2]["error"]["reason"] == "NO_ANSWER"
    assert records[0]["error"]["reason"] == "PROVIDER_STATUS_429"
    assert records[1]["error"] == {"reason": "UPSTREAM_CLOSED", "message": "gone"}
    assert records[0]["usage"]["prompt_tokens"] is None
    assert "walrus" not in json.dumps(document)
    assert trace_v3.compact("r", [lost])["event_history"][0]["llm_response"]["error"]


def test_a_rollout_without_calls_is_an_empty_session():
    document = trace_v3.session("roll-1", [])
    assert document["event_history"] == []
    assert document["created_at"] is None


APIS = st.sampled_from(["", "chat_completions", "responses", "completions", "embeddings"])
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["messages", "choices", "index", "delta", "message", "content", "tool_calls", "usage",
             "function", "arguments", "output", "input", "prompt", "type", "text", "role",
             "response", "status", "finish_reason", "incomplete_details", "id", "instructions"]
        ),
        inner, max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=400)
@given(request=JSONS, reply=JSONS, api=APIS, streamed=st.booleans())
def test_whatever_went_over_the_wire_makes_a_document(request, reply, api, streamed):
    call = trace(
        stream(reply) if streamed else json.dumps(reply).encode(),
        api=api,
        content_type="text/event-stream" if streamed else "application/json",
    )
    call.call.app_request = json.dumps(request).encode()
    assert json.dumps(trace_v3.session("r", [call]))
    assert json.dumps(trace_v3.compact("r", [call], view=View.PROVIDER))


@given(body=st.binary(max_size=60) | st.just(b"[" * 100_000), api=APIS, streamed=st.booleans())
def test_bytes_that_are_no_json_make_a_document_too(body, api, streamed):
    kind = "text/event-stream" if streamed else "application/json"
    call = trace(body, api=api, content_type=kind)
    call.call.app_request = body
    assert json.dumps(trace_v3.session("r", [call]))

"""What an app is given: rebuilt bodies, events and errors."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_interceptor import app_error
from burnish_interceptor.dialects import PARSERS, Shown, chat_reply, chat_usual, sse
from burnish_interceptor.dialects.allow import NotAnAnswer
from burnish_interceptor.dialects.chat_reply import ChatStream
from burnish_interceptor.dialects.usage import UsageRule
from burnish_interceptor.routes import Tail
from burnish_interceptor.testing import completion, events

CANARY = "the walrus decides"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "usage", "choices", "message", "object", "system_fingerprint",
                         "service_tier", "prompt", "prompt_logprobs", "model", "reasoning"]),
        inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


EXACT = UsageRule()


def rebuilt(body: bytes) -> bytes:
    request = PARSERS[Tail.CHAT](b'{"messages":[{"role":"user","content":"a"}]}')
    return request.answer(body, Shown(model="m"))[0]


FIELDS = st.sampled_from(
    ["id", "model", "prompt", "usage", "x", "service_tier", "system_fingerprint", "created"]
)


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_no_field_outside_the_answer_carries_text_of_the_provider(extra):
    body = json.loads(completion()) | extra
    shown = rebuilt(json.dumps(body).encode())
    assert CANARY.encode() not in shown
    assert json.loads(shown)["choices"][0]["message"]["content"] == "card_arrival"


USUAL = {
    "id": st.sampled_from(["chatcmpl-1", "", 7, None, CANARY]),
    "object": st.sampled_from(["chat.completion", "other", None]),
    "created": st.sampled_from([0, 1_700_000_000, -1, 1.5, "1", None]),
    "model": st.sampled_from(["gpt", None, 5]),
    "system_fingerprint": st.sampled_from(["fp_1", "", None, CANARY, 3]),
    "service_tier": st.sampled_from(["default", "odd", None]),
    "extra": JSON,
}
MESSAGE = {
    "role": st.sampled_from(["assistant", "user", None]),
    "content": st.sampled_from(["a", "", "\u00e9\n", None, ["a"]]),
    "refusal": st.sampled_from([None, "no"]),
    "tool_calls": st.sampled_from([None, [], [{"id": "c", "type": "function"}]]),
    "function_call": st.sampled_from([None, {"name": "f", "arguments": "{}"}]),
    "annotations": st.sampled_from([None, [], [{"type": "url_citation"}]]),
    "reasoning": st.just(CANARY),
}
COUNT = st.sampled_from([0, 7, 10**9, 10**9 + 1, -1, 1.0, "3", None, True])
USAGE = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT,
        "prompt_tokens_details": st.sampled_from([None, {}, {"cached_tokens": 4, "x": 1}, [1]]),
        "completion_tokens_details": st.sampled_from([None, {"reasoning_tokens": 2}, {"x": "y"}]),
        "x": st.just(CANARY),
    },
)  # fmt: skip


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v not in (None, [], {})}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=400)
@given(
    st.fixed_dictionaries({}, optional={**USUAL, "usage": USAGE}),
    st.fixed_dictionaries({}, optional=MESSAGE),
    st.fixed_dictionaries(
        {},
        optional={"index": st.sampled_from([0, 1, None]),
                  "finish_reason": st.sampled_from(["stop", "length", "odd", None]),
                  "logprobs": st.sampled_from([None, {"content": None}])},
    ),
)  # fmt: skip
def test_the_short_path_shows_what_the_rules_show(body, message, choice):
    usual = {"id": "c", "object": "chat.completion", "created": 1, "usage": {
        "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip
    choice = {"index": 0, "finish_reason": "stop", **choice}
    choice["message"] = {"role": "assistant", "content": "a", **message}
    raw = json.dumps({**usual, **body, "choices": [choice]}).encode()
    short = chat_usual.completion(raw, model="m")
    if short is None:
        return
    shown, told = chat_reply.completion(raw, model="m", usage=EXACT)
    assert CANARY.encode() not in short[0]
    assert without_nulls(json.loads(short[0])) == without_nulls(json.loads(shown))
    assert short[1] == told


def test_an_answer_that_is_nested_beyond_reason_is_none_and_no_fault_of_ours():
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b","
    body = completion().replace(b"{", deep, 1)
    with pytest.raises(NotAnAnswer):
        rebuilt(body)
    stream = ChatStream(model="m", choices=1, usage=None)
    pieces = events().split(b"\n\n")
    stream.feed(b"\n\n".join(pieces[:2]) + b"\n\n")
    assert not stream.failed
    stream.feed(b"data: " + body + b"\n\n")
    assert stream.failed


def test_an_answer_that_is_no_utf_8_is_none_and_no_fault_of_ours():
    body = completion().replace(b"card_arrival", b"card_\xffarrival")
    with pytest.raises(NotAnAnswer):
        rebuilt(body)
    stream = ChatStream(model="m", choices=1, usage=None)
    pieces = events().split(b"\n\n")
    assert stream.feed(b"\n\n".join(pieces[:2]) + b"\n\n")
    text = b'{"choices":[{"index":0,"delta":{"content":"\xff"},"finish_reason":null}]}'
    assert stream.feed(sse.encode(text)) == b""
    assert stream.failed


def test_reasoning_is_left_out_and_the_rest_of_a_message_stays():
    message = {
        "role": "assistant", "content": "a", "reasoning": CANARY, "reasoning_content": CANARY,
        "refusal": None, "annotations": [CANARY],
        "tool_calls": [{"id": "c", "type": "function", "x": CANARY,
                        "function": {"name": "f", "arguments": "{}"}}],
    }  # fmt: skip
    body = completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    shown = json.loads(rebuilt(body))["choices"][0]
    assert shown == {
        "index": 0,
        "message": {
            "role": "assistant", "content": "a", "refusal": None, "annotations": [],
            "tool_calls": [{"id": "c", "type": "function",
                            "function": {"name": "f", "arguments": "{}"}}],
        },
        "finish_reason": "tool_calls",
    }  # fmt: skip


def test_logprobs_stay():
    token = {"token": "a", "logprob": -0.5, "bytes": [97]}
    logprobs = {"content": [{**token, "top_logprobs": [token]}], "refusal": None}
    message = {"role": "assistant", "content": "a"}
    body = completion(choices=[{"index": 0, "message": message, "logprobs": logprobs}])
    assert json.loads(rebuilt(body))["choices"][0]["logprobs"] == logprobs


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":{}}', b"null"])
def test_a_reply_that_is_no_answer_is_refused(body):
    with pytest.raises(NotAnAnswer):
        rebuilt(body)


def shown_of(stream, *, pieces, usage=False) -> Any:
    answer = ChatStream(model="m", choices=1, usage=EXACT if usage else None)
    out = b"".join(answer.feed(piece) for piece in pieces)
    return answer, out + (answer.rest() if answer.complete else b"")


def test_a_stream_is_the_same_wherever_it_is_cut():
    whole = events()
    _, expected = shown_of(whole, pieces=[whole])
    assert expected.endswith(b"data: [DONE]\n\n")
    for cut in range(1, len(whole)):
        answer, out = shown_of(whole, pieces=[whole[:cut], whole[cut:]])
        assert out == expected
        assert answer.usage == (11, 3)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_every_line_break_of_the_standard_is_understood(newline):
    stream = events().replace(b"\n", newline)
    pieces = [stream[i : i + 1] for i in range(len(stream))]
    _, out = shown_of(stream, pieces=pieces)
    assert out == shown_of(events(), pieces=[events()])[1]


def test_comments_fields_and_data_on_several_lines():
    stream = b'\xef\xbb\xbf: ping\n\nevent: x\nid: 1\ndata: {"a":\ndata:1}\n\n'
    assert sse.parse(stream) == [b'{"a":\n1}']


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_stream_ends_without_an_exception_and_shows_no_foreign_text(pieces):
    answer = ChatStream(model="m", choices=1, usage=None)
    shown = b"".join(answer.feed(piece) for piece in pieces)
    assert all(event.startswith(b"{") for event in sse.parse(shown))


def test_nothing_of_the_end_is_shown_before_the_rest():
    answer = ChatStream(model="m", choices=1, usage=EXACT)
    early = answer.feed(events())
    assert b'"finish_reason":"stop"' not in early
    assert b"[DONE]" not in early
    assert b"usage" not in early
    assert answer.rest().count(b"data: ") == 3


def test_with_two_choices_the_end_begins_when_both_have_finished():
    def event(index, reason) -> Any:
        choice = {"index": index, "delta": {}, "finish_reason": reason}
        return sse.encode(json.dumps({"choices": [choice]}).encode())

    answer = ChatStream(model="m", choices=2, usage=None)
    assert answer.feed(event(0, "stop")) != b""
    assert not answer.complete
    assert answer.feed(event(1, "stop")) == b""
    assert answer.complete


@pytest.mark.parametrize(
    "event", [b'{"error":{"message":"the walrus decides"}}', b"nonsense", b"[]"]
)
def test_an_error_in_a_stream_fails_it_and_is_not_shown(event):
    answer = ChatStream(model="m", choices=1, usage=None)
    assert answer.feed(sse.encode(event)) == b""
    assert answer.failed
    assert not answer.complete


@given(
    st.integers(300, 599),
    st.dictionaries(st.sampled_from(["retry-after", "x-should-retry", "set-cookie", "server"]),
                    st.just(CANARY) | st.sampled_from(["5", "true", "1.5"])),
)  # fmt: skip
def test_an_error_is_told_in_our_words(status, headers):
    error = app_error.from_provider(status, headers, CANARY)
    assert CANARY.encode() not in error.body("req_1")
    assert CANARY not in str(dict(error.headers))
    assert error.status == (status if status >= 400 else 502)
    assert set(error.headers) <= {"retry-after", "retry-after-ms", "x-should-retry"}


def test_a_used_up_quota_is_not_tried_again_and_a_busy_provider_is():
    quota = app_error.from_provider(429, {"retry-after": "5"}, "insufficient_quota")
    assert dict(quota.headers) == {"retry-after": "5", "x-should-retry": "false"}
    busy = app_error.from_provider(429, {"retry-after-ms": "50"}, "rate_limit_exceeded")
    assert dict(busy.headers) == {"retry-after-ms": "50"}
    told = app_error.from_provider(500, {"x-should-retry": "true"}, None)
    assert dict(told.headers) == {"x-should-retry": "true"}


def test_call_ids_come_back_as_they_were_unless_they_could_hold_a_text():
    def shown(call_id: str) -> Any:
        call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        body = completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
        return json.loads(rebuilt(body))["choices"][0]["message"]["tool_calls"][0]["id"]

    assert shown("call_abc-1.2:3") == "call_abc-1.2:3"
    assert shown(CANARY).startswith("call_")
    assert shown(CANARY) == shown(CANARY)
    assert shown("x" * 65) != "x" * 65

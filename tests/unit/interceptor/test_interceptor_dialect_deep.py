"""JSON that is nested deeper than it can be written: served, or refused in words, but no fault."""

import json
from typing import Any

import pytest

from burnish_interceptor.dialects import PARSERS, AppRequest, BadRequest, Forced, Shown, splice, sse
from burnish_interceptor.dialects.allow import NotAnAnswer, hashed, parsed
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.gemini.dialect import GeminiRequest
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.prompts.edit import NO_EDIT, PromptEdit
from burnish_interceptor.routes import Tail
from burnish_interceptor.testing import completion, events, replies

DEPTHS = (100, 248, 253, 254, 255, 500, 1000, 1015)
FORCED = Forced(Model(provider="openai", name="m"))
GOOGLE = Forced(Model(provider="google", name="gemini-3-pro"))
EDIT = PromptEdit(system="s", texts={1: "new"}, demos=(b'{"role":"user","content":"d"}',))
MARK = "@@"
CALL: Any = {
    "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "x": {"y": 1}
}  # fmt: skip
CHAT: Any = {
    "model": "m", "stream": True, "stream_options": {"include_usage": False},
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "u"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "{}"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    "tool_choice": "auto", "stop": ["x"], "metadata": {"a": "b"},
}  # fmt: skip
RESPONSES: Any = {
    "model": "m", "stream": True, "metadata": {"a": "b"}, "tools": [{"type": "function"}],
    "text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"}, "instructions": "i",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "u"}]},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
    ],
}  # fmt: skip
LEGACY: Any = {
    "model": "m", "prompt": "p", "stream": True, "stream_options": {"a": 1}, "stop": ["x"],
}  # fmt: skip
EMBEDDINGS: Any = {"model": "m", "input": ["p"], "user": "u"}
ASKED = {
    Tail.CHAT: CHAT, Tail.RESPONSES: RESPONSES, Tail.COMPLETIONS: LEGACY,
    Tail.EMBEDDINGS: EMBEDDINGS,
}  # fmt: skip
LAST = {
    Tail.CHAT: completion(), Tail.COMPLETIONS: json.dumps(replies.legacy_completion()).encode(),
    Tail.RESPONSES: json.dumps(replies.response()).encode(),
    Tail.EMBEDDINGS: json.dumps(replies.embeddings()).encode(),
}  # fmt: skip
EVENTS = {
    Tail.CHAT: events(), Tail.COMPLETIONS: replies.legacy_events(),
    Tail.RESPONSES: replies.response_events(),
}  # fmt: skip
SAID: Any = {
    "responseId": "r", "usageMetadata": {"promptTokenCount": 1},
    "candidates": [
        {
            "index": 0, "finishReason": "STOP",
            "content": {"parts": [{"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}]},
            "logprobsResult": {"chosenCandidates": [{"token": "a", "logProbability": -1}]},
        }
    ],
}  # fmt: skip


def deep(depth: int) -> list[bytes]:
    return [b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth]


def asked(tail: Tail) -> AppRequest:
    return PARSERS[tail](json.dumps(ASKED[tail]).encode())


def gemini() -> AppRequest:
    return GeminiRequest(ChatRequest(json.dumps(CHAT).encode()), "gemini-2.5-flash")


def everywhere(value: Any) -> list[Any]:
    """Returns a value with the mark in place of each of its parts in turn, and beside them."""
    found: list[Any] = [MARK]
    if isinstance(value, dict):
        found += [{**value, "zz": MARK}]
        found += [{**value, k: one} for k, inner in value.items() for one in everywhere(inner)]
    if isinstance(value, list):
        found += [[*value, MARK]]
        for place, inner in enumerate(value):
            found += [[*value[:place], one, *value[place + 1 :]] for one in everywhere(inner)]
    return found


def marked(value: Any, depth: int) -> list[bytes]:
    whole = [json.dumps(one).encode() for one in everywhere(value)[1:]]
    return [raw.replace(b'"@@"', put) for raw in whole for put in deep(depth)]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("tail", ASKED)
def test_a_call_of_any_depth_is_served_whole_or_refused(tail, depth):
    served = 0
    for raw in marked(ASKED[tail], depth):
        for edit in (NO_EDIT, EDIT):
            try:
                request = PARSERS[tail](raw)
                request.rewritten(edit, FORCED)
            except BadRequest:
                continue
            answer, _ = request.answer(LAST[tail], Shown(model="m"))
            assert answer.startswith(b"{")
            if tail in EVENTS:
                told = request.events(Shown(model="m"))
                assert told.feed(EVENTS[tail])
                assert told.complete
            served += 1
    assert served > 2


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_call_of_any_depth_is_translated_or_refused(depth):
    served = 0
    for raw in marked(CHAT, depth):
        for edit in (NO_EDIT, EDIT):
            try:
                chat = ChatRequest(raw)
                chat.rewritten(edit, GOOGLE)
                GeminiRequest(chat, "gemini-3-pro").rewritten(edit, GOOGLE)
            except BadRequest:
                continue
            served += 1
    assert served


def test_arguments_of_any_depth_are_translated_or_refused():
    for depth in DEPTHS:
        call = {**CALL, "function": {"name": "f", "arguments": deep(depth)[1].decode()}}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        raw = json.dumps({"messages": [{"role": "user", "content": "u"}, said]}).encode()
        request = GeminiRequest(ChatRequest(raw), "gemini-2.5-flash")
        if depth < 200:
            assert deep(depth)[1] in request.rewritten(NO_EDIT, GOOGLE).body
        elif depth >= 255:
            with pytest.raises(BadRequest, match="nested too deeply"):
                request.rewritten(NO_EDIT, GOOGLE)


def test_options_that_are_nested_too_deeply_are_refused_in_words():
    raw = json.dumps({**CHAT, "stream_options": {"a": MARK}}).encode()
    request: AppRequest = ChatRequest(raw.replace(b'"@@"', deep(500)[0]))
    with pytest.raises(BadRequest, match="`stream_options` is nested too deeply"):
        request.rewritten(NO_EDIT, FORCED)


def test_what_an_answer_would_repeat_is_refused_before_it_is_paid_for():
    raw = json.dumps({**RESPONSES, "metadata": {"a": MARK}}).encode()
    with pytest.raises(BadRequest, match="nested too deeply"):
        PARSERS[Tail.RESPONSES](raw.replace(b'"@@"', deep(500)[0]))


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_values_are_found_where_they_stand(depth):
    for value in deep(depth):
        text = b'{"a":1,"deep" : %b , "list":[%b, 2],"z":3}' % (value, value)
        scan = splice.scan(text, parsed(text), listed="list")
        assert text[slice(*scan.members["deep"][1:])] == value
        assert [text[start:end] for start, end in scan.items["list"]] == [value, b"2"]
        assert text[slice(*scan.members["z"][1:])] == b"3"


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_answer_of_any_depth_is_shown_or_none(depth):
    given = [(asked(tail), json.loads(LAST[tail])) for tail in ASKED] + [(gemini(), SAID)]
    for request, reply in given:
        for raw in marked(reply, depth):
            try:
                shown, _ = request.answer(raw, Shown(model="m"))
            except NotAnAnswer:
                continue
            assert shown.startswith(b"{")


@pytest.mark.parametrize("depth", DEPTHS)
def test_events_of_any_depth_are_shown_or_fail_the_answer(depth):
    delta = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    item = {"type": "response.output_item.added", "output_index": 0,
            "item": {"id": "i", "type": "message", "role": "assistant", "content": []}}  # fmt: skip
    last = {"type": "response.completed", "response": replies.response()}
    chat, responses = asked(Tail.CHAT), asked(Tail.RESPONSES)
    for request, event in ((chat, delta), (responses, item), (responses, last), (gemini(), SAID)):
        for raw in marked(event, depth):
            answer = request.events(Shown(model="m"))
            shown = answer.feed(b"data: " + raw + b"\n\n")
            assert all(parsed(one) for one in sse.parse(shown))


def test_an_id_of_any_form_is_hashed_and_the_same_for_the_same():
    ids = [parsed(b'{"id":%b}' % one)["id"] for depth in DEPTHS for one in deep(depth)]
    for one in (*ids, None, 7, "c"):
        assert hashed("id_", one) == hashed("id_", one)
        assert len(hashed("id_", one)) == 27

"""No answer shows what a provider repeats, wherever it repeats it and wherever a stream is cut."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_interceptor.dialects import AppRequest, Shown, UsageMode, sse
from burnish_interceptor.dialects.allow import NotAnAnswer
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.completions import CompletionsRequest
from burnish_interceptor.dialects.embeddings import EmbeddingsRequest
from burnish_interceptor.dialects.gemini.dialect import GeminiRequest
from burnish_interceptor.dialects.responses import ResponsesRequest
from burnish_interceptor.testing import completion, events, replies
from burnish_interceptor.testing.canaries import Canaries
from burnish_interceptor.testing.hostile import poisoned, stream

SECRET = (
    'Weigh "verbs" over nouns; then let the wälrus of the seven seas decide upon all intents, '
    "for an egret without a parrot asks about transfers"
)
CANARIES = Canaries(SECRET, "wälrus", "parrot", "egret")
SHOWN = Shown("m")
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97]}
LOGPROBS = {"content": [{**TOKEN, "top_logprobs": [TOKEN]}], "refusal": None}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {
    "prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}  # fmt: skip


def dumps(**body: Any) -> bytes:
    return json.dumps(body).encode()


def asked(api: str, *, stream: bool = False) -> AppRequest:
    chat = dumps(
        model="m", stream=stream, stream_options={"include_usage": True} if stream else None,
        messages=[{"role": "user", "content": "where"}],
    )  # fmt: skip
    if api == "chat":
        return ChatRequest(chat)
    if api == "gemini":
        return GeminiRequest(ChatRequest(chat), "gemini-2.5-flash")
    if api == "responses":
        return ResponsesRequest(dumps(model="m", input="where", stream=stream))
    if api == "completions":
        options = {"include_usage": True} if stream else None
        body = dumps(model="m", prompt="where", stream=stream, stream_options=options)
        return CompletionsRequest(body)
    return EmbeddingsRequest(dumps(model="m", input=["where"]))


def rich_chat() -> Any:
    message = {
        "role": "assistant", "content": "card_arrival", "refusal": None, "annotations": [],
        "tool_calls": [CALL], "audio": {"id": "audio_1", "data": "aGk=", "expires_at": 1},
    }  # fmt: skip
    choice = {"index": 0, "message": message, "logprobs": LOGPROBS, "finish_reason": "stop"}
    fields: Any = {"system_fingerprint": "fp_1", "service_tier": "default", "usage": USAGE}
    return json.loads(completion(**fields, choices=[choice]))


def plain_chat() -> Any:
    fields: Any = {"system_fingerprint": "fp_1", "service_tier": "default", "usage": USAGE}
    return json.loads(completion(**fields))


TOOL_ITEMS = [
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"],
     "results": [{"text": "t"}]},
    {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1",
     "container_id": "c", "outputs": [{"type": "logs", "logs": "x"}]},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk=",
     "size": "8x8", "revised_prompt": "p"},
    {"type": "mcp_call", "id": "mcp_1", "status": "completed", "name": "f", "arguments": "{}",
     "server_label": "s", "output": "o", "error": "e"},
]  # fmt: skip


def rich_response() -> Any:
    reply = replies.response()
    message = reply["output"][1]
    message["content"][0]["logprobs"] = [{**TOKEN, "top_logprobs": [TOKEN]}]
    message["content"][0]["annotations"] = [
        {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "u", "title": "t"}
    ]
    call = {
        "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}",
        "status": "completed",
    }  # fmt: skip
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    reply["output"] += [call, search, *TOOL_ITEMS]
    echoes = {
        "instructions": "x", "metadata": {"a": "b"}, "tools": [{"type": "function"}],
        "text": {"format": {"type": "text"}}, "reasoning": {"summary": "s"}, "user": "u",
        "prompt": {"id": "p"}, "previous_response_id": "r", "service_tier": "default",
        "incomplete_details": {"reason": "max_output_tokens"}, "tool_choice": {"type": "x"},
    }  # fmt: skip
    return reply | echoes


def gemini_reply() -> Any:
    parts = [
        {"text": "card_arrival"},
        {"functionCall": {"id": "call_1", "name": "f", "args": {}}, "thoughtSignature": "s"},
    ]
    token = {"token": "a", "logProbability": -0.5}
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0,
                "safetyRatings": [{"category": "c", "probability": "p"}],
                "citationMetadata": {"citationSources": [{"uri": "u"}]},
                "logprobsResult": {
                    "chosenCandidates": [token], "topCandidates": [{"candidates": [token]}],
                },
            }
        ],
        "promptFeedback": {"safetyRatings": []}, "modelVersion": "v", "responseId": "r",
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 3},
    }  # fmt: skip


WHOLE = {
    "chat": plain_chat(),
    "chat-rich": rich_chat(),
    "responses": rich_response(),
    "completions": replies.legacy_completion(
        choices=[
            {
                "index": 0, "text": "card_arrival", "finish_reason": "stop",
                "logprobs": {"tokens": ["a"], "token_logprobs": [-0.5], "text_offset": [0],
                             "top_logprobs": [{"a": -0.5}]},
            }
        ]
    ),
    "embeddings": replies.embeddings(),
    "gemini": gemini_reply(),
}  # fmt: skip


def variants(reply: Any) -> Iterator[tuple[str, Any]]:
    yield from poisoned(reply, SECRET)
    yield from poisoned(reply, base64.b64encode(SECRET.encode()).decode())


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_answer_shows_nothing_that_is_repeated_in_it(kind):
    request = asked(kind.partition("-")[0])
    assert CANARIES.leaks(request.answer(json.dumps(WHOLE[kind]).encode(), SHOWN)[0]) == []
    count = answered = 0
    for where, reply in variants(WHOLE[kind]):
        count += 1
        try:
            shown, _ = request.answer(json.dumps(reply).encode(), SHOWN)
        except NotAnAnswer:
            continue
        answered += 1
        assert CANARIES.leaks(shown) == [], where
    assert answered > count / 2


def parsed(raw: bytes) -> list[Any]:
    return [json.loads(data) for data in sse.parse(raw) if data != sse.DONE]


def chat_events() -> list[Any]:
    found = parsed(events())
    delta = {"tool_calls": [{"index": 0, **CALL}]}
    found.insert(3, {**found[2], "choices": [{"index": 0, "delta": delta, "logprobs": LOGPROBS}]})
    return found


def response_events() -> list[Any]:
    found = parsed(replies.response_events(instructions="x", metadata={"a": "b"}))
    place = {"item_id": "fc_1", "output_index": 2}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
            "arguments": "{}", "status": "completed"}  # fmt: skip
    tools = [
        {"type": f"response.output_item.{step}", "output_index": 3 + index, "item": item}
        for index, item in enumerate(TOOL_ITEMS)
        for step in ("added", "done")
    ]
    more = [
        *tools,
        {"type": "response.image_generation_call.generating", "item_id": "ig_1", "output_index": 5},
        {"type": "response.output_item.added", "output_index": 2, "item": call},
        {"type": "response.function_call_arguments.delta", **place, "delta": "{}"},
        {"type": "response.function_call_arguments.done", **place, "arguments": "{}"},
        {"type": "response.output_item.done", "output_index": 2, "item": call},
        {"type": "response.reasoning_summary_text.delta", **place, "delta": SECRET},
        {"type": "response.unheard_of", "text": SECRET},
    ]
    return [*found[:-1], *more, found[-1]]


STREAMS: dict[str, tuple[list[Any], dict[str, bool]]] = {
    "chat": (chat_events(), {}),
    "responses": (response_events(), {"named": True, "done": False}),
    "completions": (parsed(replies.legacy_events()), {}),
    "gemini": ([gemini_reply()], {"done": False}),
}


def shown_of(request: AppRequest, pieces: list[bytes]) -> bytes:
    answer = request.events(SHOWN)
    out = b"".join(answer.feed(piece) for piece in pieces)
    return out + (answer.rest() if answer.complete else b"")


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_shows_nothing_that_is_repeated_in_it(kind):
    base, form = STREAMS[kind]
    request = asked(kind, stream=True)
    checked: set[bytes] = set()
    for place, event in enumerate(base):
        for where, poison in variants(event):
            raw = stream([*base[:place], poison, *base[place + 1 :]], **form)
            shown = shown_of(request, [raw])
            if shown not in checked:
                checked.add(shown)
                assert CANARIES.leaks(shown) == [], f"event {place} {where}"
    assert len(checked) > 1


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_shows_the_same_wherever_it_is_cut(kind):
    base, form = STREAMS[kind]
    request = asked(kind, stream=True)
    noise = f": {SECRET}\n\nid: {SECRET}\nretry: {SECRET}\nevent: {SECRET}\n".encode()
    poison = [{**event, "x_debug": SECRET} for event in base]
    raw = noise + stream(poison, **form)
    whole = shown_of(request, [raw])
    assert CANARIES.leaks(whole) == []
    assert b"arrival" in whole
    assert shown_of(request, [raw[i : i + 1] for i in range(len(raw))]) == whole
    for cut in range(1, len(raw)):
        assert shown_of(request, [raw[:cut], raw[cut:]]) == whole, cut


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize(
    "event",
    [{"error": {"message": SECRET, "code": SECRET}}, {"type": "error", "message": SECRET},
     {"type": "response.failed", "response": {"error": {"message": SECRET}}}, {"error": SECRET},
     SECRET, [SECRET]],
)  # fmt: skip
def test_an_error_in_a_stream_is_never_shown(kind, event):
    base, form = STREAMS[kind]
    raw = stream([*base[:1], event, *base[1:]], **form)
    for cut in range(1, len(raw), 7):
        assert CANARIES.leaks(shown_of(asked(kind, stream=True), [raw[:cut], raw[cut:]])) == []


def test_the_search_finds_every_form():
    for found in (
        SECRET.encode(), SECRET.encode().hex().encode(), base64.b64encode(b"xx" + SECRET.encode()),
        json.dumps(SECRET).encode(), SECRET.replace(" ", "\\n").encode(),
        " ".join(SECRET.split()[3:17]).upper().encode(), b"W\\u00e4lrus", b"%70%61%72%72%6f%74",
        base64.b32encode(SECRET.encode()), SECRET.replace(" ", "+").encode(),
    ):  # fmt: skip
        assert CANARIES.leaks(found), found
    assert CANARIES.leaks(b"nothing of the kind, only words of the seven seas") == []
    split = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\npar\r\n3\r\nrot\r\n0\r\n\r\n"
    )
    assert CANARIES.leaks(split)


@pytest.mark.parametrize("api", ["chat", "responses", "completions", "gemini"])
def test_usage_that_is_the_apps_alone_says_nothing_of_the_candidate(api):
    def told(count: int) -> Any:
        reply = json.loads(json.dumps(WHOLE[api]))
        names = {"gemini": ("usageMetadata", "promptTokenCount"), "responses": (
            "usage", "input_tokens")}  # fmt: skip
        outer, inner = names.get(api, ("usage", "prompt_tokens"))
        reply[outer][inner] = count
        body, _ = asked(api).answer(json.dumps(reply).encode(), Shown("m", UsageMode.APP_ONLY))
        return json.loads(body)["usage"]

    assert told(40) == told(2030)
    assert "cached" not in json.dumps(told(40))
    off, tokens = asked(api).answer(json.dumps(WHOLE[api]).encode(), Shown("m", UsageMode.OFF))
    assert not json.loads(off).get("usage")
    assert tokens == (11, 3)


NAMES = st.sampled_from(
    ["choices", "message", "delta", "content", "tool_calls", "function", "index", "type",
     "logprobs", "usage", "finish_reason", "output", "response", "item", "output_index", "part",
     "candidates", "parts", "text", "functionCall", "usageMetadata", "promptTokenCount",
     "finishReason", "status", "prompt_tokens", "prompt_tokens_details", "input_tokens",
     "promptFeedback", "blockReason", "logprobsResult", "chosenCandidates",
     "topCandidates", "token", "data", "embedding", "id"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["response.output_item.added", "response.output_text.delta", "response.completed", "message",
     "function_call", "output_text", "stop", "STOP", "text", ""]
)  # fmt: skip
NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**66) | st.floats(-1, 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(NONSENSE, st.sampled_from(["chat", "responses", "completions", "embeddings", "gemini"]))
def test_any_reply_is_an_answer_or_none_and_never_a_fault_of_ours(value, api):
    for reply in (value, {"choices": value}, {"output": value}, {"candidates": value}):
        try:
            shown, _ = asked(api).answer(json.dumps(reply).encode(), SHOWN)
        except NotAnAnswer:
            continue
        assert isinstance(json.loads(shown), dict)


@settings(max_examples=300, deadline=None)
@given(st.lists(NONSENSE, max_size=4), st.sampled_from(list(STREAMS)))
def test_any_events_make_a_stream_or_fail_it(values, kind):
    request = asked(kind, stream=True)
    for wrap in ("choices", "response", "candidates", None):
        found = [value if wrap is None else {wrap: value} for value in values]
        for data in sse.parse(shown_of(request, [stream(found)])):
            assert data == sse.DONE or isinstance(json.loads(data), dict)

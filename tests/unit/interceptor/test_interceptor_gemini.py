"""Chat completions made by `generateContent`: both ways, whole and in pieces."""

import json
import re
from typing import Any

import pytest
from google.genai import types

from burnish_interceptor.dialects import BadRequest, Forced, Shown
from burnish_interceptor.dialects.allow import NotAnAnswer
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.gemini.dialect import GeminiRequest
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.prompts.edit import NO_EDIT, PromptEdit

MODEL = Model(provider="google", name="gemini-2.5-flash", temperature=0.0)
SHOWN = Shown("m")
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
USAGE = {
    "promptTokenCount": 11, "candidatesTokenCount": 3, "thoughtsTokenCount": 5,
    "cachedContentTokenCount": 2, "totalTokenCount": 19,
}  # fmt: skip


def request(*messages: Any, model: str = MODEL.name, **more: Any) -> GeminiRequest:
    body = {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}
    return GeminiRequest(ChatRequest(json.dumps(body).encode()), model)


def sent(*messages: Any, edit: PromptEdit = NO_EDIT, model: str = MODEL.name, **more: Any) -> Any:
    outgoing = request(*messages, model=model, **more).rewritten(edit, Forced(MODEL))
    asked = json.loads(outgoing.body)
    types.GenerationConfig.model_validate(asked.get("generationConfig", {}))
    for content in asked["contents"]:
        types.Content.model_validate(content)
    return asked


def answered(*candidates: Any, ask: Any = None, **more: Any) -> Any:
    reply = {"candidates": list(candidates), "usageMetadata": USAGE, "responseId": "r", **more}
    body, used = (ask or request()).answer(json.dumps(reply).encode(), SHOWN)
    return json.loads(body), used


def candidate(*parts: Any, reason: str | None = "STOP", index: int = 0, **more: Any) -> Any:
    found = {"content": {"role": "model", "parts": list(parts)}, "index": index, **more}
    return found | ({"finishReason": reason} if reason else {})


def test_roles_and_the_system_text():
    asked = sent(
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "go"},
    )  # fmt: skip
    assert asked["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [(one["role"], one["parts"][0]["text"]) for one in asked["contents"]] == [
        ("user", "hi"), ("model", "yes?"), ("user", "go"),
    ]  # fmt: skip


def test_the_candidate_is_put_in_before_it_is_translated():
    demos = (b'{"role":"user","content":"q"}', b'{"role":"assistant","content":"a"}')
    asked = sent(
        {"role": "system", "content": "old"}, {"role": "user", "content": "hi"},
        edit=PromptEdit(system="new", demos=demos, demos_before=1),
    )  # fmt: skip
    assert asked["systemInstruction"]["parts"] == [{"text": "new"}]
    assert [one["parts"][0]["text"] for one in asked["contents"]] == ["q", "a", "hi"]


def test_settings_have_googles_names_and_the_stages_win():
    config = sent(
        temperature=0.9, top_p=0.5, n=2, seed=7, stop="END", max_completion_tokens=9,
        presence_penalty=0.1, frequency_penalty=0.2, logprobs=True, top_logprobs=3,
        response_format={"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        reasoning_effort="low", user="u",
    )["generationConfig"]  # fmt: skip
    assert config == {
        "temperature": 0.0, "topP": 0.5, "candidateCount": 2, "seed": 7, "stopSequences": ["END"],
        "maxOutputTokens": 9, "presencePenalty": 0.1, "frequencyPenalty": 0.2,
        "responseLogprobs": True, "logprobs": 3, "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"}, "thinkingConfig": {"thinkingBudget": 1024},
    }  # fmt: skip


def test_a_model_of_the_third_generation_has_levels_of_thinking_and_unsigned_calls():
    asked = sent(
        {"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
        model="gemini-3-flash", reasoning_effort="high",
    )  # fmt: skip
    assert asked["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "high"}
    first, second = asked["contents"][1]["parts"]
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second


def test_tools_calls_and_results():
    tool = {
        "type": "function",
        "function": {"name": "look", "description": "d", "parameters": {"type": "object"}},
    }
    asked = sent(
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "let me see", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"found":2}'},
        {"role": "tool", "tool_call_id": "call_1", "content": "plain"},
        tools=[tool], tool_choice={"type": "function", "function": {"name": "look"}},
    )  # fmt: skip
    assert asked["tools"] == [
        {"functionDeclarations": [
            {"name": "look", "description": "d", "parametersJsonSchema": {"type": "object"}}
        ]}
    ]  # fmt: skip
    assert asked["toolConfig"]["functionCallingConfig"] == {
        "mode": "ANY", "allowedFunctionNames": ["look"],
    }  # fmt: skip
    said, call = asked["contents"][1]["parts"]
    assert (said["text"], call["functionCall"]) == (
        "let me see", {"id": "call_1", "name": "look", "args": {"a": 1}},
    )  # fmt: skip
    results = [part["functionResponse"] for part in asked["contents"][2]["parts"]]
    assert [(one["name"], one["response"]) for one in results] == [
        ("look", {"found": 2}), ("look", {"output": "plain"}),
    ]  # fmt: skip


def test_images_files_and_sounds():
    url = "data:image/png;base64,aGk="
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png?b"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}},
    ]
    found = sent({"role": "user", "content": parts})["contents"][0]["parts"]
    assert found == [
        {"text": "see"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"fileData": {"fileUri": "https://x.test/a.png?b", "mimeType": "image/png"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "aGk="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
    ]


@pytest.mark.parametrize(
    "more",
    [{"logit_bias": {"1": 2}}, {"functions": [{}]}, {"audio": {"voice": "x"}},
     {"tools": [{"type": "custom", "custom": {}}]}, {"tool_choice": {"type": "allowed_tools"}},
     {"messages": [{"role": "user", "content": [{"type": "video"}]}]}],
)  # fmt: skip
def test_what_cannot_be_said_is_refused(more):
    with pytest.raises(BadRequest):
        sent(**more)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"tools": 5}, "tools"),
        ({"tool_choice": {"function": "f"}}, "tool_choice.function"),
        ({"response_format": {"type": "json_schema", "json_schema": [1]}},
         "response_format.json_schema"),
        ({"messages": [{"role": "assistant", "tool_calls": {"id": "c"}}]}, "tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [None, "c"]}]}, "tool_calls[1]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": "f"}]}]},
         "tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": ["c"]}]}]}, "tool_calls[0].id"),
        ({"messages": [{"role": "tool", "tool_call_id": {}, "content": "x"}]}, "tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": 1}]}]},
         "input_audio"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": "x"}]}]}, "file"),
    ],
)  # fmt: skip
def test_what_has_the_wrong_type_is_refused_by_its_place(more, place):
    with pytest.raises(BadRequest, match=re.escape(f"`{place}` has the wrong type")):
        sent(**more)


def test_the_path_names_model_and_verb_and_nothing_else_can():
    assert request().path == "/models/gemini-2.5-flash:generateContent"
    assert request(stream=True).path.endswith(":streamGenerateContent?alt=sse")
    assert request(model="models/../x?y").path == "/models/..%2Fx%3Fy:generateContent"


def test_an_answer_its_thoughts_left_out_and_its_usage():
    shown, used = answered(candidate({"text": "secret", "thought": True}, {"text": "card"}))
    assert shown["choices"][0]["message"] == {"role": "assistant", "content": "card"}
    assert shown["choices"][0]["finish_reason"] == "stop"
    assert used == (11, 8)
    assert shown["usage"] == {
        "prompt_tokens": 11, "completion_tokens": 8, "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }  # fmt: skip


def test_function_calls_of_an_answer():
    call = {"functionCall": {"name": "look", "args": {"a": 1}}, "thoughtSignature": "secret"}
    shown, _ = answered(candidate(call, call))
    choice = shown["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert [one["function"] for one in calls] == [{"name": "look", "arguments": '{"a":1}'}] * 2
    assert len({one["id"] for one in calls}) == 2
    assert "secret" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("reason", "told"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"),
     ("RECITATION", "content_filter"), ("SPII", "content_filter"), ("OTHER", "stop")],
)  # fmt: skip
def test_why_an_answer_ends(reason, told):
    shown, _ = answered(candidate({"text": "x"}, reason=reason))
    assert shown["choices"][0]["finish_reason"] == told


def test_several_answers_and_their_logprobs():
    token = {"token": "é", "logProbability": -0.5}
    result = {"chosenCandidates": [token], "topCandidates": [{"candidates": [token]}]}
    shown, _ = answered(
        candidate({"text": "a"}, logprobsResult=result), candidate({"text": "b"}, index=1)
    )
    assert [one["message"]["content"] for one in shown["choices"]] == ["a", "b"]
    told = shown["choices"][0]["logprobs"]["content"][0]
    assert (told["token"], told["logprob"], told["bytes"]) == ("é", -0.5, [195, 169])
    assert told["top_logprobs"][0]["token"] == "é"


def test_a_blocked_prompt_is_a_filtered_answer():
    shown, used = answered(promptFeedback={"blockReason": "SAFETY", "blockReasonMessage": "secret"})
    choice = shown["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "")
    assert "secret" not in json.dumps(shown)
    assert used == (11, 8)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"candidates":[]}'])
def test_a_reply_that_is_no_answer_is_refused(body):
    with pytest.raises(NotAnAnswer):
        request().answer(body, SHOWN)


def stream(*pieces: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(piece).encode() + b"\r\n\r\n" for piece in pieces)


def piece(*candidates: Any, **more: Any) -> Any:
    return {"candidates": list(candidates), "responseId": "r", "usageMetadata": USAGE, **more}


def shown_of(raw: bytes, *, cut: int, **more: Any) -> Any:
    answer = request(stream=True, **more).events(SHOWN)
    out = b"".join(answer.feed(raw[i : i + cut]) for i in range(0, len(raw), cut))
    events = (out + (answer.rest() if answer.complete else b"")).split(b"\n\n")
    return answer, [one.removeprefix(b"data: ") for one in events if one]


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_a_stream_of_pieces(cut):
    raw = stream(
        piece(candidate({"text": "secret", "thought": True}, reason=None)),
        piece(candidate({"text": "card"}, reason=None)),
        piece(candidate({"text": "_arrival"})),
    )
    answer, events = shown_of(raw, cut=cut, stream_options={"include_usage": True})
    assert answer.complete
    assert answer.usage == (11, 8)
    assert events[-1] == b"[DONE]"
    *chunks, usage = [json.loads(one) for one in events[:-1]]
    deltas = [one["choices"][0]["delta"] for one in chunks]
    assert deltas[0]["role"] == "assistant"
    assert "".join(one.get("content", "") for one in deltas) == "card_arrival"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 8
    assert b"secret" not in b"".join(events)


def test_a_stream_of_function_calls_counts_them():
    call = {"functionCall": {"name": "look", "args": {}}}
    raw = stream(piece(candidate(call, reason=None)), piece(candidate(call)))
    _, events = shown_of(raw, cut=64)
    calls = [
        one
        for event in events[:-1]
        for one in json.loads(event)["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert [one["index"] for one in calls] == [0, 1]
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_that_breaks_off_or_fails_is_not_whole():
    half = stream(piece(candidate({"text": "a"}, reason=None)))
    answer, _ = shown_of(half, cut=64)
    assert not answer.complete
    assert not answer.failed
    answer, _ = shown_of(half + stream({"error": {"code": 503, "message": "secret"}}), cut=64)
    assert answer.failed


def test_a_prompt_blocked_in_a_stream_ends_every_choice():
    answer, events = shown_of(stream({"promptFeedback": {"blockReason": "SAFETY"}}), cut=64, n=2)
    assert answer.complete
    told = json.loads(events[0])["choices"]
    assert [one["finish_reason"] for one in told] == ["content_filter"] * 2


def test_by_the_compatible_api_unsigned_calls_are_marked_for_models_that_want_it():
    said = {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}
    signed = {**said, "tool_calls": [{**CALL, "extra_content": {"google": {"a": 1}}}]}
    messages = [{"role": "user", "content": "hi"}, said, signed]
    chat = ChatRequest(json.dumps({"model": "m", "messages": messages}).encode())
    edit = PromptEdit(system="s", demos=(json.dumps(said).encode(),), demos_before=0)
    mark = {"google": {"thought_signature": "skip_thought_signature_validator"}}

    def calls(model: str) -> Any:
        forced = Forced(Model(provider="google", name=model))
        out = json.loads(chat.rewritten(edit, forced).body)["messages"]
        return [[call.get("extra_content") for call in one.get("tool_calls", [])] for one in out]

    assert calls("gemini-3-flash") == [[], [mark, None], [], [mark, None], [{"google": {"a": 1}}]]
    assert calls("models/gemini-2.5-flash") == [
        [], [None, None], [], [None, None], [{"google": {"a": 1}}],
    ]  # fmt: skip

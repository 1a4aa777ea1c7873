"""Tools, schemas, seeds and token counts, in every provider's own words over a real socket."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from burnish.errors import InvalidArgument
from burnish.testing.providers import FakeReply, FakeToolCall, fake_provider
from burnish_runtime.llm.anthropic import AnthropicProvider
from burnish_runtime.llm.base import (
    ChatMessage,
    CompletionRequest,
    JsonSchema,
    LlmProvider,
    ProviderAccess,
    TokenUsage,
    Tool,
    ToolCall,
)
from burnish_runtime.llm.google import GoogleProvider
from burnish_runtime.llm.groq import GroqProvider
from burnish_runtime.llm.openai import OpenAiApi, OpenAiProvider

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = Tool(name="count", description="Counts.", parameters=SCHEMA)
CALL = ToolCall(call_id="c1", name="count", arguments='{"n": 3}')
REQUEST = CompletionRequest(
    model="some-model",
    messages=(
        ChatMessage(role="system", content="be brief"),
        ChatMessage(role="user", content="how many"),
    ),
    max_output_tokens=50,
)
ANSWERED = (
    *REQUEST.messages,
    ChatMessage(role="assistant", content="", tool_calls=(CALL, replace(CALL, call_id="c2"))),
    ChatMessage(role="tool", content='{"found": 3}', tool_call_id="c1"),
    ChatMessage(role="tool", content="none", tool_call_id="c2"),
)


def openai(url: str) -> LlmProvider:
    return OpenAiProvider(ProviderAccess(api_key="k", base_url=f"{url}/v1"))


def responses(url: str) -> LlmProvider:
    access = ProviderAccess(api_key="k", base_url=f"{url}/v1")
    return OpenAiProvider(access, api=OpenAiApi.RESPONSES)


def groq(url: str) -> LlmProvider:
    return GroqProvider(ProviderAccess(api_key="k", base_url=url))


def google(url: str) -> LlmProvider:
    return GoogleProvider(ProviderAccess(api_key="k", base_url=url))


def anthropic(url: str) -> LlmProvider:
    pytest.importorskip("anthropic")
    return AnthropicProvider(ProviderAccess(api_key="k", base_url=url))


EVERY = pytest.mark.parametrize("opened", [openai, responses, groq, google, anthropic])


@dataclass
class Exchange:
    sent: Any
    headers: dict[str, str]
    got: Any


async def exchange(opened: Any, request: CompletionRequest, *, reply: FakeReply) -> Exchange:
    async with fake_provider(reply) as fake:
        provider = opened(fake.root)
        try:
            got = await provider.complete(request)
            assert provider.read(got.body) == got
            hashed = json.loads(provider.request_body(request))
        finally:
            await provider.close()
    sent = fake.heard[0].fields
    assert opened is google or sent == hashed, "what is hashed is what is sent"
    return Exchange(sent, fake.heard[0].headers, got)


@EVERY
async def test_calls_of_tools_come_out_alike(opened):
    calls = (FakeToolCall(name="count", arguments='{"n": 3}'), FakeToolCall(name="stop"))
    request = replace(REQUEST, tools=(TOOL, Tool(name="stop")))
    seen = await exchange(opened, request, reply=FakeReply(text="", tool_calls=calls))
    assert [call.name for call in seen.got.tool_calls] == ["count", "stop"]
    assert [json.loads(call.arguments) for call in seen.got.tool_calls] == [{"n": 3}, {}]
    assert len({call.call_id for call in seen.got.tool_calls}) == 2
    assert json.loads(seen.got.text) == {"n": 3}


@EVERY
async def test_text_beside_calls_of_tools_is_the_text(opened):
    reply = FakeReply(text="one moment", tool_calls=(FakeToolCall(name="count"),))
    seen = await exchange(opened, replace(REQUEST, tools=(TOOL,)), reply=reply)
    assert seen.got.text == "one moment"
    assert len(seen.got.tool_calls) == 1


@EVERY
async def test_parts_of_the_tokens_are_told_as_parts(opened):
    reply = FakeReply(
        input_tokens=100, output_tokens=40, cached_input_tokens=64, reasoning_tokens=30
    )
    seen = await exchange(opened, REQUEST, reply=reply)
    assert seen.got.usage == TokenUsage(
        input_tokens=100, output_tokens=40, cached_input_tokens=64, reasoning_tokens=30
    )


@EVERY
async def test_nothing_compressed_is_asked_for(opened):
    seen = await exchange(opened, REQUEST, reply=FakeReply())
    assert seen.headers["accept-encoding"] == "identity"


@EVERY
@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        (FakeReply(), {"stop", "end_turn"}),
        (FakeReply(finish_reason="length"), {"length", "max_tokens"}),
    ],
)
async def test_how_it_ended_is_told(opened, reply, reasons):
    assert (await exchange(opened, REQUEST, reply=reply)).got.finish_reason in reasons


CHAT_TOOL = {"name": "count", "description": "Counts.", "parameters": SCHEMA}
DECLARED = {"name": "count", "description": "Counts.", "parametersJsonSchema": SCHEMA}
TOOLS: dict[Any, Any] = {
    openai: [{"type": "function", "function": CHAT_TOOL}],
    groq: [{"type": "function", "function": CHAT_TOOL}],
    responses: [{"type": "function", "strict": False, **CHAT_TOOL}],
    google: [{"functionDeclarations": [DECLARED]}],
    anthropic: [{"name": "count", "description": "Counts.", "input_schema": SCHEMA}],
}
FORCED = {"type": "function", "function": {"name": "count"}}
CHAT_CHOICES = {"auto": "auto", "none": "none", "required": "required", "count": FORCED}
CHOICES: dict[Any, Any] = {
    openai: CHAT_CHOICES,
    groq: CHAT_CHOICES,
    responses: {**CHAT_CHOICES, "count": {"type": "function", "name": "count"}},
    google: {
        "auto": {"mode": "AUTO"},
        "none": {"mode": "NONE"},
        "required": {"mode": "ANY"},
        "count": {"mode": "ANY", "allowedFunctionNames": ["count"]},
    },
    anthropic: {
        "auto": {"type": "auto"},
        "none": {"type": "none"},
        "required": {"type": "any"},
        "count": {"type": "tool", "name": "count"},
    },
}


@EVERY
@pytest.mark.parametrize("choice", ["auto", "none", "required", "count"])
async def test_tools_and_the_choice_among_them_are_sent(opened, choice):
    request = replace(REQUEST, tools=(TOOL,), tool_choice=choice)
    sent = (await exchange(opened, request, reply=FakeReply())).sent
    # Google reads a member under either of its names, and its package writes both.
    named = json.dumps(sent["tools"]).replace("parameters_json_schema", "parametersJsonSchema")
    assert json.loads(named) == TOOLS[opened]
    chosen = sent["toolConfig"]["functionCallingConfig"] if opened is google else None
    assert (chosen or sent["tool_choice"]) == CHOICES[opened][choice]


@EVERY
async def test_a_schema_is_sent_as_the_provider_has_it(opened):
    shape = JsonSchema(name="answer", schema=SCHEMA)
    request = replace(REQUEST, json_schema=shape, json_mode=True)
    sent = (await exchange(opened, request, reply=FakeReply())).sent
    named = {"name": "answer", "schema": SCHEMA, "strict": True}
    if opened is google:
        assert sent["generationConfig"]["responseJsonSchema"] == SCHEMA
        assert sent["generationConfig"]["responseMimeType"] == "application/json"
    elif opened is anthropic:
        assert sent["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
        assert sent["system"] == "be brief"
    elif opened is responses:
        assert sent["text"] == {"format": {"type": "json_schema", **named}}
    else:
        assert sent["response_format"] == {"type": "json_schema", "json_schema": named}


@EVERY
async def test_a_seed_is_sent_where_the_provider_takes_one(opened):
    sent = (await exchange(opened, replace(REQUEST, seed=7), reply=FakeReply())).sent
    if opened in (responses, anthropic):
        assert "seed" not in json.dumps(sent)
    else:
        assert (sent["generationConfig"] if opened is google else sent)["seed"] == 7


@EVERY
async def test_what_tools_answered_goes_back_with_their_calls(opened):
    request = replace(REQUEST, messages=ANSWERED, tools=(TOOL,))
    sent = (await exchange(opened, request, reply=FakeReply())).sent
    if opened is google:
        called = {"functionCall": {"name": "count", "args": {"n": 3}}}
        assert sent["contents"][1] == {"role": "model", "parts": [called, called]}
        first, second = (part["functionResponse"] for part in sent["contents"][2]["parts"])
        assert (first["response"], second["response"]) == ({"found": 3}, {"result": "none"})
        assert first["name"] == "count"
    elif opened is anthropic:
        blocks = sent["messages"][1]["content"]
        assert [block["id"] for block in blocks] == ["c1", "c2"]
        assert blocks[0]["input"] == {"n": 3}
        answers = sent["messages"][2]["content"]
        assert [one["tool_use_id"] for one in answers] == ["c1", "c2"]
        assert len(sent["messages"]) == 3
    elif opened is responses:
        assert [item.get("type") for item in sent["input"][2:]] == [
            *["function_call"] * 2,
            *["function_call_output"] * 2,
        ]
        assert sent["input"][4] == {
            "type": "function_call_output",
            "call_id": "c1",
            "output": '{"found": 3}',
        }
    else:
        assert [call["id"] for call in sent["messages"][2]["tool_calls"]] == ["c1", "c2"]
        assert sent["messages"][3] == {
            "role": "tool",
            "content": '{"found": 3}',
            "tool_call_id": "c1",
        }


async def test_google_s_mark_on_a_call_goes_back_as_it_came():
    marked = {"functionCall": {"name": "count", "args": {}}, "thoughtSignature": "AbC/+w=="}
    body = {"candidates": [{"content": {"role": "model", "parts": [marked]}}]}
    provider = GoogleProvider(ProviderAccess(api_key="k"))
    (call,) = provider.read(json.dumps(body).encode()).tool_calls
    back = (*REQUEST.messages, ChatMessage(role="assistant", content="", tool_calls=(call,)))
    sent = (await exchange(google, replace(REQUEST, messages=back), reply=FakeReply())).sent
    assert sent["contents"][1]["parts"][0]["thoughtSignature"] in ("AbC/+w==", "AbC_-w==")


async def test_nothing_is_kept_at_openai():
    sent = (await exchange(responses, REQUEST, reply=FakeReply())).sent
    assert sent["store"] is False
    assert sent["max_output_tokens"] == 50
    assert sent["input"][1] == {"role": "user", "content": "how many"}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gpt-4o", "/v1/chat/completions"),
        ("gpt-5.3-codex", "/v1/responses"),
        ("o3-pro", "/v1/responses"),
        ("gpt-5-mini", "/v1/chat/completions"),
    ],
)
async def test_models_that_have_responses_alone_are_asked_for_them(model, path):
    async with fake_provider() as fake:
        provider = openai(fake.root)
        await provider.complete(replace(REQUEST, model=model))
        await provider.close()
    assert fake.heard[0].target == path


async def test_a_reply_of_one_api_is_read_when_the_other_is_set():
    kept = (await exchange(responses, REQUEST, reply=FakeReply(text="blue"))).got.body
    assert openai("http://127.0.0.1:9").read(kept).text == "blue"


async def test_anthropic_is_asked_for_json_in_words_and_for_no_temperature():
    request = replace(REQUEST, json_mode=True, temperature=0.6)
    sent = (await exchange(anthropic, request, reply=FakeReply())).sent
    assert sent["system"] == "be brief\n\nReply with one JSON object and nothing else."
    assert "temperature" not in sent


@pytest.mark.parametrize(("tools", "choice"), [((), "required"), ((TOOL,), "other"), ((), "count")])
def test_a_choice_of_no_tool_is_refused_before_anything_is_sent(tools, choice):
    with pytest.raises(InvalidArgument, match=f"`tool_choice` is `{choice}`"):
        replace(REQUEST, tools=tools, tool_choice=choice)

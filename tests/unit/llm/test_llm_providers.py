"""The built-in adapters, over real sockets."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from burnish.testing.provider_suite import ProviderSuite, Scripted, scripted_server
from burnish.testing.providers import FakeReply, FakeToolCall
from burnish.testing.providers.formats import ANTHROPIC, CHAT, GEMINI, RESPONSES
from burnish.testing.providers.formats.base import Json, WireFormat
from burnish_runtime.llm.anthropic import AnthropicProvider
from burnish_runtime.llm.base import (
    ChatMessage,
    CompletionRequest,
    LlmProvider,
    ProviderAccess,
    ProviderError,
)
from burnish_runtime.llm.google import GoogleProvider
from burnish_runtime.llm.groq import GroqProvider
from burnish_runtime.llm.openai import OpenAiApi, OpenAiProvider

REQUEST = CompletionRequest(
    model="some-model",
    messages=(
        ChatMessage(role="system", content="be brief"),
        ChatMessage(role="user", content="hello"),
    ),
    max_output_tokens=50,
)


def request(**options: Any) -> CompletionRequest:
    return replace(REQUEST, **options)


def chat_reply(text: str | None, *, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return whole(CHAT, text, input_tokens, output_tokens)


def whole(form: WireFormat, text: str | None, input_tokens: int, output_tokens: int) -> Json:
    reply = FakeReply(text=text or "", input_tokens=input_tokens, output_tokens=output_tokens)
    return form.whole(reply.counted(b""), "some-model")


class _Suite(ProviderSuite):
    form: WireFormat = CHAT

    def make_request(self, text, *, timeout_seconds):
        message = ChatMessage(role="user", content=text)
        return request(messages=(message,), timeout_seconds=timeout_seconds)

    def reply(self, text, *, input_tokens, output_tokens):
        return whole(self.form, text, input_tokens, output_tokens)

    def tool_reply(self, name, arguments):
        call = FakeToolCall(name=name, arguments=json.dumps(arguments))
        return self.form.whole(FakeReply(text="", tool_calls=(call,)).counted(b""), "some-model")


class TestOpenAi(_Suite):
    def open_provider(self, *, base_url, api_key):
        return OpenAiProvider(ProviderAccess(api_key=api_key, base_url=f"{base_url}/v1"))


class TestOpenAiResponses(_Suite):
    form = RESPONSES

    def open_provider(self, *, base_url, api_key):
        access = ProviderAccess(api_key=api_key, base_url=f"{base_url}/v1")
        return OpenAiProvider(access, api=OpenAiApi.RESPONSES)


class TestOpenAiCompatible(_Suite):
    def open_provider(self, *, base_url, api_key):
        return OpenAiProvider(
            ProviderAccess(api_key=api_key, base_url=f"{base_url}/v1"), name="openai_compatible"
        )


class TestGroq(_Suite):
    def open_provider(self, *, base_url, api_key):
        return GroqProvider(ProviderAccess(api_key=api_key, base_url=base_url))


class TestGoogle(_Suite):
    form = GEMINI

    def open_provider(self, *, base_url, api_key):
        return GoogleProvider(ProviderAccess(api_key=api_key, base_url=base_url))


@pytest.mark.skipif(importlib.util.find_spec("anthropic") is None, reason="an extra of its own")
class TestAnthropic(_Suite):
    form = ANTHROPIC

    def open_provider(self, *, base_url, api_key):
        return AnthropicProvider(ProviderAccess(api_key=api_key, base_url=base_url))


async def sent_by(
    build: Callable[[str], LlmProvider], reply: object, **options: Any
) -> tuple[str, dict[str, str], Any, Any]:
    async with scripted_server(Scripted(body=reply)) as server:
        provider = build(server.url)
        try:
            body = provider.request_body(request(**options))
            await provider.complete(request(**options))
        finally:
            await provider.close()
    _, path, headers, sent = server.requests[0]
    return path, headers, sent, json.loads(body)


async def test_openai_sends_what_it_hashes():
    path, headers, sent, hashed = await sent_by(
        lambda url: OpenAiProvider(ProviderAccess(api_key="sk-1", base_url=f"{url}/v1")),
        chat_reply("x", input_tokens=1, output_tokens=1),
        temperature=0.0,
        seed=7,
        json_mode=True,
    )
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-1"
    assert sent == hashed
    assert sent == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
        ],
        "max_completion_tokens": 50,
        "temperature": 0.0,
        "seed": 7,
        "response_format": {"type": "json_object"},
    }


async def test_local_models_are_asked_past_any_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    _, _, sent, _ = await sent_by(
        lambda url: OpenAiProvider(ProviderAccess(base_url=f"{url}/v1"), name="local"),
        chat_reply("x", input_tokens=1, output_tokens=1),
    )
    assert sent["model"] == "some-model"


async def test_compatible_server_gets_the_older_limit_field():
    _, _, sent, hashed = await sent_by(
        lambda url: OpenAiProvider(ProviderAccess(base_url=f"{url}/v1"), name="local"),
        chat_reply("x", input_tokens=1, output_tokens=1),
    )
    assert sent == hashed
    assert sent["max_tokens"] == 50
    assert "max_completion_tokens" not in sent


async def test_groq_sends_what_it_hashes():
    path, headers, sent, hashed = await sent_by(
        lambda url: GroqProvider(ProviderAccess(api_key="gsk", base_url=url)),
        chat_reply("x", input_tokens=1, output_tokens=1),
        seed=1,
    )
    assert path == "/openai/v1/chat/completions"
    assert headers["authorization"] == "Bearer gsk"
    assert sent == hashed


async def test_google_sends_system_text_limits_and_key():
    reply = {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}
    path, headers, sent, _ = await sent_by(
        lambda url: GoogleProvider(ProviderAccess(api_key="g-key", base_url=url)),
        reply,
        seed=3,
        temperature=0.5,
        json_mode=True,
    )
    assert path.endswith("/models/some-model:generateContent")
    assert headers["x-goog-api-key"] == "g-key"
    assert sent["systemInstruction"]["parts"][0]["text"] == "be brief"
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hello"}]}]
    assert sent["generationConfig"] == {
        "maxOutputTokens": 50,
        "temperature": 0.5,
        "seed": 3,
        "responseMimeType": "application/json",
    }


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "o3", "o4-mini"])
def test_openai_reasoning_models_get_no_temperature(model):
    provider = OpenAiProvider(ProviderAccess(api_key="k"))
    body = json.loads(provider.request_body(request(model=model, temperature=1.0)))
    assert "temperature" not in body


def test_openai_tool_call_reads_as_its_arguments():
    reply = chat_reply(None, input_tokens=1, output_tokens=1)
    reply["choices"][0]["message"]["tool_calls"] = [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    ]
    provider = OpenAiProvider(ProviderAccess(api_key="k"))
    assert provider.read(json.dumps(reply).encode()).text == '{"a": 1}'


def test_openai_reply_without_usage_has_none():
    reply = chat_reply("x", input_tokens=1, output_tokens=1)
    del reply["usage"]
    provider = OpenAiProvider(ProviderAccess(api_key="k"))
    assert provider.read(json.dumps(reply).encode()).usage is None


def test_google_thoughts_are_paid_for_but_not_said():
    reply = {
        "candidates": [
            {
                "content": {"parts": [{"text": "hm", "thought": True}, {"text": "blue"}]},
                "finishReason": "MAX_TOKENS",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 5,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 40,
        },
    }
    read = GoogleProvider(ProviderAccess(api_key="k")).read(json.dumps(reply).encode())
    assert read.text == "blue"
    assert read.finish_reason == "max_tokens"
    assert read.usage is not None
    assert read.usage.output_tokens == 42


def test_google_blocked_prompt_reads_as_nothing_said():
    body = b'{"promptFeedback": {"blockReason": "SAFETY"}}'
    assert GoogleProvider(ProviderAccess(api_key="k")).read(body).text == ""


async def test_account_without_credit_is_not_tried_again():
    body = {"error": {"code": "insufficient_quota", "message": "…"}}
    async with scripted_server(Scripted(status=429, body=body)) as server:
        provider = OpenAiProvider(ProviderAccess(api_key="k", base_url=f"{server.url}/v1"))
        with pytest.raises(ProviderError) as caught:
            await provider.complete(request())
        await provider.close()
    assert caught.value.reason == "PROVIDER_QUOTA"
    assert not caught.value.can_retry


@pytest.mark.parametrize(
    ("code", "again"), [("server_error", True), ("rate_limit_exceeded", True), ("invalid", False)]
)
async def test_a_response_that_failed_on_its_way_is_perhaps_paid(code, again):
    body = whole(RESPONSES, "", 1, 1)
    body |= {"status": "failed", "output": [], "error": {"code": code, "message": "canary"}}
    async with scripted_server(Scripted(body=body)) as server:
        access = ProviderAccess(api_key="k", base_url=f"{server.url}/v1")
        provider = OpenAiProvider(access, api=OpenAiApi.RESPONSES)
        with pytest.raises(ProviderError) as caught:
            await provider.complete(request())
        await provider.close()
    assert (caught.value.can_retry, caught.value.not_sent) == (again, False)
    assert "canary" not in caught.value.message

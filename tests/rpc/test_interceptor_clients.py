"""Unmodified clients against a running interceptor: openai, groq and curl."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from groq import Groq
from openai import APIError, AsyncOpenAI, BadRequestError, OpenAI
from pydantic import BaseModel

from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, Script, completion, replies

MESSAGES: Any = [
    {"role": "system", "content": BASELINE},
    {"role": "user", "content": "Query: where is my card"},
]
TOOL: Any = {
    "type": "function",
    "function": {"name": "classify", "parameters": {"type": "object", "properties": {}}},
}
INPUT: Any = {"model": "m", "instructions": BASELINE, "input": "Query: where is my card"}


class Intent(BaseModel):
    intent: str


@pytest.fixture
async def running() -> AsyncIterator[Any]:
    async with testing.suite(replies.usual, instruction="Name it.") as suite:
        yield suite


def swapped(running: Any) -> bool:
    """Tells whether every call went out with the candidate's prompt, and none with the app's."""
    sent = [json.dumps(body) for body in running.provider.bodies]
    return bool(sent) and all("Name it." in body and BASELINE not in body for body in sent)


async def test_the_synchronous_openai_client(running):
    def calls(openai: OpenAI) -> None:
        whole = openai.chat.completions.create(model="m", messages=MESSAGES)
        assert whole.choices[0].message.content == "card_arrival"
        stream = openai.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert "".join(one.choices[0].delta.content or "" for one in stream) == "card_arrival"
        assert openai.responses.create(**INPUT).output_text == "card_arrival"
        with openai.responses.stream(**INPUT) as events:
            assert "".join(
                event.delta for event in events if event.type == "response.output_text.delta"
            ) == "card_arrival"  # fmt: skip
            assert events.get_final_response().usage is not None
        with pytest.raises(BadRequestError):
            openai.responses.create(**INPUT, previous_response_id="resp_1")

    with OpenAI(base_url=running.url(), api_key="app", max_retries=0) as openai:
        await asyncio.to_thread(calls, openai)
    assert swapped(running)


async def test_the_asynchronous_openai_client_its_helpers_and_tools(running):
    async with AsyncOpenAI(base_url=running.url(), api_key="app", max_retries=0) as openai:
        async with openai.chat.completions.stream(
            model="m", messages=MESSAGES, tools=[TOOL]
        ) as events:
            kinds = [event.type async for event in events]
            called = await events.get_final_completion()
        calls = called.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].function.arguments == '{"intent":"card_arrival"}'
        assert "tool_calls.function.arguments.done" in kinds
        stream = await openai.responses.create(**INPUT, stream=True)
        assert [event.type async for event in stream][-1] == "response.completed"
    assert swapped(running)
    assert running.provider.bodies[0]["tools"] == [TOOL]


async def test_structured_output_is_asked_for_and_parsed():
    text = '{"intent":"card_arrival"}'

    def answer(request: Any) -> Script:
        if request.target.endswith("/responses"):
            return Script(body=json.dumps(replies.response(text)).encode())
        return Script(body=completion(text))

    async with (
        testing.suite(answer) as running,
        AsyncOpenAI(base_url=running.url(), api_key="app", max_retries=0) as openai,
    ):
        chat = await openai.chat.completions.parse(
            model="m", messages=MESSAGES, response_format=Intent
        )
        assert chat.choices[0].message.parsed == Intent(intent="card_arrival")
        response = await openai.responses.parse(**INPUT, text_format=Intent)
        assert response.output_parsed == Intent(intent="card_arrival")
        first, second = running.provider.bodies
        assert first["response_format"]["json_schema"]["name"] == "Intent"
        assert second["text"]["format"]["name"] == "Intent"


async def test_several_answers_logprobs_seeds_and_images_pass():
    token = {"token": "card", "logprob": -0.1, "bytes": [99], "top_logprobs": []}
    message = {"role": "assistant", "content": "card"}
    choices = [
        {"index": index, "message": message, "finish_reason": "stop",
         "logprobs": {"content": [token], "refusal": None}}
        for index in range(2)
    ]  # fmt: skip
    details = {"reasoning_tokens": 2, "audio_tokens": 0}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
             "prompt_tokens_details": {"cached_tokens": 8},
             "completion_tokens_details": details}  # fmt: skip
    parts: Any = [
        {"type": "text", "text": "Query: what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
    ]
    async with (
        testing.suite(lambda _: Script(body=completion(choices=choices, usage=usage))) as running,
        AsyncOpenAI(base_url=running.url(), api_key="app", max_retries=0) as openai,
    ):
        reply = await openai.chat.completions.create(
            model="m", messages=[MESSAGES[0], {"role": "user", "content": parts}], n=2,
            logprobs=True, top_logprobs=2, seed=7,
        )  # fmt: skip
        assert [one.index for one in reply.choices] == [0, 1]
        logprobs = reply.choices[1].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert logprobs.content[0].logprob == -0.1
        told = reply.usage
        assert told is not None
        assert told.prompt_tokens_details is not None
        assert told.completion_tokens_details is not None
        assert told.prompt_tokens_details.cached_tokens == 8
        assert told.completion_tokens_details.reasoning_tokens == 2
        sent = running.provider.bodies[0]
        assert sent["messages"][1]["content"] == parts
        assert (sent["n"], sent["logprobs"], sent["seed"]) == (2, True, 7)


async def read_stream(openai: AsyncOpenAI, api: str) -> None:
    if api == "chat":
        stream: Any = await openai.chat.completions.create(
            model="m", messages=MESSAGES, stream=True
        )
    else:
        stream = await openai.responses.create(**INPUT, stream=True)
    async for _ in stream:
        pass


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_an_error_in_the_middle_of_a_stream_is_an_error_of_the_client(api):
    def answer(request: Any) -> Script:
        raw = replies.response_events() if api == "responses" else testing.events()
        half = raw[: len(raw) // 2].rpartition(b"\n\n")[0] + b"\n\n"
        error = b'data: {"error":{"message":"the whole prompt","code":"server_error"}}\n\n'
        return Script(body=half + error, content_type="text/event-stream")

    async with (
        testing.suite(answer) as running,
        AsyncOpenAI(base_url=running.url(), api_key="app", max_retries=0) as openai,
    ):
        with pytest.raises(APIError) as caught:
            await read_stream(openai, api)
        assert caught.value.code == "upstream_error_event"
        assert "prompt" not in caught.value.message


async def test_the_groq_client(running):
    def calls(groq: Groq) -> None:
        whole = groq.chat.completions.create(model="m", messages=MESSAGES)
        assert whole.choices[0].message.content == "card_arrival"
        stream = groq.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert "".join(one.choices[0].delta.content or "" for one in stream) == "card_arrival"

    # The client puts `/openai/v1/…` below its base URL by itself.
    base = running.url().removesuffix("/v1")
    with Groq(base_url=base, api_key="app", max_retries=0) as groq:
        await asyncio.to_thread(calls, groq)
    assert swapped(running)


async def test_curl(running):
    curl = shutil.which("curl")
    if curl is None:
        assert not os.environ.get("BURNISH_REQUIRE_TOOLS"), "curl is required"
        pytest.skip("curl is not installed")
    for stream in (False, True):
        body = json.dumps({"model": "m", "messages": MESSAGES, "stream": stream})
        process = await asyncio.create_subprocess_exec(
            curl, "-sS", "-i", "-N", "-H", "content-type: application/json", "-d", "@-",
            f"{running.url()}/chat/completions",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(body.encode()), 30)
        head, _, shown = out.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        if stream:
            assert shown.endswith(b"data: [DONE]\n\n")
        else:
            assert json.loads(shown)["choices"][0]["message"]["content"] == "card_arrival"
    assert swapped(running)

"""What the openai client makes of the rarer parts of an answer; the clients: `tests/clients`."""

from typing import Any

import pytest
from openai import APIError, AsyncOpenAI

from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, Script, completion, replies

MESSAGES: Any = [
    {"role": "system", "content": BASELINE},
    {"role": "user", "content": "Query: where is my card"},
]
INPUT: Any = {"model": "m", "instructions": BASELINE, "input": "Query: where is my card"}


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

"""The fake providers, seen through the official packages and over bare sockets."""

import asyncio
import random
from typing import Any

import aiohttp
import google.genai
import groq
import openai
import pytest
from google.genai import types

from burnish.testing.providers import (
    FAULTS,
    FakeReply,
    FakeToolCall,
    Fault,
    at_random,
    fake_provider,
)
from burnish.testing.providers.faults import fine

REPLY = FakeReply(
    text="blue sky",
    tool_calls=(FakeToolCall(name="look", arguments='{"at": "sky"}'),),
    input_tokens=90,
    output_tokens=20,
    cached_input_tokens=10,
    reasoning_tokens=5,
)
MESSAGES: Any = [{"role": "user", "content": "which colour has the sky"}]
PATHS = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1beta/models/m:generateContent",
    "/v1/messages",
]


async def by_openai(fake: Any) -> tuple[str, int, int]:
    async with openai.AsyncOpenAI(api_key="k", base_url=fake.base_url("openai")) as client:
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    return text, chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens


async def by_responses(fake: Any) -> tuple[str, int, int]:
    async with openai.AsyncOpenAI(api_key="k", base_url=fake.base_url("openai")) as client:
        events: Any = await client.responses.create(model="m", input="hi", stream=True)
        last = [event async for event in events][-1].response
    return last.output_text, last.usage.input_tokens, last.usage.output_tokens


async def by_groq(fake: Any) -> tuple[str, int, int]:
    async with groq.AsyncGroq(api_key="k", base_url=fake.base_url("groq")) as client:
        whole = await client.chat.completions.create(model="m", messages=MESSAGES)
    assert whole.usage is not None
    said = whole.choices[0].message.content or ""
    return said, whole.usage.prompt_tokens, whole.usage.completion_tokens


async def by_google(fake: Any) -> tuple[str, int, int]:
    options = types.HttpOptions(base_url=fake.base_url("google"))
    client = google.genai.Client(api_key="k", http_options=options)
    stream = await client.aio.models.generate_content_stream(model="m", contents="hi")
    pieces = [piece async for piece in stream]
    usage = pieces[-1].usage_metadata
    assert usage is not None
    await client.aio.aclose()
    parts = [
        part
        for piece in pieces
        for candidate in piece.candidates or []
        for part in (candidate.content.parts if candidate.content else None) or []
    ]
    written = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return "".join(p.text or "" for p in parts), usage.prompt_token_count or 0, written


async def by_anthropic(fake: Any) -> tuple[str, int, int]:
    anthropic = pytest.importorskip("anthropic")
    async with (
        anthropic.AsyncAnthropic(api_key="k", base_url=fake.base_url("anthropic")) as client,
        client.messages.stream(model="m", messages=MESSAGES, max_tokens=5) as stream,
    ):
        last = await stream.get_final_message()
    text = "".join(block.text for block in last.content if block.type == "text")
    read = last.usage.input_tokens + (last.usage.cache_read_input_tokens or 0)
    return text, read, last.usage.output_tokens


@pytest.mark.parametrize("ask", [by_openai, by_responses, by_groq, by_google, by_anthropic])
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
async def test_a_provider_s_own_package_reads_the_fake(ask):
    async with fake_provider(reply=REPLY) as fake:
        assert await ask(fake) == ("blue sky", 90, 20)
    (charge,) = fake.bill.charges
    assert (charge.input_tokens, charge.output_tokens, charge.answered) == (90, 20, True)
    assert fake.bill.cost(input_usd=1.0, output_usd=2.0) == pytest.approx(130 / 1e6)


async def post(session: aiohttp.ClientSession, url: str) -> int:
    try:
        async with session.post(url, json={"model": "m", "messages": MESSAGES}) as reply:
            await reply.read()
            return reply.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


async def test_a_script_is_played_in_order_and_its_last_line_for_ever():
    script = (FakeReply(text="a"), "429", "early reset", FakeReply(text="b"))
    async with fake_provider(*script) as fake, aiohttp.ClientSession() as session:
        seen = [await post(session, fake.root + PATHS[0]) for _ in range(6)]
    assert seen == [200, 429, 0, 200, 200, 200]
    assert [charge.number for charge in fake.bill.charges] == [0, 2, 3, 4, 5]
    assert [charge.number for charge in fake.bill.answered.charges] == [0, 3, 4, 5]


@pytest.mark.parametrize("path", PATHS)
async def test_an_error_is_told_in_the_words_of_the_format(path):
    async with (
        fake_provider("401") as fake,
        aiohttp.ClientSession() as session,
        session.post(fake.root + path, json={"model": "m"}) as reply,
    ):
        body = await reply.json()
        assert reply.status == 401
    assert isinstance(body["error"], dict)
    assert ("status" in body["error"]) is ("generateContent" in path)
    assert (body.get("type") == "error") is path.endswith("/messages")
    assert fake.bill.charges == []


async def test_whoever_hangs_up_is_billed():
    limit = aiohttp.ClientTimeout(total=0.2)
    async with fake_provider("hang") as fake, aiohttp.ClientSession(timeout=limit) as session:
        assert await post(session, fake.root + PATHS[0]) == 0
    (charge,) = fake.bill.charges
    assert not charge.answered


async def test_a_function_may_decide_on_each_request():
    def answer(heard: Any) -> FakeReply | str:
        return "503" if heard.model == "m" else FakeReply()

    async with fake_provider(answer=answer) as fake, aiohttp.ClientSession() as session:
        assert await post(session, fake.root + PATHS[0]) == 503


async def test_a_seed_decides_which_requests_fail():
    async def seen(seed: int) -> list[int]:
        answer = at_random(random.Random(seed), share=0.5)
        async with fake_provider(answer=answer) as fake, aiohttp.ClientSession() as session:
            return [await post(session, fake.root + PATHS[0]) for _ in range(12)]

    assert await seen(1) == await seen(1)
    assert len(set(await seen(2))) > 1


async def test_tokens_that_a_reply_does_not_count_are_counted_from_its_bytes():
    async with fake_provider(FakeReply(text="x" * 40)) as fake, aiohttp.ClientSession() as session:
        await post(session, fake.root + PATHS[0])
    (charge,) = fake.bill.charges
    assert charge.output_tokens == 10
    assert charge.input_tokens == len(fake.heard[0].body) // 4


async def test_a_fault_of_one_s_own_is_played():
    async with (
        fake_provider(Fault(play=fine, told=True)) as fake,
        aiohttp.ClientSession() as session,
    ):
        assert await post(session, fake.root + PATHS[1]) == 200


async def test_what_is_no_post_is_not_found():
    async with (
        fake_provider() as fake,
        aiohttp.ClientSession() as session,
        session.get(f"{fake.root}/v1/models") as reply,
    ):
        assert reply.status == 404
    assert fake.bill.charges == []


def test_the_faults_of_the_design_are_all_there():
    statuses = {"400", "401", "403", "404", "408", "429", "500", "502", "503", "529"}
    bodies = {"hang", "drip", "reset", "cut", "no end mark", "invalid JSON", "HTML", "50 MB"}
    rest = {"429 with a wait", "too long a length", "too short a length", "gzip bomb"}
    said = {"duplicated chunk", "role only", "no choices", "NaN usage"}
    assert statuses | bodies | rest | said <= FAULTS.keys()


async def test_the_connections_end_with_the_provider():
    async with fake_provider("hang") as fake:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(fake.root[-5:].lstrip(":")))
        writer.write(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        while not fake.heard:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    assert await reader.read() == b""
    writer.close()

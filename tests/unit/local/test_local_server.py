"""The server speaks OpenAI's chat completions, as the official client finds over a real socket."""

import asyncio
import json
import signal
import sys
from typing import Any

import aiohttp
import openai
import pytest

from burnish.local import LocalServerOptions, start_local_server

LABELS = ["parcel_late", "parcel_lost", "refund_missing"]
SYSTEM: dict[str, str] = {
    "role": "system",
    "content": "Sort messages. Labels:\n- parcel_late\n- parcel_lost\n- refund_missing\n"
    "Reply with only the label.",
}
QUERY: dict[str, str] = {"role": "user", "content": "my refund is missing"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "sort_message",
        "parameters": {
            "type": "object",
            "properties": {
                "intent": {"type": "string", "enum": LABELS},
                "certainty": {"type": "number"},
            },
            "required": ["intent", "certainty"],
        },
    },
}


@pytest.fixture
async def server():
    running = await start_local_server()
    yield running
    await running.stop()


@pytest.fixture
async def client(server):
    async with openai.AsyncOpenAI(
        base_url=server.base_url, api_key="none", max_retries=0
    ) as client:
        yield client


async def ask(client, **options) -> Any:
    options = {"model": "local-reader", "messages": [SYSTEM, QUERY], **options}
    return await client.chat.completions.create(**options)


async def test_bare_label_is_answered_with_usage_and_fingerprint(client):
    reply = await ask(client)
    assert reply.choices[0].message.content == "refund_missing"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.system_fingerprint == "burnish-local-1"
    sizes = [len(message["content"].encode()) for message in (SYSTEM, QUERY)]
    assert reply.usage.prompt_tokens == 3 + sum(4 + -(-size // 4) for size in sizes)
    assert reply.usage.completion_tokens == 4
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 4


async def test_tool_call_is_answered_with_all_required_arguments(client):
    reply = await ask(client, tools=[TOOL], tool_choice="required")
    call = reply.choices[0].message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "sort_message")
    arguments = json.loads(call.function.arguments)
    assert arguments["intent"] == "refund_missing"
    assert isinstance(arguments["certainty"], float)
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content is None


async def test_tool_choice_none_is_answered_in_words(client):
    reply = await ask(client, tools=[TOOL], tool_choice="none")
    assert reply.choices[0].message.content == "refund_missing"


async def test_named_tool_is_called(client):
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": "sort_message"}}
    reply = await ask(client, tools=[other, TOOL], tool_choice=choice)
    assert reply.choices[0].message.tool_calls[0].function.name == "sort_message"


async def test_json_schema_is_followed(client):
    schema = TOOL["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    reply = await ask(client, response_format=wanted)
    assert json.loads(reply.choices[0].message.content)["intent"] == "refund_missing"


async def test_json_object_takes_its_key_from_the_prompt(client):
    system = {
        "role": "system",
        "content": f'Labels: {", ".join(LABELS)}. Answer: {{"topic": "..."}}',
    }
    reply = await ask(client, messages=[system, QUERY], response_format={"type": "json_object"})
    assert json.loads(reply.choices[0].message.content) == {"topic": "refund_missing"}


async def test_without_word_on_the_form_a_sentence_is_answered(client):
    system = {"role": "system", "content": f"Sort the messages by label: {', '.join(LABELS)}."}
    reply = await ask(client, messages=[system, QUERY])
    assert reply.choices[0].message.content == "The message seems to be about refund missing."


async def test_stream_gives_the_same_answer_and_usage(client):
    whole = await ask(client, tools=[TOOL])
    text, arguments, finish, usage = "", "", None, None
    async for chunk in await ask(
        client, tools=[TOOL], stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                arguments += call.function.arguments
            finish = choice.finish_reason or finish
    assert arguments == whole.choices[0].message.tool_calls[0].function.arguments
    assert (text, finish, usage) == ("", "tool_calls", whole.usage)


async def test_seed_repeats_a_draw_and_draws_differ_without_one(client):
    async def draw(**options) -> list[str]:
        messages = [SYSTEM, {"role": "user", "content": "where is my parcel"}]
        reply = await ask(client, messages=messages, temperature=2.0, n=20, **options)
        return [choice.message.content for choice in reply.choices]

    assert await draw(seed=7) == await draw(seed=7)
    assert await draw(seed=7) != await draw(seed=8)
    assert await draw() != await draw()
    assert set(await draw(seed=7)) <= set(LABELS)


async def test_temperature_zero_is_the_default_and_repeats(client):
    replies = [await ask(client, n=3) for _ in range(3)]
    assert {choice.message.content for reply in replies for choice in reply.choices} == {
        "refund_missing"
    }


async def test_logprobs_are_those_of_the_labels(client):
    reply = await ask(client, logprobs=True, top_logprobs=3)
    (token,) = reply.choices[0].logprobs.content
    assert token.token == "refund_missing"
    assert {each.token for each in token.top_logprobs} == set(LABELS)
    assert token.logprob == max(each.logprob for each in token.top_logprobs)
    assert sum(2.718281828**each.logprob for each in token.top_logprobs) == pytest.approx(1.0)


async def test_answer_is_cut_at_the_token_limit_and_at_stop_texts(client):
    reply = await ask(client, max_tokens=2)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (
        "refund_m",
        "length",
    )
    reply = await ask(client, stop=["_"])
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("refund", "stop")


async def test_models_are_listed(client):
    listed = [model.id async for model in client.models.list()]
    assert listed == ["local-reader", "local-proposer", "local-judge"]
    assert (await client.models.retrieve("local-judge")).id == "local-judge"


async def test_unknown_model_is_not_found_with_the_known_ones_named(client):
    with pytest.raises(
        openai.NotFoundError, match="local-reader, local-proposer, local-judge"
    ) as caught:
        await ask(client, model="gpt-4o")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


BAD = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"n": 0}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"seed": 1.5}, "seed"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"tools": [{}]}, "tools[0].function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"stop": [1]}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"model": ""}, "model"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param"), BAD)
async def test_bad_field_is_refused_in_openai_form(server, change, param):
    body = {"model": "local-reader", "messages": [SYSTEM, QUERY], **change}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.base_url}/chat/completions", json=body) as reply,
    ):
        assert reply.status == 400
        error = (await reply.json())["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert "my refund" not in error["message"]


async def test_body_that_is_no_json_is_refused(server):
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{server.base_url}/chat/completions", data=b"{") as reply:
            assert reply.status == 400
        async with session.post(f"{server.base_url}/nowhere") as reply:
            assert reply.status == 404
            assert (await reply.json())["error"]["type"] == "invalid_request_error"


async def test_health_is_answered(server):
    url = server.base_url.removesuffix("/v1") + "/healthz"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        assert (await reply.json())["status"] == "ok"


async def test_simulated_failures_follow_the_seed_and_not_the_prompt():
    async def outcomes(seed, text) -> list[bool]:
        options = LocalServerOptions(failure_rate=0.5, failure_seed=seed)
        running = await start_local_server(options=options)
        found = []
        try:
            async with openai.AsyncOpenAI(
                base_url=running.base_url, api_key="none", max_retries=0
            ) as client:
                for _ in range(12):
                    try:
                        await ask(client, messages=[SYSTEM, {"role": "user", "content": text}])
                        found.append(True)
                    except openai.InternalServerError:
                        found.append(False)
        finally:
            await running.stop()
        return found

    assert await outcomes(1, "one") == await outcomes(1, "another")
    assert len({tuple(await outcomes(seed, "one")) for seed in (1, 2, 3)}) > 1


async def test_fifty_clients_at_once_are_all_answered(client):
    messages = [
        [SYSTEM, {"role": "user", "content": f"my refund is missing {i}"}] for i in range(50)
    ]
    replies = await asyncio.gather(*(ask(client, messages=each) for each in messages))
    assert {reply.choices[0].message.content for reply in replies} == {"refund_missing"}


async def test_command_writes_the_ready_file_and_ends_on_sigterm(tmp_path):
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish.local", "--port", "0", "--ready-file", str(ready)
    )
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(ready.exists):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        base_url = json.loads(ready.read_text())["base_url"]
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
            assert (await ask(client)).choices[0].message.content == "refund_missing"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), timeout=30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

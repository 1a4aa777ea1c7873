"""The openai package for Python against a running interceptor: every API, sync and async."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion
from tests.clients.world import (
    ANSWER,
    ARGUMENTS,
    CANARY,
    INSTRUCTION,
    KEY,
    MESSAGES,
    QUERY,
    TOOL,
    world,
)

SUITE_KEY = "suite-token"


class Intent(BaseModel):
    intent: str


def client(base: str, **more: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=base, api_key=KEY, **{"max_retries": 0} | more)


def ask(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="gpt-mine", messages=MESSAGES, **more)


async def test_chat_completions():
    async with world() as running, client(running.base) as app:
        reply = await ask(app, n=2)
        assert [choice.message.content for choice in reply.choices] == [ANSWER, ANSWER]
        assert (reply.object, reply.usage.total_tokens) == ("chat.completion", 14)
        assert running.sent[0]["messages"] == [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": QUERY},
        ]
        running.check_swapped()


async def test_chat_completions_streamed():
    async with world() as running, client(running.base) as app:
        events = [
            event
            async for event in await ask(app, stream=True, stream_options={"include_usage": True})
        ]
        text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
        assert (text, events[-1].usage.prompt_tokens) == (ANSWER, 11)
        running.check_swapped()


async def test_tools_whole_and_streamed():
    async with world() as running, client(running.base) as app:
        reply = await ask(app, tools=[TOOL], tool_choice="required")
        assert reply.choices[0].finish_reason == "tool_calls"
        assert reply.choices[0].message.tool_calls[0].function.arguments == ARGUMENTS
        async with app.chat.completions.stream(
            model="gpt-mine", messages=MESSAGES, tools=[TOOL]
        ) as stream:
            final = await stream.get_final_completion()
        calls: Any = final.choices[0].message.tool_calls
        call = calls[0]
        assert (call.id, call.function.arguments) == ("call_1", ARGUMENTS)
        assert [body["tools"] for body in running.sent] == [[TOOL], [TOOL]]
        running.check_swapped(calls=2)


async def test_structured_output_is_parsed_into_the_apps_class():
    async with world() as running, client(running.base) as app:
        chat = await app.chat.completions.parse(
            model="gpt-mine", messages=MESSAGES, response_format=Intent
        )
        assert chat.choices[0].message.parsed == Intent(intent=ANSWER)
        response = await app.responses.parse(
            model="gpt-mine", instructions=BASELINE, input=QUERY, text_format=Intent
        )
        assert response.output_parsed == Intent(intent=ANSWER)
        running.check_swapped(calls=2)


async def test_responses_whole_with_tools_and_streamed():
    tool: Any = {"type": "function", "strict": True, **TOOL["function"]}
    async with world() as running, client(running.base) as app:
        given: Any = {"model": "gpt-mine", "instructions": BASELINE, "input": QUERY}
        whole = await app.responses.create(**given)
        assert (whole.output_text, whole.instructions) == (ANSWER, BASELINE)
        called = await app.responses.create(**given, tools=[tool])
        call: Any = called.output[0]
        assert (call.type, call.arguments) == ("function_call", ARGUMENTS)
        async with app.responses.stream(**given) as stream:
            final = await stream.get_final_response()
        assert (final.output_text, final.instructions) == (ANSWER, BASELINE)
        assert [body["store"] for body in running.sent] == [False] * 3
        running.check_swapped(calls=3)


async def test_embeddings_as_floats_and_as_the_client_asks_for_them_itself():
    async with world() as running, client(running.base) as app:
        floats = await app.embeddings.create(model="e", input=["a", "b"], encoding_format="float")
        assert [one.embedding for one in floats.data] == [[0.25, -0.5]] * 2
        await app.embeddings.create(model="e", input="a")
        assert [body.get("encoding_format") for body in running.sent] == ["float", "base64"]
        running.check_unleaked()


async def test_models_are_listed_and_retrieved():
    async with world() as running, client(running.base) as app:
        assert [model.id async for model in app.models.list()] == ["gpt-x"]
        assert (await app.models.retrieve("gpt-x")).owned_by == "burnish"
        with pytest.raises(openai.NotFoundError):
            await app.models.retrieve("gpt-y")


@pytest.mark.parametrize("key", [SUITE_KEY, KEY])
async def test_online_the_api_key_is_the_suites_token(key):
    async with world() as running:
        running.suite.controller.policies["policies/live"] = policy_v1.Policy(
            name="policies/live",
            version=1,
            job="jobs/1",
            stages=[testing.stage_policy()],
            candidates=[policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)],
        )
        async with AsyncOpenAI(base_url=f"{running.root}/p/live/v1", api_key=key) as app:
            if key == KEY:
                with pytest.raises(openai.AuthenticationError):
                    await ask(app)
                assert (running.tap.call_count, running.sent) == (1, [])
            else:
                reply = await ask(app, extra_headers={"x-burnish-rollout": "conversation-1"})
                assert reply.choices[0].message.content == ANSWER
                running.check_swapped()


async def test_the_address_may_be_in_the_environment_alone(monkeypatch):
    async with world() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        async with AsyncOpenAI() as app:
            assert (await ask(app)).choices[0].message.content == ANSWER
        running.check_swapped()


async def test_a_prompt_that_is_told_is_seen_by_the_tap():
    async with world(lambda _: Script(body=completion(INSTRUCTION))) as running:
        async with client(running.base) as app:
            await ask(app)
        with pytest.raises(AssertionError, match=CANARY):
            running.check_swapped()


def use_sync(base: str) -> list[str]:
    """What a program without an event loop does, in a thread of its own."""
    with OpenAI(base_url=base, api_key=KEY, max_retries=0) as app:
        said = [ask(app).choices[0].message.content]
        said.append("".join(e.choices[0].delta.content or "" for e in ask(app, stream=True)))
        given: Any = {"model": "gpt-mine", "instructions": BASELINE, "input": QUERY}
        said.append(app.responses.create(**given).output_text)
        with app.responses.stream(**given) as stream:
            said.append(stream.get_final_response().output_text)
        parsed = app.chat.completions.parse(
            model="gpt-mine", messages=MESSAGES, response_format=Intent
        )
        assert parsed.choices[0].message.parsed is not None
        said.append(parsed.choices[0].message.parsed.intent)
        assert len(app.embeddings.create(model="e", input="a", encoding_format="float").data) == 1
        assert [model.id for model in app.models.list()] == ["gpt-x"]
    return said


async def test_the_sync_client_does_all_of_it_too():
    async with world() as running:
        assert await asyncio.to_thread(use_sync, running.base) == [ANSWER] * 5
        running.check_swapped(calls=5)

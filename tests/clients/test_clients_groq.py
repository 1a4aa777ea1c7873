"""The groq package for Python against a running interceptor."""

import asyncio
from typing import Any

import pytest
from groq import AsyncGroq, Groq

from tests.clients.world import ANSWER, ARGUMENTS, KEY, MESSAGES, TOOL, world


def base(url: str) -> str:
    """The package adds `/openai/v1` to its base URL by itself."""
    return url.removesuffix("/v1")


def ask(app: Any, **more: Any) -> Any:
    return app.chat.completions.create(model="gpt-mine", messages=MESSAGES, **more)


async def test_chat_completions_whole_streamed_with_tools_and_as_json():
    async with world() as running, AsyncGroq(base_url=base(running.base), api_key=KEY) as app:
        whole = await ask(app)
        assert (whole.choices[0].message.content, whole.usage.total_tokens) == (ANSWER, 14)
        words = [e.choices[0].delta.content async for e in await ask(app, stream=True) if e.choices]
        assert "".join(word or "" for word in words) == ANSWER
        called = await ask(app, tools=[TOOL])
        assert called.choices[0].message.tool_calls[0].function.arguments == ARGUMENTS
        formed = await ask(app, response_format={"type": "json_object"})
        assert formed.choices[0].message.content == ARGUMENTS
        running.check_swapped(calls=4)


async def test_models_are_listed_and_retrieved():
    async with world() as running, AsyncGroq(base_url=base(running.base), api_key=KEY) as app:
        assert [model.id for model in (await app.models.list()).data] == ["gpt-x"]
        assert (await app.models.retrieve("gpt-x")).id == "gpt-x"


async def test_the_sync_client_does_it_too():
    def use(url: str) -> list[str | None]:
        with Groq(base_url=url, api_key=KEY) as app:
            streamed = (e.choices[0].delta.content or "" for e in ask(app, stream=True))
            return [ask(app).choices[0].message.content, "".join(streamed)]

    async with world() as running:
        assert await asyncio.to_thread(use, base(running.base)) == [ANSWER, ANSWER]
        running.check_swapped(calls=2)


@pytest.mark.parametrize("variable", [True, False])
async def test_the_inference_url_works_as_it_is_given(variable, monkeypatch):
    async with world() as running:
        if variable:
            monkeypatch.setenv("GROQ_BASE_URL", running.base)
        async with AsyncGroq(base_url=None if variable else running.base, api_key=KEY) as app:
            assert (await ask(app)).choices[0].message.content == ANSWER
        running.check_swapped()

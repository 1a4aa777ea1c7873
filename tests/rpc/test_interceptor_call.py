"""Calls through the whole data plane: app, interceptor, controller and provider over sockets."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from openai import APIError, APIStatusError, AsyncOpenAI

from burnish.api.types.v1 import candidate_pb2, rollout_pb2
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion, events


def client(running: Any, grant: Any = None, **more: Any) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=running.url(grant), api_key="the app's own", **{"max_retries": 0} | more
    )


def ask(openai: Any, query: str = "Where is my card?", **more: Any) -> Any:
    return openai.chat.completions.create(
        model="gpt-whatever",
        messages=[
            {"role": "system", "content": BASELINE},
            {"role": "user", "content": f"Query: {query}"},
        ],
        **more,
    )


def streamed(**more: Any) -> Any:
    return lambda request: Script(body=events(), content_type="text/event-stream", **more)


async def test_a_call_is_substituted_journaled_and_answered():
    async with testing.suite(instruction="Name it.") as running, client(running) as openai:
        reply = await ask(openai)
        assert reply.choices[0].message.content == "card_arrival"
        sent = running.provider.bodies[0]
        assert sent["messages"] == [
            {"role": "system", "content": "Name it."},
            {"role": "user", "content": "Query: Where is my card?"},
        ]
        assert (sent["model"], sent["temperature"]) == ("gpt-x", 0.0)
        headers = running.provider.requests[0].head.headers
        assert headers["authorization"] == "Bearer sk-provider-0123456789abcdef"
        finish = running.controller.finished[0]
        assert finish.trace.stage_id == "classify"
        assert finish.trace.candidate_id == CANDIDATE
        assert dict(finish.trace.bindings) == {"query": "Where is my card?"}
        assert json.loads(finish.trace.provider_request) == sent
        assert json.loads(finish.trace.app_request)["model"] == "gpt-whatever"
        assert finish.reply.body == completion()
        assert (finish.usage.input_tokens, finish.usage.output_tokens) == (11, 3)
        assert finish.trace.latency.ToNanoseconds() > 0
        assert 0 < finish.trace.overhead.ToNanoseconds() < 10**9
        assert finish.trace.match_ratio == 1.0
        assert re.fullmatch("[0-9a-f]{32}", finish.trace.trace_id)
        assert finish.trace.api == "chat_completions"


async def test_the_end_of_a_stream_waits_for_the_ledger_and_the_rest_does_not():
    async with testing.suite(streamed(cut=7)) as running, client(running) as openai:
        running.controller.hold_finishes.clear()
        text, ended_early = "", False
        async for event in await ask(openai, stream=True):
            text += event.choices[0].delta.content or ""
            if event.choices[0].finish_reason is not None:
                ended_early = not running.controller.hold_finishes.is_set()
            if text == "card_arrival":
                running.controller.hold_finishes.set()
        assert text == "card_arrival"
        assert not ended_early
        assert running.controller.finished[0].reply.body == events()
        assert running.controller.finished[0].usage.output_tokens == 3
        assert running.provider.bodies[0]["stream_options"] == {"include_usage": True}


async def test_a_whole_answer_waits_for_the_ledger():
    async with testing.suite() as running, client(running) as openai:
        running.controller.hold_finishes.clear()
        call = asyncio.ensure_future(ask(openai))
        await testing.until(lambda: bool(running.provider.requests))
        done, _ = await asyncio.wait([call], timeout=0.1)
        assert not done
        running.controller.hold_finishes.set()
        assert (await call).choices[0].message.content == "card_arrival"


async def test_usage_is_in_a_stream_exactly_when_the_app_asked():
    async with testing.suite(streamed()) as running, client(running) as openai:
        plain = [e async for e in await ask(openai, stream=True)]
        asked = [
            e async for e in await ask(openai, stream=True, stream_options={"include_usage": True})
        ]
        assert all(event.usage is None for event in plain)
        assert all(event.choices for event in plain)
        assert asked[-1].usage.prompt_tokens == 11


async def test_five_equal_samples_are_five_calls():
    async with testing.suite() as running, client(running) as openai:
        await asyncio.gather(*(ask(openai, temperature=1.0) for _ in range(5)))
        assert len(running.provider.requests) == 5
        assert len(running.controller.calls) == 5


async def test_a_later_attempt_replays_the_calls_of_the_earlier_one():
    async with testing.suite() as running:
        async with client(running) as first:
            await ask(first)
            await ask(first)
        async with client(running, running.attempt(2)) as second:
            assert (await ask(second)).choices[0].message.content == "card_arrival"
            await ask(second)
            await ask(second)
        assert len(running.provider.requests) == 3


async def test_a_stream_is_replayed_as_a_stream():
    async with testing.suite(streamed()) as running:
        seen = []
        for number in (1, 2):
            async with client(running, running.attempt(number)) as openai:
                seen.append([event async for event in await ask(openai, stream=True)])
        assert [e.model_dump() for e in seen[0]] == [e.model_dump() for e in seen[1]]
        assert len(running.provider.requests) == 1


async def test_a_retry_of_the_sdk_is_the_same_call():
    async with testing.suite() as running, client(running) as openai:
        await ask(openai)
        await ask(openai, extra_headers={"x-stainless-retry-count": "1"})
        assert len(running.provider.requests) == 1


async def test_a_repeated_idempotency_key_is_the_same_call():
    async with testing.suite() as running, client(running) as openai:
        for _ in range(2):
            await ask(openai, extra_headers={"idempotency-key": "a"})
        await ask(openai, extra_headers={"idempotency-key": "b"})
        assert len(running.provider.requests) == 2


async def test_an_app_that_leaves_does_not_waste_a_paid_call():
    gate = asyncio.Event()

    def answer(request):
        return Script(body=completion(), gate=gate)

    async with testing.suite(answer) as running:
        async with client(running) as openai:
            call = asyncio.ensure_future(ask(openai))
            await testing.until(lambda: bool(running.provider.requests))
            call.cancel()
            await asyncio.wait([call])
        gate.set()
        async with client(running) as openai:
            reply = await ask(openai, extra_headers={"x-stainless-retry-count": "1"})
        assert reply.choices[0].message.content == "card_arrival"
        assert len(running.provider.requests) == 1


@pytest.mark.parametrize(
    ("reason", "retryable", "status"),
    [("BUDGET_EXHAUSTED", False, 402), ("PRICE_UNKNOWN", False, 402),
     ("JOB_NOT_RUNNING", False, 409), ("OVERLOADED", True, 503)],
)  # fmt: skip
async def test_a_refused_call_is_told_and_never_made(reason, retryable, status):
    async with testing.suite() as running, client(running) as openai:
        running.controller.refusal = rollout_pb2.Failure(reason=reason, retryable=retryable)
        with pytest.raises(APIStatusError) as caught:
            await ask(openai)
        assert caught.value.status_code == status
        assert caught.value.code == reason.lower()
        headers = caught.value.response.headers
        assert (headers.get("x-should-retry") == "false") is not retryable
        assert running.provider.requests == []


@pytest.mark.parametrize(
    ("status", "not_sent", "retryable"),
    [(400, True, False), (401, True, False), (429, True, True), (500, False, True),
     (503, True, True)],
)  # fmt: skip
async def test_an_error_of_the_provider_keeps_status_and_wait_and_is_journaled(
    status, not_sent, retryable
):
    def answer(request):
        body = json.dumps({"error": {"message": "secret words", "code": "rate_limit_exceeded"}})
        return Script(status=status, body=body.encode(), headers={"retry-after": "7"})

    async with testing.suite(answer) as running, client(running) as openai:
        with pytest.raises(APIStatusError) as caught:
            await ask(openai)
        assert caught.value.status_code == status
        assert caught.value.response.headers["retry-after"] == "7"
        assert caught.value.code == "rate_limit_exceeded"
        assert "secret" not in caught.value.response.text
        finish = running.controller.finished[0]
        assert finish.failure.reason == f"PROVIDER_STATUS_{status}"
        assert finish.failure.retryable is retryable
        assert finish.not_sent is not_sent
        assert finish.HasField("reply") is not retryable


async def read(openai: Any, *, stream: bool) -> None:
    reply = await ask(openai, stream=stream)
    if stream:
        async for _ in reply:
            pass


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_breaks_off_is_an_error_and_counts_as_possibly_paid(stream):
    def answer(request):
        if stream:
            body = events()[:-200]
            return Script(body=body, content_type="text/event-stream", cut=50, truncated=True)
        return Script(body=completion(), cut=20, truncated=True)

    async with testing.suite(answer) as running, client(running) as openai:
        with pytest.raises(APIError):
            await read(openai, stream=stream)
        finish = running.controller.finished[0]
        assert finish.failure.reason == "UPSTREAM_CLOSED"
        assert not finish.not_sent
        assert not finish.HasField("reply")


async def test_a_provider_that_is_away_is_certainly_unpaid():
    async with testing.suite() as running, client(running) as openai:
        await running.provider.stop()
        with pytest.raises(APIStatusError) as caught:
            await ask(openai)
        assert caught.value.status_code == 502
        assert running.controller.finished[0].not_sent


async def test_tools_and_tool_choice_pass_and_the_tool_call_comes_back():
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "classify", "arguments": '{"intent":"card_arrival"}'},
    }
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }
    tool = {
        "type": "function",
        "function": {"name": "classify", "parameters": {"type": "object", "properties": {}}},
    }

    def answer(request):
        return Script(body=completion(choices=[choice]))

    async with testing.suite(answer) as running, client(running) as openai:
        reply = await ask(openai, tools=[tool], tool_choice="required")
        assert reply.choices[0].message.tool_calls[0].function.arguments.endswith('arrival"}')
        assert running.provider.bodies[0]["tools"] == [tool]
        assert running.provider.bodies[0]["tool_choice"] == "required"


async def test_demos_stand_before_the_last_user_turn():
    demo = candidate_pb2.Demo(
        bindings={"query": "no card yet"},
        messages=[b'{"role":"assistant","content":"card_arrival"}'],
    )
    async with testing.suite() as running, client(running) as openai:
        running.controller.candidates[CANDIDATE] = testing.prompts("Name it.", demos=[demo])
        await ask(openai)
        assert [m["content"] for m in running.provider.bodies[0]["messages"]] == [
            "Name it.",
            "Query: no card yet",
            "card_arrival",
            "Query: Where is my card?",
        ]


async def test_an_unmatched_call_passes_and_its_trace_says_so():
    async with testing.suite() as running, client(running) as openai:
        await openai.chat.completions.create(
            model="gpt-x",
            messages=[
                {"role": "system", "content": "Write a sonnet about rain in the old harbour."},
                {"role": "user", "content": "Now."},
            ],
        )
        assert "sonnet" in running.provider.bodies[0]["messages"][0]["content"]
        trace = running.controller.finished[0].trace
        assert (trace.stage_id, trace.candidate_id) == ("", "")


async def test_the_app_may_name_the_stage():
    async with testing.suite(instruction="Name it.") as running, client(running) as openai:
        await openai.chat.completions.create(
            model="gpt-x",
            messages=[{"role": "user", "content": "Something quite unlike the template here"}],
            extra_headers={"x-burnish-stage": "classify"},
        )
        assert running.provider.bodies[0]["messages"][0]["content"] == "Name it."
        assert running.controller.finished[0].trace.stage_id == "classify"


async def test_a_required_wildcard_that_cannot_be_bound_fails_closed():
    async with testing.suite(instruction="Name {query}.") as running, client(running) as openai:
        stage = testing.stage_policy(by_pattern=True)
        running.controller.policies["policies/job-1"] = testing.offline_policy(stage)
        with pytest.raises(APIStatusError) as caught:
            await openai.chat.completions.create(
                model="gpt-x",
                messages=[
                    {"role": "system", "content": BASELINE},
                    {"role": "user", "content": "Where is my card?"},
                ],
                extra_headers={"x-burnish-stage": "classify"},
            )
        assert caught.value.status_code == 422
        assert "Name" not in caught.value.response.text
        assert running.provider.requests == []
        finish = running.controller.finished[0]
        assert finish.failure.reason == "WILDCARD_UNBOUND"
        assert finish.not_sent
        assert finish.trace.stage_id == "classify"


async def test_a_learning_policy_passes_calls_and_is_asked_again_once_a_candidate_is_named():
    async with testing.suite(instruction="Name it.") as running:
        learning = testing.offline_policy(learning_baseline=True)
        running.controller.policies["policies/job-1"] = learning
        async with client(running, replace(running.grant, candidate_id="")) as openai:
            await ask(openai)
        running.controller.policies["policies/job-1"] = testing.offline_policy()
        async with client(running) as openai:
            await ask(openai)
        first, second = running.provider.bodies
        assert first["messages"][0]["content"] == BASELINE
        assert second["messages"][0]["content"] == "Name it."
        assert running.controller.finished[0].trace.stage_id == ""


async def test_policy_and_candidate_are_fetched_once():
    async with testing.suite() as running, client(running) as openai:
        await asyncio.gather(*(ask(openai, query=f"query {i}") for i in range(20)))
        assert running.controller.fetches == {"policies/job-1": 1, CANDIDATE: 1}


async def test_an_unknown_policy_is_a_503_with_a_wait_and_never_a_relay():
    async with testing.suite() as running:
        grant = replace(running.grant, policy="job-2")
        async with client(running, grant) as openai:
            with pytest.raises(APIStatusError) as caught:
                await ask(openai)
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert running.provider.requests == []


async def test_forged_and_expired_tokens_get_the_same_answer():
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        expired = running.token(replace(running.grant, expire_time=1))
        good = running.token()
        answers = []
        for token in (expired, good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), "x", "%00"):
            url = f"{running.root}/r/{token}/v1/chat/completions"
            async with session.post(url, json={}) as response:
                body = (await response.text()).split("(request")[0]
                answers.append((response.status, body))
        assert len(set(answers)) == 1
        assert answers[0][0] == 404


async def test_an_answer_survives_a_controller_that_restarts_meanwhile():
    gate = asyncio.Event()

    def answer(request):
        return Script(body=completion(), gate=gate)

    async with testing.suite(answer) as running, client(running) as openai:
        call = asyncio.ensure_future(ask(openai))
        await testing.until(lambda: bool(running.provider.requests))
        await running.controller.stop()
        gate.set()
        done, _ = await asyncio.wait([call], timeout=0.3)
        assert not done
        await running.controller.start(running.controller.target)
        assert (await call).choices[0].message.content == "card_arrival"
        assert len(running.controller.finished) == 1


async def test_models_are_those_of_the_policy():
    async with testing.suite() as running, client(running) as openai:
        assert [model.id async for model in openai.models.list()] == ["gpt-x"]
        assert (await openai.models.retrieve("gpt-x")).id == "gpt-x"
        with pytest.raises(APIStatusError) as caught:
            await openai.models.retrieve("gpt-y")
        assert caught.value.status_code == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"messages":[]}', b'{"messages":"x"}', b'{"messages":[1]}',
     b'{"messages":[{"role":"user","content":"a"}],"messages":[]}',
     b'{"messages":[{"role":"user","content":"a"}],"n":"2"}',
     b'{"messages":[{"role":"user","content":"\xff"}]}', b"[" * 3000],
)  # fmt: skip
async def test_a_body_that_is_no_chat_request_is_a_400(body):
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        async with session.post(running.url() + "/chat/completions", data=body) as response:
            assert response.status == 400
            assert "message" in (await response.json())["error"]
        assert running.controller.calls == {}

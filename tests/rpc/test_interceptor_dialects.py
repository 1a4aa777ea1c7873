"""Calls of every API through the whole data plane, made by the openai client."""

import json
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, replies


def client(running: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=running.url(), api_key="the app's own", max_retries=0)


async def test_a_response_is_substituted_and_tells_the_apps_own_instructions():
    async with (
        testing.suite(replies.usual, instruction="Name it.") as running,
        client(running) as openai,
    ):
        reply = await openai.responses.create(
            model="m", instructions=BASELINE, input="Query: where", max_output_tokens=9,
        )  # fmt: skip
        assert reply.output_text == "card_arrival"
        assert reply.instructions == BASELINE
        assert reply.usage is not None
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 3)
        sent = running.provider.bodies[0]
        assert running.provider.requests[0].head.target == "/v1/responses"
        assert (sent["instructions"], sent["input"], sent["store"]) == (
            "Name it.", "Query: where", False,
        )  # fmt: skip
        assert (sent["model"], sent["temperature"], sent["max_output_tokens"]) == ("gpt-x", 0.0, 9)
        finish = running.controller.finished[0]
        assert (finish.trace.stage_id, finish.trace.candidate_id) == ("classify", CANDIDATE)
        assert (finish.usage.input_tokens, finish.usage.output_tokens) == (11, 3)


async def test_a_response_as_events_is_whole_for_the_client_without_the_hidden_items():
    async with testing.suite(replies.usual) as running, client(running) as openai:
        async with openai.responses.stream(
            model="m", instructions=BASELINE, input="Query: where"
        ) as events:
            kinds = [event.type async for event in events]
            final = await events.get_final_response()
        assert final.output_text == "card_arrival"
        assert [item.type for item in final.output] == ["message"]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        assert kinds.count("response.output_text.delta") == 3
        assert running.controller.finished[0].reply.body == replies.response_events()


@pytest.mark.parametrize(
    "more", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True},
             {"prompt": {"id": "pmpt_1"}}]
)  # fmt: skip
async def test_what_would_be_kept_under_the_suites_key_is_refused(more):
    async with testing.suite(replies.usual) as running, client(running) as openai:
        with pytest.raises(BadRequestError, match=next(iter(more))):
            await openai.responses.create(model="m", input="Query: where", **more)
        assert running.provider.requests == []


async def test_a_legacy_completion_is_served_whole_and_as_events():
    async with testing.suite(replies.usual) as running, client(running) as openai:
        whole = await openai.completions.create(model="m", prompt="Say it.")
        assert whole.choices[0].text == "card_arrival"
        stream = await openai.completions.create(model="m", prompt="Say it.", stream=True)
        assert "".join([event.choices[0].text async for event in stream]) == "card_arrival"
        first, second = running.provider.bodies
        assert (first["model"], first["max_tokens"]) == ("gpt-x", 16)
        assert second["stream_options"] == {"include_usage": True}


async def test_embeddings_pass_with_the_apps_own_model_and_spoil_no_rollout():
    async with testing.suite(replies.usual) as running, client(running) as openai:
        reply = await openai.embeddings.create(
            model="text-embedding-x", input=["a", "b"], encoding_format="float"
        )
        assert [len(one.embedding) for one in reply.data] == [2, 2]
        assert reply.usage.prompt_tokens == 5
        assert running.provider.bodies[0]["model"] == "text-embedding-x"
        finish = running.controller.finished[0]
        assert finish.trace.stage_id == "-"
        assert finish.usage.input_tokens == 5


@pytest.mark.parametrize("path", ["responses/resp_1", "files", "audio/speech", "threads"])
async def test_other_paths_are_a_404_in_openais_form(path):
    async with testing.suite(replies.usual) as running, client(running) as openai:
        with pytest.raises(APIStatusError) as caught:
            await openai.post(f"/{path}", body={}, cast_to=object)
        assert caught.value.status_code == 404
        assert json.loads(caught.value.response.text)["error"]["code"] == "not_found"


async def test_an_answer_is_labelled_and_the_candidate_is_never_named_by_its_hash():
    async with testing.suite(replies.usual) as running, client(running) as openai:
        raw = await openai.responses.with_raw_response.create(
            model="m", instructions=BASELINE, input="Query: where"
        )
        headers = raw.headers
        assert headers["x-burnish-request-id"] == headers["x-request-id"]
        assert headers["x-burnish-job-id"] == "1"
        assert headers["x-burnish-policy-version"] == "1"
        assert headers["x-burnish-attempts"] == "1"
        assert headers["x-burnish-upstream-model"] == "gpt-x"
        assert headers["x-burnish-candidate-id"].startswith("c_")
        assert CANDIDATE.encode() not in str(headers).encode()


def gemini(request: Any) -> Script:
    content = {"role": "model", "parts": [{"text": "card_arrival"}]}
    piece = {
        "candidates": [{"content": content, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 3},
    }
    body = json.dumps(piece).encode()
    if "stream" in request.head.target:
        return Script(body=b"data: " + body + b"\r\n\r\n", content_type="text/event-stream")
    return Script(body=body)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_completion_is_made_by_googles_own_api(stream):
    messages: Any = [
        {"role": "system", "content": BASELINE},
        {"role": "user", "content": "Query: where"},
    ]
    async with (
        testing.suite(gemini, instruction="Name it.", gemini=True) as running,
        client(running) as openai,
    ):
        reply: Any = await openai.chat.completions.create(
            model="m", messages=messages, stream=stream
        )
        if stream:
            text = "".join([event.choices[0].delta.content or "" async for event in reply])
        else:
            text = reply.choices[0].message.content
        assert text == "card_arrival"
        sent = running.provider.requests[0]
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        assert sent.head.target == f"/v1/models/gpt-x:{verb}"
        assert sent.head.headers["x-goog-api-key"].startswith("sk-provider")
        assert "authorization" not in sent.head.headers
        asked = running.provider.bodies[0]
        assert asked["systemInstruction"] == {"parts": [{"text": "Name it."}]}
        finish = running.controller.finished[0]
        assert (finish.usage.input_tokens, finish.usage.output_tokens) == (11, 3)


@pytest.mark.parametrize(
    ("shape", "name"),
    [("/api/mipro/v1/{}/roll-7/v1", "x-mipro-candidate-id"),
     ("/api/gepa/v1/{}/roll-7/v1", "x-gepa-candidate-id")],
)  # fmt: skip
async def test_synths_urls_are_answered_with_synths_headers(shape, name):
    async with (
        testing.suite(replies.usual) as running,
        AsyncOpenAI(base_url=running.root + shape.format(running.token()), api_key="x") as openai,
    ):
        raw = await openai.responses.with_raw_response.create(
            model="m", instructions=BASELINE, input="Query: where"
        )
        assert raw.headers[name] == raw.headers["x-burnish-candidate-id"]
        assert CANDIDATE not in str(raw.headers)
        told = raw.headers.get("x-gepa-rollout-id")
        assert told == ("roll_1" if "gepa" in name else None)


async def test_a_rollout_and_a_stage_may_be_named_by_headers():
    live = policy_v1.Policy(
        name="policies/live", version=3, job="jobs/1", stages=[testing.stage_policy()],
        candidates=[
            policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0, arm="winner")
        ],
    )  # fmt: skip
    async with testing.suite(replies.usual, instruction="Name it.") as running:
        running.controller.policies["policies/live"] = live
        base = f"{running.root}/api/gepa/v1/live"
        async with AsyncOpenAI(base_url=base, api_key="suite-token", max_retries=0) as openai:
            raw = await openai.responses.with_raw_response.create(
                model="m",
                input="Nothing like the template at all",
                extra_headers={"x-burnish-stage": "classify", "x-burnish-rollout": "roll-9"},
            )
        assert running.provider.bodies[0]["instructions"] == "Name it."
        assert raw.headers["x-gepa-rollout-id"] == "roll-9"
        assert raw.headers["x-gepa-candidate-id"] == "winner"
        assert raw.headers["x-burnish-policy-version"] == "3"
        assert float(raw.headers["x-burnish-overhead-ms"]) >= 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("rollout", ["d%E2%9C%93mo", "a%0d%0aset-cookie:%20x=1"])
async def test_a_rollout_that_no_header_can_hold_is_answered_without_that_header(rollout, stream):
    live = policy_v1.Policy(
        name="policies/live", version=3, job="jobs/1", stages=[testing.stage_policy()],
        candidates=[policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)],
    )  # fmt: skip
    async with testing.suite(replies.usual, instruction="Name it.") as running:
        running.controller.policies["policies/live"] = live
        base = f"{running.root}/api/gepa/v1/live/{rollout}"
        async with AsyncOpenAI(base_url=base, api_key="suite-token", max_retries=0) as openai:
            raw = await openai.chat.completions.with_raw_response.create(
                model="m",
                messages=[{"role": "user", "content": "Query: where"}],
                stream=stream,
            )
        assert raw.status_code == 200
        assert "x-gepa-rollout-id" not in raw.headers
        assert "set-cookie" not in raw.headers
        assert len(running.provider.bodies) == 1


async def test_calls_by_two_shapes_of_url_get_each_their_own_headers():
    stage = testing.stage_policy()
    stage.template.messages[1].pattern = "{query}"
    live = policy_v1.Policy(
        name="policies/live", version=3, job="jobs/1", stages=[stage],
        candidates=[policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)],
    )  # fmt: skip
    async with testing.suite(replies.usual, instruction="Name it.") as running:
        running.controller.policies["policies/live"] = live
        shapes = {"/p/live/r1/v1": False, "/api/gepa/v1/live/r1": True}
        for place in range(12):
            for shape, named in shapes.items():
                async with AsyncOpenAI(
                    base_url=running.root + shape, api_key="suite-token", max_retries=0
                ) as openai:
                    raw = await openai.chat.completions.with_raw_response.create(
                        model="m",
                        messages=[
                            {"role": "system", "content": BASELINE},
                            {"role": "user", "content": f"where {place}"},
                        ],
                    )
                assert ("x-gepa-candidate-id" in raw.headers) is named
                assert ("x-gepa-rollout-id" in raw.headers) is named

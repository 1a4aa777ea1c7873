"""The scoring endpoints over HTTP, against a real suite with the simulated judge."""

import aiohttp
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")
TRACE = {
    "schema_version": "3.0",
    "event_history": [
        {
            "type": "lm_call",
            "event_type": "lm_call",
            "llm_request": {"messages": [{"role": "user", "content": "Say hello."}]},
            "llm_response": {"message": {"role": "assistant", "content": "Hello there"}},
            "correlation_id": "s1",
        }
    ],
    "markov_blanket_message_history": [],
    "metadata": {"session_id": "s1"},
}
RUBRIC = {"outcome": [{"name": "short", "description": "At most 2 words."}]}
OLD = {
    "policy_name": "p",
    "task_app": {"id": "a"},
    "trace": TRACE,
    "rubric": RUBRIC,
    "options": {"provider": "local", "model": "local-judge", "event": False},
}
NEW = {
    "job_id": "zero_shot_verifier_rubric_single",
    "input": {"trace": TRACE, "rubric": RUBRIC, "options": {"provider": "local"}},
    "model": "local-judge",
}


async def post(suite, path, body, **headers):
    headers = headers or {"Authorization": f"Bearer {suite.token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(suite.api_url + path, json=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json()


@pytest.mark.parametrize("path", ["/api/judge/v1/score", "/api/graphs/verifiers/completions"])
async def test_a_trace_is_scored_in_the_older_shape(suite, path):
    status, body = await post(suite, path, OLD)
    assert status == 200, body
    assert body["status"] == "ok", body
    assert body["outcome_review"]["total"] == 1.0
    assert body["outcome_review"]["criteria"]["short"]["score"] == 1.0
    assert body["metadata"]["simulated"] is True


async def test_a_graph_is_asked_in_the_later_shape_and_the_second_answer_is_kept(suite):
    status, first = await post(suite, "/api/graphs/completions", NEW, **{"X-API-Key": suite.token})
    assert status == 200, first
    assert first["output"]["outcome_review"]["total"] == 1.0
    assert first["usage"]["total_tokens"] > 0
    assert first["latency_ms"] > 0
    _, second = await post(suite, "/api/graphs/completions", NEW)
    assert second["cache_status"] == "warm"
    assert second["output"]["outcome_review"] == first["output"]["outcome_review"]


async def test_without_the_token_nothing_is_scored(suite):
    no_text = b"\xff".decode(errors="surrogateescape")
    for headers in ({"Authorization": "Bearer wrong"}, {"X-API-Key": ""}, {"X-API-Key": no_text}):
        status, body = await post(suite, "/api/judge/v1/score", OLD, **headers)
        assert status == 401
        assert suite.token not in str(body)


async def test_faults_are_json_with_the_right_status(suite):
    status, body = await post(suite, "/api/judge/v1/score", {"trace": 3})
    assert (status, body["detail"]["error"]["code"]) == (400, "SCORE_REQUEST_INVALID")
    status, body = await post(suite, "/api/graphs/completions", {**NEW, "job_id": "nothing"})
    assert status == 404, body
    async with aiohttp.ClientSession() as session:
        headers = {"X-API-Key": suite.token}
        async with session.get(suite.api_url + "/api/judge/v1/score", headers=headers) as reply:
            assert reply.status == 405
            assert (await reply.json())["detail"]["error"]["code"] == "HTTP_405"
        async with session.get(suite.api_url + "/api/health") as reply:
            assert await reply.json() == {"status": "ok"}


async def test_a_judge_that_costs_money_is_not_asked_by_default(suite):
    body = {**OLD, "options": {"provider": "openai", "model": "gpt-4o-mini"}}
    status, answer = await post(suite, "/api/judge/v1/score", body)
    assert status == 200, answer
    assert answer["status"] == "failed"
    assert answer["outcome_review"] is None

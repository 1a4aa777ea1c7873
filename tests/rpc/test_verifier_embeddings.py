"""Similarity by an embedding model: asked over a socket, paid for through the ledger, once."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish_runtime.llm.accounts import CallDesk
from burnish_runtime.llm.registry import ProviderRegistry
from burnish_runtime.retries import RetryPolicy
from burnish_runtime.settings import ServiceSettings
from burnish_verifier.embedding_models import ModelEmbedder, refusal
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Node
from burnish_verifier.nodes.base import Evidence, NodeResult, NodeTask
from burnish_verifier.nodes.similarity import SimilarityEvaluator
from burnish_verifier.steps import ModelRef, Similarity

RETRY = RetryPolicy(attempts=2, first_wait=0.001, longest_wait=0.002, jitter=0.0)
VECTORS = {"red": [1.0, 0.0], "rouge": [0.6, 0.8], "blue": [0.0, 1.0], "zero": [0.0, 0.0]}


class Ledger:
    """Keeps replies by scope and hash."""

    def __init__(self) -> None:
        self.begun: list[ledger_v1.BeginCall] = []
        self.finished: list[ledger_v1.FinishCall] = []
        self._kept: dict[str, ledger_v1.CallReply] = {}
        self._keys: dict[str, str] = {}

    async def begin(self, call: ledger_v1.BeginCall, *, timeout: float) -> ledger_v1.CallDecision:  # noqa: ASYNC109
        self.begun.append(call)
        key = f"{call.scope} {call.request_hash}"
        decision = ledger_v1.CallDecision(call_id=str(len(self.begun)))
        if key in self._kept:
            decision.replay.CopyFrom(self._kept[key])
        else:
            self._keys[decision.call_id] = key
            decision.proceed.SetInParent()
        return decision

    async def finish(self, call: ledger_v1.FinishCall) -> None:
        self.finished.append(call)
        if call.HasField("reply"):
            self._kept[self._keys[call.call_id]] = call.reply


class Provider:
    """Embeds single words, or answers what it is told first."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.first: list[web.Response] = []

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        if self.first:
            return self.first.pop(0)
        rows = [
            {"object": "embedding", "index": place, "embedding": VECTORS[text]}
            for place, text in enumerate(body["input"])
        ]
        # Backwards: it is the index that counts.
        usage = {"prompt_tokens": 1000, "total_tokens": 1000}
        return web.json_response({"object": "list", "data": rows[::-1], "usage": usage})


@asynccontextmanager
async def world(ledger: Ledger | None) -> AsyncIterator[tuple[Provider, SimilarityEvaluator, str]]:
    provider = Provider()
    app = web.Application()
    app.router.add_post("/v1/embeddings", provider.embeddings)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    registry = ProviderRegistry(ServiceSettings(service="verifier"))
    desk = None if ledger is None else CallDesk(ledger, retry=RETRY)
    evaluator = SimilarityEvaluator(ModelEmbedder(registry, desk))
    try:
        yield provider, evaluator, f"http://127.0.0.1:{port}/v1"
    finally:
        await evaluator.close()
        await registry.close()
        await runner.cleanup()


def task(url: str, answer: str, wanted: str = "red", *, job: str = "jobs/j") -> NodeTask:
    model = ModelRef(
        provider="openai_compatible",
        model="embed",
        base_url=url,
        price={"input_usd_per_million": 2.0, "output_usd_per_million": 0.0},
    )
    node = Node(node_id="near", step=Similarity(method="embedding", model=model))
    evidence = Evidence(output=json.dumps(answer).encode(), reference=json.dumps(wanted).encode())
    return NodeTask(node=node, evidence=evidence, rollout_id="r", job=job)


async def test_the_cosine_of_a_models_vectors_is_the_score_and_it_is_paid_for_once():
    async with world(ledger := Ledger()) as (provider, evaluator, url):
        found = [await evaluator.evaluate(task(url, word)) for word in ("red", "rouge", "blue")]
        again = await evaluator.evaluate(task(url, "rouge"))
        nothing = await evaluator.evaluate(task(url, "zero"))
    assert all(isinstance(each, NodeResult) for each in (*found, again, nothing))
    scores = [each.score for each in (*found, again, nothing) if isinstance(each, NodeResult)]
    assert scores == pytest.approx([1.0, 0.6, 0.0, 0.6, 0.0])
    assert len(provider.requests) == 4
    assert provider.requests[1] == {
        "model": "embed", "input": ["rouge", "red"], "encoding_format": "float",
    }  # fmt: skip
    assert {call.scope for call in ledger.begun} == {"judgements/j/r"}
    assert {call.role for call in ledger.begun} == {ledger_v1.CALL_ROLE_JUDGE}
    assert isinstance(found[0], NodeResult)
    assert found[0].spent.input_tokens == 1000
    assert found[0].spent.cost_usd == pytest.approx(0.002)
    assert ledger.finished[0].usage == types_v1.Usage(
        input_tokens=1000, call_count=1, cost_usd=0.002
    )


async def test_a_provider_that_is_overloaded_is_asked_again_and_then_left():
    async with world(Ledger()) as (provider, evaluator, url):
        provider.first = [web.json_response({"error": {}}, status=503) for _ in range(3)]
        failed = await evaluator.evaluate(task(url, "red"))
        passed = await evaluator.evaluate(task(url, "red"))
    assert isinstance(failed, Failed)
    assert failed.retryable
    assert isinstance(passed, NodeResult)
    assert len(provider.requests) == 4


@pytest.mark.parametrize(
    "reply",
    [
        "not json",
        "[]",
        '{"data": []}',
        '{"data": [{"index": 0, "embedding": "no"}]}',
        '{"data": [{"index": 0, "embedding": [1.0]}]}',
        '{"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]}',
    ],
)
async def test_a_reply_without_the_vectors_leaves_the_rollout_unscored(reply):
    async with world(Ledger()) as (provider, evaluator, url):
        provider.first = [web.Response(text=reply, content_type="application/json")]
        failed = await evaluator.evaluate(task(url, "red"))
    assert isinstance(failed, Failed)
    assert not failed.retryable


@pytest.mark.parametrize(("ledger", "job"), [(None, "jobs/j"), (Ledger(), "")])
async def test_a_model_that_nobody_pays_for_is_not_asked(ledger, job):
    async with world(ledger) as (provider, evaluator, url):
        failed = await evaluator.evaluate(task(url, "red", job=job))
    assert isinstance(failed, Failed)
    assert failed.reason == "EMBEDDING_WITHOUT_JOB"
    assert provider.requests == []


def test_providers_without_embeddings_are_refused_when_the_graph_is_registered():
    assert refusal("openai") == ""
    assert "openai_compatible" in refusal("groq")

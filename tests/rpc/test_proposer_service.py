"""The proposer over a real channel, with a scripted model and a ledger that keeps what was paid."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from aiohttp import web

from burnish import rpc
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, FailedPrecondition, InvalidArgument, ResourceExhausted
from burnish.identity import canonical_bytes
from burnish_proposer.app import ProposerApp
from burnish_runtime.retries import RetryPolicy
from burnish_runtime.settings import Secret, ServiceSettings
from burnish_runtime.testing import running

BASELINE = "Say which intent {query} has."
NO_WAIT = RetryPolicy(attempts=3, first_wait=0.0, longest_wait=0.0, jitter=0.0)


class FakeLedger(ledger_v1.CallLedgerServiceServicer):
    """Keeps replies by key, as the controller does, and writes down what it was told."""

    def __init__(self) -> None:
        self.replies: dict[str, ledger_v1.CallReply] = {}
        self.begun: list[ledger_v1.BeginCall] = []
        self.finished: list[ledger_v1.FinishCall] = []
        self.replayed = 0
        self.budget = 1_000
        self.booked = asyncio.Event()

    async def StreamCalls(
        self, request_iterator: AsyncIterator[ledger_v1.StreamCallsRequest], context: Any
    ) -> AsyncIterator[ledger_v1.StreamCallsResponse]:
        async for request in request_iterator:
            response = ledger_v1.StreamCallsResponse(sequence=request.sequence)
            if request.HasField("open"):
                response.opened.SetInParent()
            elif request.HasField("begin"):
                response.decision.CopyFrom(self._decide(request.begin))
            else:
                self._book(request.finish)
                response.finished.SetInParent()
            yield response

    def _decide(self, begin: ledger_v1.BeginCall) -> ledger_v1.CallDecision:
        key = f"{begin.scope}#{begin.request_hash}#{begin.ordinal}"
        if key in self.replies:
            self.replayed += 1
            return ledger_v1.CallDecision(call_id=key, replay=self.replies[key])
        self.begun.append(begin)
        if len(self.begun) > self.budget:
            failure = types_v1.Failure(reason="BUDGET_EXHAUSTED", message="`max_cost_usd` is spent")
            return ledger_v1.CallDecision(refused=failure)
        return ledger_v1.CallDecision(call_id=key, proceed=ledger_v1.Proceed())

    def _book(self, finish: ledger_v1.FinishCall) -> None:
        self.finished.append(finish)
        self.booked.set()
        if finish.HasField("reply"):
            self.replies[finish.call_id] = finish.reply


@dataclass
class FakeModel:
    """A chat-completions server whose answers are a function of the request and its number."""

    answer: Callable[[int, int], object]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    held: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        self.asked.set()
        number = len(self.requests)
        found = re.search(r"<variant>(\d+)</variant>", body["messages"][-1]["content"])
        if self.held is not None:
            await self.held.wait()
        answer = self.answer(int(found.group(1)) if found else -1, number)
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "no"}}, status=answer)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": text}}
        usage = {"prompt_tokens": 1_000, "completion_tokens": 100}
        return web.json_response({"choices": [choice], "usage": usage})


@dataclass
class World:
    """Everything that a test speaks to."""

    stub: proposer_v1.ProposerServiceStub
    ledger: FakeLedger
    model: FakeModel

    def request(self, **options: Any) -> proposer_v1.ProposeInstructionsRequest:
        rows = [("where is my parcel today", "delivery"), ("i want money back", "refund")]
        given: dict[str, Any] = {
            "context": self.context(),
            "stage": proposer_v1.StageBrief(
                stage_id="classify", baseline_instruction=BASELINE, placeholders=["query"]
            ),
            "count": 3,
            "retry_limit": 2,
            "random_seed": 5,
            "examples": [proposer_v1.ExamplePair(input=i, output=o) for i, o in rows],
        }
        return proposer_v1.ProposeInstructionsRequest(**(given | options))

    def context(self, **options: Any) -> proposer_v1.ProposalContext:
        given: dict[str, Any] = {
            "job": "jobs/a",
            "request_id": "a/0",
            "attempt": 1,
            "meta_model": types_v1.ModelSpec(
                provider="openai_compatible",
                model="writer",
                base_url=f"{self.model.url}/v1",
                price=types_v1.Price(input_usd_per_million=1.0, output_usd_per_million=10.0),
            ),
        }
        return proposer_v1.ProposalContext(**(given | options))

    async def propose(self, **options: Any) -> list[proposer_v1.ProposeInstructionsResponse]:
        return await collected(self.stub, self.request(**options), into=[])


async def collected(
    stub: proposer_v1.ProposerServiceStub,
    request: proposer_v1.ProposeInstructionsRequest,
    *,
    into: list[proposer_v1.ProposeInstructionsResponse],
) -> list[proposer_v1.ProposeInstructionsResponse]:
    async with rpc.translated():
        async for response in stub.ProposeInstructions(request, timeout=60):
            into.append(response)
    return into


@asynccontextmanager
async def world(answer: Callable[[int, int], object], **settings: Any) -> AsyncIterator[World]:
    ledger, model = FakeLedger(), FakeModel(answer)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", model.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server = grpc.aio.server()
    ledger_v1.add_CallLedgerServiceServicer_to_server(ledger, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        proposer = ProposerApp(
            ServiceSettings(
                service="proposer",
                controller_target=f"127.0.0.1:{port}",
                auth_token=Secret("test-token"),
                **settings,
            ),
            retry=NO_WAIT,
        )
        async with running(proposer) as channel:
            yield World(proposer_v1.ProposerServiceStub(channel), ledger, model)
    finally:
        await server.stop(grace=None)
        await runner.cleanup()


def idea(variant: int, number: int = 0) -> dict[str, str]:
    lines = ["Look at the verb first.", "Mind the noun.", "Read it twice over.", "Weigh the tone."]
    text = f"{lines[variant % 4]} Number {variant} of {{query}}."
    return {"instruction": text, "rationale": f"idea {variant}"}


def instructions(responses: list[proposer_v1.ProposeInstructionsResponse]) -> dict[int, str]:
    return {r.instruction.index: r.instruction.text for r in responses if r.HasField("instruction")}


async def test_baseline_comes_first_then_instructions_in_order_then_the_bill():
    async with world(idea) as here:
        responses = await here.propose()
    kinds = [response.WhichOneof("outcome") for response in responses]
    assert kinds == ["instruction"] * 4 + ["summary"]
    assert [r.instruction.index for r in responses[:4]] == [0, 1, 2, 3]
    baseline, first = responses[0].instruction, responses[1].instruction
    assert (baseline.text, baseline.model, baseline.tip) == (BASELINE, "", "")
    assert first.text == idea(0)["instruction"]
    assert first.rationale == "idea 0"
    assert first.model == "writer"
    summary = responses[-1].summary
    assert summary.description == "writer, shown 2 rows"
    assert (summary.usage.input_tokens, summary.usage.output_tokens) == (3_000, 300)
    assert summary.usage.cost_usd == pytest.approx(0.003 + 0.003)
    assert summary.usage.call_count == 3


async def test_a_repeat_of_the_request_calls_no_model_and_answers_the_same():
    async with world(idea) as here:
        first = await here.propose()
        again = await here.propose(context=here.context(attempt=2))
        assert again == first
        assert len(here.model.requests) == 3
        assert here.ledger.replayed == 3


async def test_another_request_id_pays_anew():
    async with world(idea) as here:
        await here.propose()
        await here.propose(context=here.context(request_id="a/1"))
        assert len(here.model.requests) == 6


async def test_the_ledger_is_told_what_is_sent_and_what_it_can_cost():
    async with world(idea) as here:
        await here.propose(count=1)
        (begin,) = here.ledger.begun
        (finish,) = here.ledger.finished
        body = canonical_bytes(here.model.requests[0])
    assert (begin.job, begin.scope, begin.attempt) == ("jobs/a", "proposals/a/0", 1)
    assert begin.role == ledger_v1.CALL_ROLE_PROPOSER
    assert begin.request_hash == hashlib.sha256(body).hexdigest()
    assert begin.worst_case.output_tokens == 10_000
    assert begin.worst_case.input_tokens == len(body)
    assert finish.trace.provider_request == body
    assert json.loads(finish.reply.body)["usage"]["prompt_tokens"] == 1_000
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == (1_000, 100)


async def test_a_refused_answer_is_streamed_with_its_reason_and_asked_for_again():
    def answer(variant: int, number: int) -> object:
        return idea(variant) if variant != 1 else {"instruction": "No placeholder here."}

    async with world(answer) as here:
        responses = await here.propose()
        retry = here.model.requests[-1]["messages"][-1]["content"]
    refusals = [r.refusal for r in responses if r.HasField("refusal")]
    assert [(r.index, r.reason) for r in refusals] == [
        (2, proposer_v1.PROPOSAL_REFUSAL_PLACEHOLDER)
    ]
    assert "`{query}` is missing" in refusals[0].message
    assert instructions(responses)[2] == idea(4)["instruction"]
    assert "<refused>" in retry
    assert idea(0)["instruction"] in retry


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"instruction": BASELINE}, proposer_v1.PROPOSAL_REFUSAL_DUPLICATE),
        ({"instruction": ""}, proposer_v1.PROPOSAL_REFUSAL_EMPTY),
        ('{"instruction": "cut of', proposer_v1.PROPOSAL_REFUSAL_UNPARSABLE),
        ({"instruction": "{query}" + " word" * 10_000}, proposer_v1.PROPOSAL_REFUSAL_TOO_LONG),
        (
            {"instruction": "{query}: Now WHERE IS my parcel today, said the man"},
            proposer_v1.PROPOSAL_REFUSAL_COPIES_ROW,
        ),
    ],
)
async def test_a_position_without_a_usable_answer_ends_with_its_refusals(answer, reason):
    rows = [proposer_v1.ExamplePair(input="now where is my parcel today", output="delivery")]
    async with world(lambda variant, number: answer) as here:
        responses = await here.propose(count=1, retry_limit=2, examples=rows)
        assert len(here.model.requests) == 3
    assert [r.refusal.reason for r in responses if r.HasField("refusal")] == [reason] * 3
    assert list(instructions(responses)) == [0]
    assert responses[-1].summary.usage.call_count == 3


async def test_a_budget_that_runs_out_leaves_what_was_paid():
    async with world(idea) as here:
        here.ledger.budget = 2
        received: list[proposer_v1.ProposeInstructionsResponse] = []
        with pytest.raises(ResourceExhausted) as caught:
            await collected(here.stub, here.request(count=4), into=received)
    assert caught.value.reason == "BUDGET_EXHAUSTED"
    assert sorted(instructions(received)) == [0, 1, 2]
    assert len(here.model.requests) == 2


async def test_every_try_is_in_the_ledger_and_the_reply_takes_the_place_of_the_failures():
    async with world(lambda variant, number: {1: 500, 2: 429}.get(number, idea(0))) as here:
        responses = await here.propose(count=1)
        assert [(f.HasField("failure"), f.not_sent) for f in here.ledger.finished] == [
            (True, False),
            (True, True),
            (False, False),
        ]
        assert [begin.client_retry for begin in here.ledger.begun] == [False, True, True]
        assert {begin.ordinal for begin in here.ledger.begun} == {0}
        assert await here.propose(count=1, context=here.context(attempt=2)) != []
        assert len(here.model.requests) == 3
    usage = responses[-1].summary.usage
    assert (usage.call_count, usage.possibly_paid_call_count) == (2, 1)


async def test_a_model_that_stays_away_is_unavailable_and_the_next_request_goes_on():
    answers: dict[str, Any] = {"two": 503}

    def answer(variant: int, number: int) -> object:
        return answers["two"] if variant == 1 else idea(variant)

    async with world(answer) as here:
        with pytest.raises(BurnishError) as caught:
            await here.propose()
        assert caught.value.retryable
        assert caught.value.reason == "PROVIDER_UNAVAILABLE"
        calls = len(here.model.requests)
        answers["two"] = idea(1)
        responses = await here.propose(context=here.context(attempt=2))
        assert sorted(instructions(responses)) == [0, 1, 2, 3]
        assert len(here.model.requests) == calls + 1


async def test_a_provider_that_refuses_is_final():
    async with world(lambda variant, number: 401) as here:
        with pytest.raises(FailedPrecondition) as caught:
            await here.propose(count=1)
        assert len(here.model.requests) == 1
    assert caught.value.metadata["status"] == "401"


async def test_a_call_whose_asker_left_is_finished_and_then_replayed():
    async with world(idea) as here:
        here.model.held = asyncio.Event()
        call = here.stub.ProposeInstructions(here.request(count=1), timeout=60)
        await call.read()
        async with asyncio.timeout(30):
            await here.model.asked.wait()
            call.cancel()
            here.model.held.set()
            await here.ledger.booked.wait()
        responses = await here.propose(count=1, context=here.context(attempt=2))
        assert sorted(instructions(responses)) == [0, 1]
        assert len(here.model.requests) == 1


async def test_every_problem_of_a_request_is_told_at_once():
    async with world(idea) as here:
        context = here.context(job="a", request_id="")
        with pytest.raises(InvalidArgument) as caught:
            await here.propose(
                context=context, stage=proposer_v1.StageBrief(), count=65, retry_limit=21
            )
        for part in ("`context.job`", "request_id", "stage_id", "`count` is 65", "retry_limit"):
            assert part in caught.value.message
        assert here.ledger.begun == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"output_tier": proposer_v1.OUTPUT_TIER_RAPID}, "only with effort LOW_CONTEXT"),
        ({"meta_model": types_v1.ModelSpec(provider="openai", model="gpt-5-pro")}, "15 / 120"),
        ({"meta_model": types_v1.ModelSpec(provider="openai", model="gpt-5-nano")}, "nano"),
        ({"meta_model": types_v1.ModelSpec(provider="nobody", model="m")}, "`nobody` is unknown"),
        ({"meta_model": types_v1.ModelSpec(provider="local")}, "names a provider and no model"),
        (
            {
                "meta_model": types_v1.ModelSpec(
                    provider="openai", model="gpt-4o", base_url="http://x/v1"
                )
            },
            "takes no base_url",
        ),
    ],
)
async def test_what_may_not_write_is_refused_with_the_reason(options, part):
    async with world(idea) as here:
        with pytest.raises(InvalidArgument) as caught:
            await here.propose(context=here.context(**options))
    assert part in caught.value.message


async def test_without_a_key_the_variable_to_set_is_named():
    async with world(idea) as here:
        context = proposer_v1.ProposalContext(job="jobs/a", request_id="r", attempt=1)
        with pytest.raises(FailedPrecondition) as caught:
            await here.propose(context=context)
    assert caught.value.reason == "PROVIDER_NOT_CONFIGURED"
    assert "BURNISH_OPENAI_API_KEY" in caught.value.message


async def test_a_summary_builds_on_itself_and_stops_early():
    def answer(variant: int, number: int) -> object:
        return {"summary": f"After {number}.", "complete": number >= 2}

    async with world(answer) as here:
        rows = [proposer_v1.ExamplePair(input=f"row {n}", output="x") for n in range(400)]
        async with rpc.translated():
            response = await here.stub.SummarizeDataset(
                proposer_v1.SummarizeDatasetRequest(
                    context=here.context(effort=proposer_v1.EFFORT_HIGH), examples=rows
                ),
                timeout=60,
            )
        assert len(here.model.requests) == 3
        assert "After 2." in here.model.requests[2]["messages"][-1]["content"]
    assert response.summary == "After 3."
    assert response.usage.call_count == 3


async def test_a_summary_of_nothing_is_empty_and_free():
    async with world(idea) as here:
        async with rpc.translated():
            response = await here.stub.SummarizeDataset(
                proposer_v1.SummarizeDatasetRequest(context=here.context()), timeout=60
            )
        assert here.model.requests == []
    assert response.summary == ""
    assert response.usage.call_count == 0

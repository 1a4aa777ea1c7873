"""The proposer with the local models that everybody has: no key, no cost, the same every time."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from burnish import rpc
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.local.server import start_local_server
from burnish_proposer.app import ProposerApp
from burnish_runtime.settings import Secret, ServiceSettings
from burnish_runtime.testing import running

LABELS = {
    "delivery": ["parcel", "courier", "van", "doorstep", "shipping"],
    "refund": ["money", "back", "paid", "charge", "reimburse"],
    "account": ["password", "login", "email", "username", "locked"],
}
BASELINE = (
    "Sort the customer's message into one of these:\n- delivery\n- refund\n- account\n"
    "Answer with the label only."
)


class OpenLedger(ledger_v1.CallLedgerServiceServicer):
    """Lets every call go ahead, and keeps no reply."""

    def __init__(self) -> None:
        self.finished: list[ledger_v1.FinishCall] = []

    async def StreamCalls(
        self, request_iterator: AsyncIterator[ledger_v1.StreamCallsRequest], context: Any
    ) -> AsyncIterator[ledger_v1.StreamCallsResponse]:
        async for request in request_iterator:
            response = ledger_v1.StreamCallsResponse(sequence=request.sequence)
            if request.HasField("begin"):
                response.decision.call_id = str(request.sequence)
                response.decision.proceed.SetInParent()
            elif request.HasField("finish"):
                self.finished.append(request.finish)
                response.finished.SetInParent()
            else:
                response.opened.SetInParent()
            yield response


@asynccontextmanager
async def served() -> AsyncIterator[tuple[proposer_v1.ProposerServiceStub, OpenLedger]]:
    ledger = OpenLedger()
    models = await start_local_server()
    server = grpc.aio.server()
    ledger_v1.add_CallLedgerServiceServicer_to_server(ledger, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        app = ProposerApp(
            ServiceSettings(
                service="proposer",
                controller_target=f"127.0.0.1:{port}",
                local_model_url=models.base_url,
                auth_token=Secret("test-token"),
            )
        )
        async with running(app) as channel:
            yield proposer_v1.ProposerServiceStub(channel), ledger
    finally:
        await server.stop(grace=None)
        await models.stop()


def rows() -> list[proposer_v1.ExamplePair]:
    return [
        proposer_v1.ExamplePair(
            input=f"please see about the {word} and the {words[(at + 1) % 5]} number {number}",
            output=label,
        )
        for number in range(4)
        for label, words in LABELS.items()
        for at, word in enumerate(words)
    ]


def context(request_id: str = "r") -> proposer_v1.ProposalContext:
    return proposer_v1.ProposalContext(
        job="jobs/a",
        request_id=request_id,
        attempt=1,
        effort=proposer_v1.EFFORT_MEDIUM,
        meta_model=types_v1.ModelSpec(provider="local", model="local-proposer"),
    )


async def proposed(
    stub: proposer_v1.ProposerServiceStub, *, request_id: str = "r"
) -> list[proposer_v1.ProposeInstructionsResponse]:
    request = proposer_v1.ProposeInstructionsRequest(
        context=context(request_id),
        stage=proposer_v1.StageBrief(stage_id="sort", baseline_instruction=BASELINE),
        count=6,
        retry_limit=4,
        random_seed=3,
        examples=rows(),
        failures=[
            proposer_v1.FailedExample(input="the charge", expected="refund", actual="account")
        ],
    )
    async with rpc.translated():
        return [response async for response in stub.ProposeInstructions(request, timeout=60)]


async def test_the_local_proposer_mines_instructions_from_the_rows():
    async with served() as (stub, ledger):
        responses = await proposed(stub)
    texts = [r.instruction.text for r in responses if r.HasField("instruction")]
    assert len(set(texts)) == 7
    assert texts[0] == BASELINE
    for text in texts[1:]:
        assert all(label in text for label in LABELS)
    assert any("parcel" in text for text in texts[1:])
    summary = responses[-1].summary
    assert summary.description == "local-proposer, mined from 60 rows and 1 failure"
    assert summary.usage.HasField("cost_usd")
    assert summary.usage.cost_usd == 0.0
    assert summary.usage.call_count == len(ledger.finished)


async def test_the_same_request_gives_the_same_instructions():
    async with served() as (stub, _):
        first = await proposed(stub)
        assert await proposed(stub, request_id="other") == first


async def test_the_local_proposer_summarises_all_rows_in_one_call():
    async with served() as (stub, ledger), rpc.translated():
        response = await stub.SummarizeDataset(
            proposer_v1.SummarizeDatasetRequest(context=context(), examples=rows()), timeout=60
        )
    assert "delivery" in response.summary
    assert len(ledger.finished) == 1


@pytest.mark.slow
async def test_the_process_serves_and_stops_in_order(tmp_path: Path):
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "burnish_proposer",
        env={
            **os.environ,
            "BURNISH_AUTH_TOKEN": "test-token",
            "BURNISH_CONTROLLER": "127.0.0.1:1",
            "BURNISH_READY_FILE": str(ready),
            "BURNISH_STATE_DIR": str(tmp_path),
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while not ready.exists() and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert json.loads(ready.read_text("utf-8"))["service"] == "proposer"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

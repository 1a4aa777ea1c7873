"""A session of the call ledger ends when its client does, however that comes about."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from burnish.api.ledger import v1 as ledger_v1
from burnish_controller.ledger.servicer import CallLedgerServicer


class Ledger:
    """Counts sessions; a call that begins takes a while to let go when it is cancelled."""

    def __init__(self) -> None:
        self.sessions = 0
        self.open_calls = 0
        self.open_when_closed = -1
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()

    def session_opened(self, client_id: str) -> None:
        self.sessions += 1

    def session_closed(self, client_id: str) -> None:
        self.sessions -= 1
        self.open_when_closed = self.open_calls

    async def begin(self, asker: Any, request: Any) -> Any:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.let_go.wait()
            self.open_calls += 1


async def requests() -> AsyncIterator[ledger_v1.StreamCallsRequest]:
    yield ledger_v1.StreamCallsRequest(sequence=1, open=ledger_v1.OpenSession(client_id="one"))
    yield ledger_v1.StreamCallsRequest(sequence=2, begin=ledger_v1.BeginCall())
    await asyncio.Event().wait()


async def test_a_session_whose_end_is_cut_short_still_ends_after_its_last_request():
    ledger = Ledger()
    servicer = CallLedgerServicer(ledger)  # type: ignore[arg-type]

    async def serve() -> None:
        async for _ in servicer.StreamCalls(requests(), None):  # type: ignore[arg-type]
            pass

    call = asyncio.create_task(serve())
    await ledger.began.wait()
    assert ledger.sessions == 1
    for _ in range(2):
        call.cancel()
        await asyncio.wait([call], timeout=0.01)
    assert ledger.sessions == 1
    ledger.let_go.set()
    await asyncio.wait([call], timeout=5)
    assert call.cancelled()
    assert ledger.sessions == 0
    assert ledger.open_when_closed == 1


class Answering:
    """Decides every call at once, but for one that it refuses as malformed."""

    def session_opened(self, client_id: str) -> None:
        pass

    def session_closed(self, client_id: str) -> None:
        pass

    async def begin(self, asker: Any, request: Any) -> ledger_v1.CallDecision:
        return ledger_v1.CallDecision(call_id=request.scope, proceed=ledger_v1.Proceed())


async def answers_to(
    *given: ledger_v1.StreamCallsRequest, max_batch_bytes: int
) -> list[ledger_v1.StreamCallsResponse]:
    """Returns the messages that one session is answered with."""
    opened = ledger_v1.OpenSession(client_id="one", max_batch_bytes=max_batch_bytes)

    async def asked() -> AsyncIterator[ledger_v1.StreamCallsRequest]:
        yield ledger_v1.StreamCallsRequest(sequence=1, open=opened)
        for request in given:
            yield request

    servicer = CallLedgerServicer(Answering())  # type: ignore[arg-type]
    answers = servicer.StreamCalls(asked(), None)  # type: ignore[arg-type]
    return [each async for each in answers]


def begin(sequence: int) -> ledger_v1.StreamCallsRequest:
    return ledger_v1.StreamCallsRequest(
        sequence=sequence, begin=ledger_v1.BeginCall(scope=f"s{sequence}")
    )


def batch(*requests: ledger_v1.StreamCallsRequest) -> ledger_v1.StreamCallsRequest:
    return ledger_v1.StreamCallsRequest(batch=ledger_v1.RequestBatch(requests=requests))


async def test_each_request_of_a_batch_has_its_own_answer_and_they_share_a_message():
    opened, answer = await answers_to(batch(begin(2), begin(3)), max_batch_bytes=10_000)
    assert opened.opened.takes_batches
    assert [(each.sequence, each.decision.call_id) for each in answer.batch.responses] == [
        (2, "s2"),
        (3, "s3"),
    ]


async def test_a_client_that_takes_no_batches_is_answered_one_by_one():
    answers = await answers_to(begin(2), begin(3), max_batch_bytes=0)
    assert [each.sequence for each in answers] == [1, 2, 3]


async def test_a_batch_of_answers_keeps_to_the_bytes_that_the_client_takes():
    answers = await answers_to(*map(begin, range(2, 22)), max_batch_bytes=50)
    told = [one for each in answers[1:] for one in each.batch.responses or (each,)]
    assert [one.sequence for one in told] == list(range(2, 22))
    assert all(each.ByteSize() <= 70 for each in answers)
    assert len(answers) > 5


async def test_a_batch_within_a_batch_is_malformed_and_the_rest_is_answered():
    _, answer = await answers_to(batch(begin(2), batch(begin(3))), max_batch_bytes=10_000)
    assert [each.WhichOneof("answer") for each in answer.batch.responses] == ["decision", "failure"]

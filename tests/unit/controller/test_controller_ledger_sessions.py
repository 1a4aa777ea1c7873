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

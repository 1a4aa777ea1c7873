"""`CallLedgerService` over the ledger: one task per request, answered as each is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc import aio

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, InvalidArgument
from burnish_controller.ledger.engine import CallLedger
from burnish_runtime.outbox import MOST_BYTES, MOST_ITEMS, Outbox

_Answers = Outbox[ledger_v1.StreamCallsResponse]
_Context = aio.ServicerContext[
    AsyncIterator[ledger_v1.StreamCallsRequest], AsyncIterator[ledger_v1.StreamCallsResponse]
]


class CallLedgerServicer(ledger_v1.CallLedgerServiceServicer):
    """Answers the sessions of interceptors, proposers and judges."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger

    async def StreamCalls(
        self, request_iterator: AsyncIterator[ledger_v1.StreamCallsRequest], context: _Context
    ) -> AsyncIterator[ledger_v1.StreamCallsResponse]:
        """Serves one session until its client leaves."""
        first = await anext(aiter(request_iterator), None)
        if first is None:
            return
        if not first.open.client_id:
            raise InvalidArgument("a session must begin with `open` and a `client_id`")
        client_id = first.open.client_id
        most_bytes = first.open.max_batch_bytes
        answers: _Answers = Outbox(
            ledger_v1.StreamCallsResponse.ByteSize, most_bytes=min(MOST_BYTES, most_bytes)
        )
        self._ledger.session_opened(client_id)
        reader = asyncio.create_task(self._read(client_id, request_iterator, answers))
        # Not at the end of this call, which gRPC may cut short: a send to a client that was killed
        # fails, and then the call is cancelled besides.
        reader.add_done_callback(lambda _: self._ledger.session_closed(client_id))
        most = MOST_ITEMS if most_bytes > 0 else 1
        try:
            yield ledger_v1.StreamCallsResponse(
                sequence=first.sequence, opened=ledger_v1.SessionOpened(takes_batches=True)
            )
            while group := await answers.group(most=most):
                if len(group) == 1:
                    yield group[0]
                else:
                    yield ledger_v1.StreamCallsResponse(
                        batch=ledger_v1.ResponseBatch(responses=group)
                    )
            # Tells of a reader that broke; one that was read to its end has nothing to tell.
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(
        self,
        client_id: str,
        requests: AsyncIterator[ledger_v1.StreamCallsRequest],
        answers: _Answers,
    ) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                async for message in requests:
                    for request in message.batch.requests or (message,):
                        group.create_task(self._answer(client_id, request, answers))
        finally:
            answers.close()

    async def _answer(
        self, client_id: str, request: ledger_v1.StreamCallsRequest, answers: _Answers
    ) -> None:
        response = ledger_v1.StreamCallsResponse(sequence=request.sequence)
        asker = (client_id, request.sequence)
        try:
            match request.WhichOneof("action"):
                case "begin":
                    decision = await self._ledger.begin(asker, request.begin)
                    response.decision.CopyFrom(decision)
                case "finish":
                    await self._ledger.finish(request.finish)
                    response.finished.SetInParent()
                case _:
                    raise InvalidArgument("a request must be `begin` or `finish`")
        except BurnishError as error:
            response.failure.CopyFrom(
                types_v1.Failure(
                    reason=error.reason, message=error.message, retryable=error.retryable
                )
            )
        answers.put(response)

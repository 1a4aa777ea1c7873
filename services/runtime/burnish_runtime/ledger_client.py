"""Client of the call ledger: one open stream, and nothing unanswered is ever forgotten.

Each request has a sequence number and a future; those made close together share a message. When the
stream breaks, the client comes back under its id, introduces itself again, and repeats what was not
answered under the same numbers, so that the ledger can tell a repetition from a new call. A
controller that is away means waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from grpc import aio

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.ledger.v1.call_ledger_service_pb2_grpc import CallLedgerServiceStub
from burnish.errors import BurnishError
from burnish.statuses import error_from_rpc
from burnish_runtime import ledger_errors as errors
from burnish_runtime import ledger_messages as messages
from burnish_runtime.backoff import Backoff
from burnish_runtime.outbox import MOST_BYTES, MOST_ITEMS, Outbox

_log = structlog.get_logger("burnish.ledger_client")
_ENVELOPE_BYTES = 64


@dataclass(slots=True, kw_only=True)
class _Pending:
    """A request without an answer.

    Attributes:
        request: What was or will be sent.
        answer: Where the answer goes.
        sent: Whether some stream took it.
        abandoned: Whether nobody waits for the answer any more.
    """

    request: ledger_v1.StreamCallsRequest
    answer: asyncio.Future[ledger_v1.StreamCallsResponse]
    sent: bool = False
    abandoned: bool = False


class LedgerClient:
    """Asks the call ledger before and after each paid call."""

    def __init__(
        self,
        channel: aio.Channel,
        *,
        client_id: str,
        reconnect: Backoff | None = None,
        max_message_bytes: int = 16 * 1024 * 1024,
        pause: float = 0.0,
    ) -> None:
        """Prepares a client; `start` opens the stream.

        Args:
            channel: Channel to the controller; stays the caller's to close.
            client_id: Unique for the life of this process.
            reconnect: How to come back.
            max_message_bytes: Largest message that the channel carries.
            pause: Least seconds between two messages, for a process whose calls take much longer:
                what a request may wait is saved in messages and commits.
        """
        self._stub = CallLedgerServiceStub(channel)
        self._client_id = client_id
        self._reconnect = Backoff() if reconnect is None else reconnect
        self._max_message_bytes = max_message_bytes
        self._sequence = 0
        self._pending: dict[int, _Pending] = {}
        self._pause = pause
        self._outbox: Outbox[_Pending] | None = None
        self._batches = False
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._answered = False
        self._problem = ""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def unanswered_count(self) -> int:
        """Requests that wait for an answer."""
        return len(self._pending)

    async def start(self) -> None:
        """Opens the stream in the background; the controller need not be there yet."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ledger-client")

    async def begin(self, call: ledger_v1.BeginCall, *, timeout: float) -> ledger_v1.CallDecision:  # noqa: ASYNC109 - as on a stub
        """Asks for leave to make a call.

        A caller that gives up, or is cancelled, makes no call; if leave was given meanwhile, it is
        handed back.

        Args:
            call: The call.
            timeout: Most seconds to wait for the decision.

        Raises:
            LedgerUnreachable: There was no decision in time. May be retried.
            LedgerRefused: The request is malformed.
            LedgerMessageTooLarge: The request is above the message limit.
            LedgerClientClosed: The client is not running.
        """
        self._require_running()
        pending = self._submit(ledger_v1.StreamCallsRequest(begin=call))
        try:
            async with asyncio.timeout(timeout):
                response = await asyncio.shield(pending.answer)
        except TimeoutError:
            self._abandon(pending)
            raise errors.unreachable(call, timeout, self._problem) from None
        except asyncio.CancelledError:
            self._abandon(pending)
            raise
        return response.decision

    async def finish(self, call: ledger_v1.FinishCall) -> None:
        """Reports the end of a call, and returns once the ledger has it durably.

        Waits for as long as the controller is away. A caller that is cancelled does not wait any
        more, but the report is still delivered.

        Raises:
            LedgerRefused: The request is malformed.
            LedgerMessageTooLarge: The request is above the message limit; leave out the trace.
            LedgerClientClosed: The client is not running, or was closed before the answer came.
        """
        self._require_running()
        pending = self._submit(ledger_v1.StreamCallsRequest(finish=call))
        try:
            await asyncio.shield(pending.answer)
        except asyncio.CancelledError:
            pending.abandoned = True
            raise

    async def close(self, *, grace: float = 5.0) -> None:
        """Waits for unanswered requests, then ends the stream.

        Args:
            grace: Most seconds to wait; what is unanswered then fails, and the ledger counts it as
                possibly paid.
        """
        self._closing = True
        if self._task is None:
            return
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("ledger_requests_unanswered", count=len(self._pending))
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        for pending in list(self._pending.values()):
            self._settle(pending, error=errors.closed())

    def _require_running(self) -> None:
        if self._task is None or self._closing:
            raise errors.closed()

    def _submit(self, request: ledger_v1.StreamCallsRequest) -> _Pending:
        size = request.ByteSize()
        if size > self._max_message_bytes - _ENVELOPE_BYTES:
            raise errors.too_large(size, limit=self._max_message_bytes)
        request.sequence = self._next_sequence()
        pending = _Pending(request=request, answer=asyncio.get_running_loop().create_future())
        self._pending[request.sequence] = pending
        self._idle.clear()
        if self._outbox is not None:
            self._outbox.put(pending)
        return pending

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    async def _run(self) -> None:
        """Keeps a stream open until it is cancelled."""
        failures = 0
        while True:
            self._answered = False
            try:
                await self._session()
                self._problem = "the stream ended"
            except (aio.AioRpcError, BurnishError) as error:
                ours = error_from_rpc(error) if isinstance(error, aio.AioRpcError) else error
                self._problem = f"{ours.reason}: {ours.message}"
            except Exception:
                # Whatever it was, callers wait for their answers: try again.
                _log.exception("ledger_stream_failed")
                self._problem = "unexpected exception, see the log"
            failures = 1 if self._answered else failures + 1
            seconds = self._reconnect.wait(failures)
            _log.warning(
                "ledger_stream_broken",
                problem=self._problem,
                failures=failures,
                unanswered=len(self._pending),
                retry_seconds=round(seconds, 3),
            )
            await asyncio.sleep(seconds)

    async def _session(self) -> None:
        """Runs one stream to its end."""
        # Half of the largest message leaves room for what is put around each request.
        most_bytes = min(MOST_BYTES, self._max_message_bytes // 2)
        outbox: Outbox[_Pending] = Outbox(_size, most_bytes=most_bytes, pause=self._pause)
        for pending in self._pending.values():
            outbox.put(pending)
        introduction = messages.introduction(
            self._client_id, sequence=self._next_sequence(), most_bytes=most_bytes
        )
        self._batches = False
        call = self._stub.StreamCalls(self._requests(introduction, outbox))
        self._outbox = outbox
        try:
            async for response in call:
                if response.sequence == introduction.sequence:
                    _require_opened(response)
                    self._batches = response.opened.takes_batches
                self._answered = True
                self._problem = ""
                for each in response.batch.responses or (response,):
                    self._take(each)
        finally:
            self._outbox = None
            call.cancel()

    async def _requests(
        self, introduction: ledger_v1.StreamCallsRequest, outbox: Outbox[_Pending]
    ) -> AsyncIterator[ledger_v1.StreamCallsRequest]:
        yield introduction
        while True:
            group = await outbox.group(most=MOST_ITEMS if self._batches else 1)
            requests = []
            for pending in group:
                if pending.request.sequence in self._pending:
                    pending.sent = True
                    requests.append(pending.request)
            if requests:
                yield messages.message_of(requests)

    def _take(self, response: ledger_v1.StreamCallsResponse) -> None:
        pending = self._pending.get(response.sequence)
        if pending is None:
            return
        error = None
        if response.WhichOneof("answer") == "failure":
            error = errors.refused(response.failure)
        self._settle(pending, response=response, error=error)

    def _settle(
        self,
        pending: _Pending,
        *,
        response: ledger_v1.StreamCallsResponse | None = None,
        error: BurnishError | None,
    ) -> None:
        """Takes a request off the list and tells whoever waits."""
        del self._pending[pending.request.sequence]
        if pending.abandoned or pending.answer.done():
            pending.answer.cancel()
            if error is not None:
                _log.warning("ledger_refused_unattended", reason=error.reason, error=error.message)
            elif response is not None:
                self._hand_back(response)
        elif error is not None:
            pending.answer.set_exception(error)
        elif response is not None:
            pending.answer.set_result(response)
        if not self._pending:
            self._idle.set()

    def _abandon(self, pending: _Pending) -> None:
        """Gives up on a begin; what a stream took may yet be granted, and is then handed back."""
        pending.abandoned = True
        if pending.answer.done():
            if pending.answer.exception() is None:
                self._hand_back(pending.answer.result())
        elif not pending.sent:
            self._settle(pending, error=None)

    def _hand_back(self, response: ledger_v1.StreamCallsResponse) -> None:
        """Releases the reservation of a call that nobody will make."""
        if response.decision.WhichOneof("decision") != "proceed":
            return
        finish = messages.handed_back(response.decision.call_id)
        self._submit(ledger_v1.StreamCallsRequest(finish=finish)).abandoned = True


def _size(pending: _Pending) -> int:
    return pending.request.ByteSize()


def _require_opened(response: ledger_v1.StreamCallsResponse) -> None:
    if response.WhichOneof("answer") == "failure":
        raise errors.refused(response.failure)

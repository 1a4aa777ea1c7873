"""The ledger client against scripted ledgers that answer, break and come back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import aio

from burnish import rpc
from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.types.v1 import rollout_pb2
from burnish.errors import PermissionDenied
from burnish_runtime.backoff import Backoff
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.ledger_errors import (
    LedgerClientClosed,
    LedgerMessageTooLarge,
    LedgerRefused,
    LedgerUnreachable,
)
from burnish_runtime.testing import HandlerService, running

Request = ledger_v1.StreamCallsRequest
Response = ledger_v1.StreamCallsResponse
Stream = Callable[[AsyncIterator[Request], Any], AsyncIterator[Response]]
QUICK = Backoff(initial_seconds=0.01, max_seconds=0.05)


class Ledger:
    """A ledger that answers by a script.

    Attributes:
        sessions: Requests received, by session, those of a batch each for itself.
        messages: How many messages they came in.
        dies_after: How many requests each session, in order, reads before it dies unanswered.
        silent: Whether begins are left unanswered.
        gate: Answers wait for it.
    """

    def __init__(self, *, dies_after: tuple[int, ...] = (), batches: bool = False) -> None:
        self.sessions: list[list[Request]] = []
        self.messages = 0
        self._batches = batches
        self.dies_after = dies_after
        self.silent = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._calls: dict[tuple[str, int], str] = {}

    async def stream(
        self, requests: AsyncIterator[Request], context: object
    ) -> AsyncIterator[Response]:
        seen: list[Request] = []
        self.sessions.append(seen)
        index = len(self.sessions) - 1
        lives = self.dies_after[index] if index < len(self.dies_after) else None
        async for message in requests:
            self.messages += 1
            answers = []
            for request in message.batch.requests or (message,):
                seen.append(request)
                if lives is not None and len(seen) > lives:
                    raise RuntimeError("scripted death")
                await self.gate.wait()
                answer = self._answer(seen[0].open.client_id, request)
                if answer is not None:
                    answers.append(answer)
            if len(answers) > 1:
                yield Response(batch=ledger_v1.ResponseBatch(responses=answers))
            elif answers:
                yield answers[0]

    def finished(self) -> list[ledger_v1.FinishCall]:
        return [one.finish for seen in self.sessions for one in seen if one.HasField("finish")]

    def _answer(self, client: str, request: Request) -> Response | None:
        action = request.WhichOneof("action")
        if action == "open":
            opened = ledger_v1.SessionOpened(takes_batches=self._batches)
            return Response(sequence=request.sequence, opened=opened)
        if action == "finish":
            return Response(sequence=request.sequence, finished=ledger_v1.CallFinished())
        if self.silent:
            return None
        if request.begin.job == "malformed":
            return Response(
                sequence=request.sequence,
                failure=rollout_pb2.Failure(
                    reason="JOB_NAME_INVALID", message="no such form", metadata={"job": "malformed"}
                ),
            )
        key = (client, request.sequence)
        call_id = self._calls.setdefault(key, f"call-{len(self._calls)}")
        return Response(
            sequence=request.sequence,
            decision=ledger_v1.CallDecision(call_id=call_id, proceed=ledger_v1.Proceed()),
        )


def service_of(stream: Stream) -> HandlerService:
    handler = grpc.stream_stream_rpc_method_handler(
        stream,
        request_deserializer=Request.FromString,
        response_serializer=Response.SerializeToString,
    )
    return HandlerService(
        {"StreamCalls": handler}, full_name="burnish.api.ledger.v1.CallLedgerService"
    )


@contextlib.asynccontextmanager
async def serving(ledger: Ledger) -> AsyncIterator[aio.Channel]:
    async with running(service_of(ledger.stream)) as channel:
        yield channel


@contextlib.asynccontextmanager
async def client_of(channel: aio.Channel, *, grace: float = 5.0) -> AsyncIterator[LedgerClient]:
    client = LedgerClient(channel, client_id="interceptor-0/1", reconnect=QUICK)
    await client.start()
    try:
        yield client
    finally:
        await client.close(grace=grace)


def a_call(scope: str = "rollout-1") -> ledger_v1.BeginCall:
    return ledger_v1.BeginCall(job="jobs/a", scope=scope, attempt=1, request_hash="ab" * 32)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the ledger is asked from outside
            await asyncio.sleep(0.005)


async def together(*awaitables: Awaitable[object]) -> list[object]:
    return list(await asyncio.gather(*awaitables))


async def test_a_begun_call_is_decided_and_its_end_is_acknowledged():
    ledger = Ledger()
    async with serving(ledger) as channel, client_of(channel) as client:
        decision = await client.begin(a_call(), timeout=10)
        await client.finish(ledger_v1.FinishCall(call_id=decision.call_id))
        assert client.unanswered_count == 0
    assert decision.HasField("proceed")
    assert [one.call_id for one in ledger.finished()] == [decision.call_id]


async def test_the_first_message_of_every_session_introduces_the_client():
    ledger = Ledger(dies_after=(2, 3))
    async with serving(ledger) as channel, client_of(channel) as client:
        await together(*(client.begin(a_call(str(n)), timeout=20) for n in range(8)))
    assert len(ledger.sessions) == 3
    assert {seen[0].open.client_id for seen in ledger.sessions} == {"interceptor-0/1"}


async def test_unanswered_requests_are_repeated_under_the_same_sequence():
    ledger = Ledger(dies_after=(5, 1, 9))
    async with serving(ledger) as channel, client_of(channel) as client:
        decisions = await asyncio.gather(
            *(client.begin(a_call(str(n)), timeout=20) for n in range(20))
        )
        await together(
            *(client.finish(ledger_v1.FinishCall(call_id=one.call_id)) for one in decisions)
        )
    assert len({one.call_id for one in decisions}) == 20
    by_sequence: dict[int, set[bytes]] = {}
    for request in (one for seen in ledger.sessions for one in seen[1:]):
        by_sequence.setdefault(request.sequence, set()).add(request.SerializeToString())
    assert len(by_sequence) == 40
    assert all(len(forms) == 1 for forms in by_sequence.values())


async def test_answered_requests_are_not_repeated():
    ledger = Ledger(dies_after=(2,))
    async with serving(ledger) as channel, client_of(channel) as client:
        await client.begin(a_call("first"), timeout=20)
        await client.begin(a_call("second"), timeout=20)
    scopes = [[one.begin.scope for one in seen[1:]] for seen in ledger.sessions]
    assert scopes == [["first", "second"], ["second"]]


async def test_finish_waits_for_a_controller_that_is_away():
    ledger = Ledger()
    async with serving(ledger) as channel:
        ledger.gate.clear()
        async with client_of(channel) as client:
            waiting = asyncio.create_task(client.finish(ledger_v1.FinishCall(call_id="a")))
            await until(lambda: bool(ledger.sessions) and client.unanswered_count == 1)
            assert not waiting.done()
            ledger.gate.set()
            await waiting


async def test_a_client_can_start_before_the_controller(tmp_path):
    target = f"unix:{tmp_path / 'socket'}"
    server = aio.server()
    await service_of(Ledger().stream).start(server)
    server.add_insecure_port(target)
    async with rpc.connect(target) as channel, client_of(channel) as client:
        waiting = asyncio.create_task(client.begin(a_call(), timeout=60))
        with pytest.raises(LedgerUnreachable):
            await client.begin(a_call(), timeout=0.05)
        await server.start()
        try:
            assert (await waiting).HasField("proceed")
            assert client.unanswered_count == 0
        finally:
            await server.stop(grace=None)


async def test_a_ledger_that_is_not_there_is_unavailable():
    async with rpc.connect("127.0.0.1:1", token="any") as channel, client_of(channel) as client:
        with pytest.raises(LedgerUnreachable) as caught:
            await client.begin(a_call(), timeout=0.1)
        assert client.unanswered_count == 0
    assert caught.value.retryable
    assert caught.value.metadata["job"] == "jobs/a"


async def test_why_the_ledger_gives_no_decision_is_told():
    async def lock_out(requests: AsyncIterator[Request], context: object):
        async for request in requests:
            if request.HasField("begin"):
                raise PermissionDenied("not you", reason="CLIENT_LOCKED_OUT")
            yield Response(sequence=request.sequence, opened=ledger_v1.SessionOpened())

    async with running(service_of(lock_out)) as channel, client_of(channel, grace=0) as client:
        with pytest.raises(LedgerUnreachable) as caught:
            await client.begin(a_call(), timeout=5)
    assert caught.value.metadata["problem"] == "CLIENT_LOCKED_OUT: not you"


async def test_leave_that_nobody_waits_for_is_handed_back():
    ledger = Ledger()
    async with serving(ledger) as channel, client_of(channel) as client:
        await client.begin(a_call("first"), timeout=10)
        ledger.gate.clear()
        giving_up = asyncio.create_task(client.begin(a_call("second"), timeout=10))
        await until(lambda: len(ledger.sessions[0]) == 3)
        giving_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving_up
        ledger.gate.set()
        await until(lambda: client.unanswered_count == 0)
    (finish,) = ledger.finished()
    assert finish.not_sent
    assert finish.call_id == "call-1"
    assert finish.failure.reason == "CALLER_GONE"


async def test_a_cancelled_finish_is_still_delivered():
    ledger = Ledger()
    async with serving(ledger) as channel, client_of(channel) as client:
        ledger.gate.clear()
        leaving = asyncio.create_task(client.finish(ledger_v1.FinishCall(call_id="a")))
        await until(lambda: client.unanswered_count == 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        ledger.gate.set()
        await until(lambda: client.unanswered_count == 0)
    assert [one.call_id for one in ledger.finished()] == ["a"]


async def test_a_malformed_request_is_refused_with_its_reason():
    async with serving(Ledger()) as channel, client_of(channel) as client:
        with pytest.raises(LedgerRefused) as caught:
            await client.begin(ledger_v1.BeginCall(job="malformed"), timeout=10)
    assert caught.value.reason == "JOB_NAME_INVALID"
    assert caught.value.metadata == {"job": "malformed"}


async def test_a_request_that_the_stream_cannot_carry_is_refused_at_once():
    async with serving(Ledger()) as channel, client_of(channel) as client:
        huge = ledger_v1.FinishCall(
            call_id="a", reply=ledger_v1.CallReply(body=bytes(16 * 1024 * 1024))
        )
        with pytest.raises(LedgerMessageTooLarge):
            await client.finish(huge)
        await client.finish(ledger_v1.FinishCall(call_id="a"))


async def test_close_fails_what_stays_unanswered():
    ledger = Ledger()
    ledger.silent = True
    async with serving(ledger) as channel:
        async with client_of(channel, grace=0.05) as client:
            waiting = asyncio.create_task(client.begin(a_call(), timeout=60))
            await until(lambda: client.unanswered_count == 1)
        with pytest.raises(LedgerClientClosed):
            await waiting
        with pytest.raises(LedgerClientClosed):
            await client.finish(ledger_v1.FinishCall(call_id="a"))


@pytest.mark.parametrize("batches", [False, True])
async def test_a_thousand_calls_at_once_survive_a_ledger_that_keeps_dying(batches):
    ledger = Ledger(dies_after=(700, 300, 900, 1, 1200), batches=batches)
    async with serving(ledger) as channel, client_of(channel) as client:

        async def pay(number: int) -> str:
            decision = await client.begin(a_call(str(number)), timeout=60)
            await client.finish(ledger_v1.FinishCall(call_id=decision.call_id))
            return decision.call_id

        paid = await asyncio.gather(*(pay(number) for number in range(1000)))
    assert len(set(paid)) == 1000
    assert {one.call_id for one in ledger.finished()} == set(paid)


async def test_calls_made_at_once_share_messages_with_a_ledger_that_takes_them():
    ledger = Ledger(batches=True)
    async with serving(ledger) as channel, client_of(channel) as client:
        await client.begin(a_call("first"), timeout=10)
        before = ledger.messages
        await together(*(client.begin(a_call(str(n)), timeout=10) for n in range(100)))
        assert ledger.messages - before < 10
    assert [one.begin.scope for one in ledger.sessions[0][2:]] == [str(n) for n in range(100)]


async def test_a_ledger_that_takes_no_batches_is_sent_each_request_for_itself():
    ledger = Ledger()
    async with serving(ledger) as channel, client_of(channel) as client:
        await together(*(client.begin(a_call(str(n)), timeout=10) for n in range(20)))
    assert ledger.messages == 21

"""A controller in memory: policies, and a call ledger with the ledger's rules."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from grpc import aio

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.ledger.v1.call_ledger_service_pb2_grpc import (
    CallLedgerServiceServicer,
    add_CallLedgerServiceServicer_to_server,
)
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.policy.v1.policy_service_pb2_grpc import (
    PolicyServiceServicer,
    add_PolicyServiceServicer_to_server,
)
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish.api.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from burnish.api.types.v1 import rollout_pb2
from burnish_runtime import trace_columns

_Key = tuple[str, str, int]
Context = aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class LedgerCall:
    """A call as the fake ledger knows it."""

    key: _Key
    begin: ledger_v1.BeginCall
    finish: ledger_v1.FinishCall | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)


class _Policies(PolicyServiceServicer):
    """What operators ask is not asked of a controller in memory."""

    async def PublishPolicy(
        self, request: policy_v1.PublishPolicyRequest, context: Context
    ) -> policy_v1.PublishPolicyResponse:
        """Refuses."""
        return await _unasked(context)

    async def SetPolicyWeights(
        self, request: policy_v1.SetPolicyWeightsRequest, context: Context
    ) -> policy_v1.SetPolicyWeightsResponse:
        """Refuses."""
        return await _unasked(context)

    async def ListPolicies(
        self, request: policy_v1.ListPoliciesRequest, context: Context
    ) -> policy_v1.ListPoliciesResponse:
        """Refuses."""
        return await _unasked(context)

    async def DeletePolicy(
        self, request: policy_v1.DeletePolicyRequest, context: Context
    ) -> policy_v1.DeletePolicyResponse:
        """Refuses."""
        return await _unasked(context)


class _Traces(TraceServiceServicer):
    """Keeps what it is given.

    Attributes:
        traces: By call id.
        dropped_count: Traces that interceptors had to drop.
    """

    def __init__(self) -> None:
        self.traces: dict[str, trace_v1.Trace] = {}
        self.dropped_count = 0

    async def WriteTraces(
        self, request: trace_v1.WriteTracesRequest, context: Context
    ) -> trace_v1.WriteTracesResponse:
        """Keeps a batch."""
        self.dropped_count += request.dropped_count
        given = [*request.traces, *trace_columns.traces(request.columns)]
        self.traces.update({trace.call_id: trace for trace in given})
        return trace_v1.WriteTracesResponse()

    async def ListTraces(
        self, request: trace_v1.ListTracesRequest, context: Context
    ) -> trace_v1.ListTracesResponse:
        """Refuses."""
        return await _unasked(context)

    async def GetSessionTrace(
        self, request: trace_v1.GetSessionTraceRequest, context: Context
    ) -> trace_v1.GetSessionTraceResponse:
        """Refuses."""
        return await _unasked(context)


class FakeController(_Policies, _Traces, CallLedgerServiceServicer):
    """Policies, traces and a call ledger in memory, with the ledger's rules.

    Attributes:
        policies: By name.
        candidates: By candidate id.
        calls: Every call that was begun, by id.
        refusal: When set, every call is refused with it.
        hold_finishes: Cleared to leave reports unanswered.
        fetches: How often each policy and candidate was fetched.
        reports: What interceptors said of the policies, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[policy_v1.ReportPolicyStatusRequest] = []
        self.policies: dict[str, policy_v1.Policy] = {}
        self.candidates: dict[str, policy_v1.CandidatePrompts] = {}
        self.calls: dict[str, LedgerCall] = {}
        self.refusal: rollout_pb2.Failure | None = None
        self.hold_finishes = asyncio.Event()
        self.hold_finishes.set()
        self.fetches: Counter[str] = Counter()
        self.changes: asyncio.Queue[policy_v1.WatchPoliciesResponse] = asyncio.Queue()
        self._ordinals: Counter[tuple[str, int, str]] = Counter()
        self._by_key: dict[_Key, LedgerCall] = {}
        self._server: aio.Server | None = None
        self.target = ""

    async def start(self, address: str = "127.0.0.1:0") -> None:
        """Serves on a free port, or again on the address of before."""
        self._server = aio.server()
        add_PolicyServiceServicer_to_server(self, self._server)
        add_CallLedgerServiceServicer_to_server(self, self._server)
        add_TraceServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(address)
        await self._server.start()
        self.target = f"127.0.0.1:{port}"

    async def stop(self) -> None:
        """Breaks every stream; what was finished stays."""
        if self._server is not None:
            await self._server.stop(grace=None)

    @property
    def finished(self) -> list[ledger_v1.FinishCall]:
        """Reports of all calls that ended, in the order of their begin."""
        return [call.finish for call in self.calls.values() if call.finish is not None]

    async def GetPolicy(
        self, request: policy_v1.GetPolicyRequest, context: Context
    ) -> policy_v1.GetPolicyResponse:
        """Gives a policy."""
        self.fetches[request.name] += 1
        if request.name not in self.policies:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such policy")
        return policy_v1.GetPolicyResponse(policy=self.policies[request.name])

    async def GetCandidate(
        self, request: policy_v1.GetCandidateRequest, context: Context
    ) -> policy_v1.GetCandidateResponse:
        """Gives a candidate."""
        self.fetches[request.candidate_id] += 1
        if request.candidate_id not in self.candidates:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such candidate")
        return policy_v1.GetCandidateResponse(prompts=self.candidates[request.candidate_id])

    async def WatchPolicies(
        self, request: policy_v1.WatchPoliciesRequest, context: Context
    ) -> AsyncIterator[policy_v1.WatchPoliciesResponse]:
        """Gives what the test puts into `changes`."""
        while True:
            yield await self.changes.get()

    async def ReportPolicyStatus(
        self, request: policy_v1.ReportPolicyStatusRequest, context: Context
    ) -> policy_v1.ReportPolicyStatusResponse:
        """Takes note."""
        self.reports.append(request)
        return policy_v1.ReportPolicyStatusResponse()

    async def StreamCalls(
        self,
        request_iterator: AsyncIterator[ledger_v1.StreamCallsRequest],
        context: Context,
    ) -> AsyncIterator[ledger_v1.StreamCallsResponse]:
        """Answers each request when its answer is known."""
        answers: asyncio.Queue[ledger_v1.StreamCallsResponse] = asyncio.Queue()
        begun: list[str] = []

        async def answer(request: ledger_v1.StreamCallsRequest) -> None:
            response = await self._answer(request)
            begun.append(response.decision.call_id)
            answers.put_nowait(response)

        async def read() -> None:
            async with asyncio.TaskGroup() as group:
                async for request in request_iterator:
                    group.create_task(answer(request))

        reader = asyncio.ensure_future(read())
        try:
            while True:
                yield await answers.get()
        finally:
            reader.cancel()
            await asyncio.wait([reader])
            # Whoever waits for a call of a client that has gone goes on without its reply.
            for call_id in begun:
                if call_id in self.calls:
                    self.calls[call_id].finished.set()

    async def _answer(self, request: ledger_v1.StreamCallsRequest) -> ledger_v1.StreamCallsResponse:
        response = ledger_v1.StreamCallsResponse(sequence=request.sequence)
        if request.HasField("begin"):
            response.decision.CopyFrom(await self._begin(request.begin))
        elif request.HasField("finish"):
            await self.hold_finishes.wait()
            call = self.calls[request.finish.call_id]
            call.finish = request.finish
            call.finished.set()
            response.finished.SetInParent()
        else:
            response.opened.SetInParent()
        return response

    async def _begin(self, begin: ledger_v1.BeginCall) -> ledger_v1.CallDecision:
        if self.refusal is not None:
            return ledger_v1.CallDecision(refused=self.refusal)
        counter = (begin.scope, begin.attempt, begin.request_hash)
        if not begin.client_retry or not self._ordinals[counter]:
            self._ordinals[counter] += 1
        key = (begin.scope, begin.request_hash, self._ordinals[counter] - 1)
        known = self._by_key.get(key)
        if known is not None:
            await known.finished.wait()
            if known.finish is not None and not known.finish.HasField("failure"):
                return ledger_v1.CallDecision(
                    call_id=f"call-{key[2]}-{key[1][:8]}", replay=known.finish.reply
                )
        call_id = f"call-{len(self.calls)}"
        self.calls[call_id] = self._by_key[key] = LedgerCall(key, begin)
        return ledger_v1.CallDecision(call_id=call_id, proceed=ledger_v1.Proceed())


async def _unasked(context: Context) -> NoReturn:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not asked in tests")


@asynccontextmanager
async def controller() -> AsyncIterator[FakeController]:
    """Runs a controller in memory."""
    running = FakeController()
    await running.start()
    try:
        yield running
    finally:
        await running.stop()

"""`TraceService`: stores traces of online traffic, and shows the calls of any rollout."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import structlog
from grpc import aio

from burnish import prices, trace_v3
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.trace import v1 as trace_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument, NotFound
from burnish_controller.ledger.calls import Call
from burnish_controller.ledger.engine import Pricer
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.traces import TraceStore
from burnish_controller.telemetry import ControllerMetrics
from burnish_runtime import trace_columns

MAX_BATCH = 1024
_PAGE = 50
_MAX_PAGE = 500
_VIEWS = {trace_v1.TRACE_VIEW_PROVIDER: trace_v3.View.PROVIDER}
_Context = aio.ServicerContext[Any, Any]
_log = structlog.get_logger("burnish.controller.traces")


class RolloutNotFound(NotFound):
    """No call of such a rollout."""

    default_reason = "ROLLOUT_NOT_FOUND"


class TraceServicer(trace_v1.TraceServiceServicer):
    """Traces over gRPC."""

    def __init__(
        self,
        store: TraceStore,
        calls: CallStore,
        *,
        price_of: Pricer,
        metrics: ControllerMetrics,
    ) -> None:
        """Takes what is read and written.

        Args:
            store: Traces of online calls.
            calls: Journaled calls of offline rollouts.
            price_of: Price of a model for a prompt of so many tokens; None when unknown.
            metrics: Where stored traces are counted.
        """
        self._store = store
        self._calls = calls
        self._price_of = price_of
        self._metrics = metrics

    async def WriteTraces(
        self, request: trace_v1.WriteTracesRequest, context: _Context
    ) -> trace_v1.WriteTracesResponse:
        """Stores a batch; durable on return."""
        count = len(request.traces) + len(request.columns.call_ids)
        if count > MAX_BATCH:
            raise InvalidArgument(f"a batch of {count} traces; send at most {MAX_BATCH}")
        # In a thread, because a whole batch takes some milliseconds, and the first price far more.
        given = await asyncio.to_thread(self._priced, request)
        if request.dropped_count:
            _log.warning("traces_dropped", node=request.node_id, count=request.dropped_count)
        good = [trace for trace in given if trace.call_id and trace.rollout_id]
        stored = await self._store.add(good)
        self._metrics.traces_stored(stored, dropped=request.dropped_count)
        rejected = {
            trace.call_id: types_v1.Failure(
                reason="TRACE_INVALID", message="`call_id` and `rollout_id` are required"
            )
            for trace in given
            if not trace.call_id or not trace.rollout_id
        }
        return trace_v1.WriteTracesResponse(rejected=rejected)

    async def ListTraces(
        self, request: trace_v1.ListTracesRequest, context: _Context
    ) -> trace_v1.ListTracesResponse:
        """Lists the calls of a rollout in the order they began."""
        found = await self._of_rollout(request.rollout_id)
        size = min(request.page_size or _PAGE, _MAX_PAGE)
        start = int(request.page_token) if request.page_token.isdecimal() else 0
        response = trace_v1.ListTracesResponse(traces=found[start : start + size])
        if start + size < len(found):
            response.next_page_token = str(start + size)
        return response

    async def GetSessionTrace(
        self, request: trace_v1.GetSessionTraceRequest, context: _Context
    ) -> trace_v1.GetSessionTraceResponse:
        """Returns the calls of a rollout as one document of trace format 3."""
        short = request.form == trace_v1.TRACE_FORM_COMPACT
        view = _VIEWS.get(request.view, trace_v3.View.APP)
        document = await self.session(request.rollout_id, short=short, view=view)
        return trace_v1.GetSessionTraceResponse(session_trace=document)

    async def session(
        self, rollout_id: str, *, short: bool = False, view: trace_v3.View = trace_v3.View.APP
    ) -> bytes:
        """Returns the trace of a rollout as JSON.

        Args:
            rollout_id: The rollout.
            short: Whether it is written in the compact form.
            view: Whose messages are shown.

        Raises:
            RolloutNotFound: No call of it is known.
        """
        found = await self._of_rollout(rollout_id)
        write = trace_v3.compact if short else trace_v3.session
        document = write(rollout_id, found, view=view)
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    async def _of_rollout(self, rollout_id: str) -> list[trace_v1.Trace]:
        journaled = (await self._calls.of_scopes([rollout_id])).get(rollout_id, [])
        online = await self._store.of_rollout(rollout_id)
        found = [_trace(call) for call in journaled] + online
        if not found:
            raise RolloutNotFound(
                f"no call of rollout `{rollout_id}` is known",
                metadata={"rollout_id": rollout_id},
            )
        mixed = is_mixed(online)
        for trace in found:
            trace.mixed = mixed
        return found

    def _priced(self, request: trace_v1.WriteTracesRequest) -> list[trace_v1.Trace]:
        given = [*request.traces, *trace_columns.traces(request.columns)]
        for trace in given:
            self._price(trace)
        return given

    def _price(self, trace: trace_v1.Trace) -> None:
        if not trace.HasField("usage") or trace.usage.HasField("cost_usd"):
            return
        model = types_v1.ModelSpec(provider=trace.provider, model=trace.model)
        dollars = prices.cost(self._price_of(model, trace.usage.input_tokens), trace.usage)
        if dollars is not None:
            trace.usage.cost_usd = dollars


def is_mixed(traces: Sequence[trace_v1.Trace]) -> bool:
    """Says whether a rollout of online traffic saw two candidates, or two versions of its policy.

    Its reward tells nothing about either of them.
    """
    candidates = {trace.call.candidate_id for trace in traces if trace.call.candidate_id}
    arms = {trace.arm for trace in traces if trace.arm}
    versions = {(trace.policy, trace.policy_version) for trace in traces}
    return max(len(candidates), len(arms), len(versions)) > 1


def _trace(call: Call) -> trace_v1.Trace:
    told = call.trace if call.trace is not None else ledger_v1.CallTrace()
    return trace_v1.Trace(
        call_id=call.call_id,
        rollout_id=call.scope,
        policy=f"policies/{call.job_id}",
        call=call.trace,
        trace_id=told.trace_id,
        match_ratio=told.match_ratio if told.HasField("match_ratio") else None,
        overhead=told.overhead if told.HasField("overhead") else None,
        api=told.api,
        reply=call.reply,
        usage=call.usage,
        failure=call.failure,
        provider=call.model.provider,
        model=call.model.model,
    )

"""`TraceService`: stores traces of online traffic, and shows the calls of any rollout."""

from __future__ import annotations

from typing import Any

import structlog
from grpc import aio
from sqlalchemy import Connection, select

from burnish.api.trace import v1 as trace_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument, NotFound
from burnish_controller.ledger.calls import Call
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import Database, insert_or_ignore
from burnish_controller.store.tables import traces
from burnish_controller.store.writer import Writer

MAX_BATCH = 512
_PAGE = 50
_MAX_PAGE = 500
_Context = aio.ServicerContext[Any, Any]
_log = structlog.get_logger("burnish.controller.traces")


class RolloutNotFound(NotFound):
    """No call of such a rollout."""

    default_reason = "ROLLOUT_NOT_FOUND"


class TraceServicer(trace_v1.TraceServiceServicer):
    """Traces over gRPC."""

    def __init__(
        self, database: Database, writer: Writer, calls: CallStore, *, tenant: str
    ) -> None:
        self._engine = database.engine
        self._writer = writer
        self._calls = calls
        self._tenant = tenant

    async def WriteTraces(
        self, request: trace_v1.WriteTracesRequest, context: _Context
    ) -> trace_v1.WriteTracesResponse:
        """Stores a batch; durable on return."""
        if len(request.traces) > MAX_BATCH:
            raise InvalidArgument(
                f"`traces` has {len(request.traces)} entries; send at most {MAX_BATCH}"
            )
        if request.dropped_count:
            _log.warning("traces dropped", node=request.node_id, count=request.dropped_count)
        rejected = {
            trace.call_id: types_v1.Failure(
                reason="TRACE_INVALID", message="`call_id` and `rollout_id` are required"
            )
            for trace in request.traces
            if not trace.call_id or not trace.rollout_id
        }
        rows = [
            {
                "tenant": self._tenant,
                "call_id": trace.call_id,
                "rollout_id": trace.rollout_id,
                "policy": trace.policy,
                "data": trace.SerializeToString(),
            }
            for trace in request.traces
            if trace.call_id not in rejected
        ]

        def work(connection: Connection) -> None:
            if rows:
                connection.execute(insert_or_ignore(connection, traces), rows)

        await self._writer.write(work)
        return trace_v1.WriteTracesResponse(rejected=rejected)

    async def ListTraces(
        self, request: trace_v1.ListTracesRequest, context: _Context
    ) -> trace_v1.ListTracesResponse:
        """Lists the calls of a rollout in the order they began."""
        found = await self._of_rollout(request.rollout_id)
        if not found:
            raise RolloutNotFound(
                f"no call of rollout `{request.rollout_id}` is known",
                metadata={"rollout_id": request.rollout_id},
            )
        size = min(request.page_size or _PAGE, _MAX_PAGE)
        start = int(request.page_token) if request.page_token.isdecimal() else 0
        response = trace_v1.ListTracesResponse(traces=found[start : start + size])
        if start + size < len(found):
            response.next_page_token = str(start + size)
        return response

    async def _of_rollout(self, rollout_id: str) -> list[trace_v1.Trace]:
        journaled = (await self._calls.of_scopes([rollout_id])).get(rollout_id, [])
        query = (
            select(traces.c.data)
            .where(traces.c.tenant == self._tenant, traces.c.rollout_id == rollout_id)
            .order_by(traces.c.call_id)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).scalars().all()
        return [_trace(call) for call in journaled] + [
            trace_v1.Trace.FromString(row) for row in rows
        ]


def _trace(call: Call) -> trace_v1.Trace:
    usage = types_v1.Usage(
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        call_count=1,
        possibly_paid_call_count=call.lost_calls,
        estimated=call.estimated,
    )
    if call.usd is not None:
        usage.cost_usd = call.usd
    return trace_v1.Trace(
        call_id=call.call_id,
        rollout_id=call.scope,
        policy=f"policies/{call.job_id}",
        call=call.trace,
        reply=call.reply,
        usage=usage,
        failure=call.failure,
    )

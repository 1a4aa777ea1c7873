"""Traces of online calls, by rollout; each call once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from burnish.api.trace import v1 as trace_v1
from burnish_controller.store.database import Database, insert_or_ignore
from burnish_controller.store.tables import traces
from burnish_controller.store.writer import Writer


class TraceStore:
    """One tenant's traces of online calls."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant

    async def add(self, found: Sequence[trace_v1.Trace]) -> list[trace_v1.Trace]:
        """Stores traces, durable on return, and returns those that were new."""

        def work(connection: Connection) -> list[trace_v1.Trace]:
            new = []
            for one in found:
                row = {
                    "tenant": self._tenant,
                    "call_id": one.call_id,
                    "rollout_id": one.rollout_id,
                    "policy": one.policy,
                    "data": one.SerializeToString(),
                }
                if connection.execute(insert_or_ignore(connection, traces), row).rowcount:
                    new.append(one)
            return new

        return await self._writer.write(work) if found else []

    async def of_rollout(self, rollout_id: str) -> list[trace_v1.Trace]:
        """Returns the calls of a rollout in the order they began."""
        query = select(traces.c.data).where(
            traces.c.tenant == self._tenant, traces.c.rollout_id == rollout_id
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).scalars().all()
        found = [trace_v1.Trace.FromString(row) for row in rows]
        return sorted(found, key=_order)


def _order(trace: trace_v1.Trace) -> tuple[int, str]:
    return (trace.call.start_time.ToNanoseconds(), trace.call_id)

"""Traces of online calls, by rollout; each call once, and the oldest make room for new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, delete, func, insert, select

from burnish.api.trace import v1 as trace_v1
from burnish.errors import InvalidArgument
from burnish_controller.store.database import Database
from burnish_controller.store.tables import traces
from burnish_controller.store.writer import Writer

DEFAULT_MAX_BYTES = 4 * 1024**3
_MAX_BYTES = "BURNISH_TRACE_STORE_BYTES"
_AT_ONCE = 512
_log = structlog.get_logger("burnish.controller.traces")


class TraceStoreMisconfigured(InvalidArgument):
    """A bound that is no number of bytes."""

    default_reason = "SETTINGS_INVALID"


class TraceStore:
    """One tenant's traces of online calls."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        *,
        tenant: str,
        max_bytes: int = DEFAULT_MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens nothing.

        Args:
            database: Where to read.
            writer: Where to write.
            tenant: Whose traces.
            max_bytes: Bytes of traces above which the oldest are deleted.
            clock: Unix seconds.
        """
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant
        self._max_bytes = max_bytes
        self._clock = clock
        self._byte_count: int | None = None

    async def add(self, found: Sequence[trace_v1.Trace]) -> list[trace_v1.Trace]:
        """Stores traces, durable on return, and returns those that were new."""
        if not found:
            return []
        rows: dict[str, dict[str, Any]] = {
            one.call_id: {
                "tenant": self._tenant,
                "call_id": one.call_id,
                "rollout_id": one.rollout_id,
                "policy": one.policy,
                "data": one.SerializeToString(),
                "create_time": self._clock(),
            }
            for one in found
        }

        def work(connection: Connection) -> tuple[set[str], int]:
            size = self._size(connection) if self._byte_count is None else self._byte_count
            new = rows.keys() - self._known(connection, list(rows))
            if new:
                added = [row for call_id, row in rows.items() if call_id in new]
                connection.execute(insert(traces), added)
            size += sum(len(rows[call_id]["data"]) for call_id in new)
            while size > self._max_bytes:
                freed = self._delete_oldest(connection)
                if not freed:
                    break
                size -= freed
            return set(new), size

        new, self._byte_count = await self._writer.write(work)
        return list({one.call_id: one for one in found if one.call_id in new}.values())

    async def of_rollout(self, rollout_id: str) -> list[trace_v1.Trace]:
        """Returns the calls of a rollout in the order they began."""
        query = select(traces.c.data).where(
            traces.c.tenant == self._tenant, traces.c.rollout_id == rollout_id
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).scalars().all()
        found = [trace_v1.Trace.FromString(row) for row in rows]
        return sorted(found, key=_order)

    def _known(self, connection: Connection, call_ids: Sequence[str]) -> set[str]:
        query = select(traces.c.call_id).where(
            traces.c.tenant == self._tenant, traces.c.call_id.in_(call_ids)
        )
        return set(connection.execute(query).scalars())

    def _size(self, connection: Connection) -> int:
        query = select(func.sum(func.length(traces.c.data))).where(traces.c.tenant == self._tenant)
        return int(connection.execute(query).scalar() or 0)

    def _delete_oldest(self, connection: Connection) -> int:
        query = (
            select(traces.c.call_id, func.length(traces.c.data))
            .where(traces.c.tenant == self._tenant)
            .order_by(traces.c.create_time, traces.c.call_id)
            .limit(_AT_ONCE)
        )
        rows = connection.execute(query).all()
        connection.execute(
            delete(traces).where(
                traces.c.tenant == self._tenant, traces.c.call_id.in_([row[0] for row in rows])
            )
        )
        _log.info("traces_deleted", count=len(rows), reason="store_full")
        return sum(int(row[1]) for row in rows)


def max_bytes_from(environ: Mapping[str, str]) -> int:
    """Reads BURNISH_TRACE_STORE_BYTES.

    Raises:
        TraceStoreMisconfigured: It is no number.
    """
    text = environ.get(_MAX_BYTES, "").strip()
    if not text:
        return DEFAULT_MAX_BYTES
    if not (text.isascii() and text.isdigit()):
        raise TraceStoreMisconfigured(f"{_MAX_BYTES}=`{text}` is not a number of bytes")
    return int(text)


def _order(trace: trace_v1.Trace) -> tuple[int, str]:
    return (trace.call.start_time.ToNanoseconds(), trace.call_id)

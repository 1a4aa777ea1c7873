"""The event log of every job: gap-free, each event once, followed live by its watchers."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator

from sqlalchemy import Connection, func, insert, select

from burnish.api.job import v1 as job_v1
from burnish_controller.store.database import Database
from burnish_controller.store.tables import events
from burnish_controller.store.writer import Writer

_PAGE = 500


class EventLog:
    """Appends and follows the events of one tenant's jobs."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant
        self._changed: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def append(self, job_id: str, key: str, event: job_v1.JobEvent) -> int:
        """Appends an event and returns its sequence, from 1.

        Args:
            job_id: The job.
            key: What the event is about, unique in the job: a step that runs again after a crash
                appends the same keys, and a key already there changes nothing.
            event: The event; its sequence and time are set here.
        """
        event.event_time.FromNanoseconds(time.time_ns())
        if event.level == job_v1.EVENT_LEVEL_UNSPECIFIED:
            event.level = job_v1.EVENT_LEVEL_INFO

        def work(connection: Connection) -> int:
            mine = (events.c.tenant == self._tenant, events.c.job_id == job_id)
            known = connection.execute(
                select(events.c.sequence).where(*mine, events.c.event_key == key)
            ).scalar()
            if known is not None:
                return int(known)
            last = connection.execute(select(func.max(events.c.sequence)).where(*mine)).scalar()
            event.sequence = (last or 0) + 1
            connection.execute(
                insert(events).values(
                    tenant=self._tenant,
                    job_id=job_id,
                    sequence=event.sequence,
                    event_key=key,
                    data=event.SerializeToString(deterministic=True),
                )
            )
            return event.sequence

        sequence = await self._writer.write(work)
        self._changed[job_id].set()
        del self._changed[job_id]
        return sequence

    async def after(self, job_id: str, sequence: int) -> list[job_v1.JobEvent]:
        """Returns up to 500 events after a sequence, in order."""
        query = (
            select(events.c.data)
            .where(
                events.c.tenant == self._tenant,
                events.c.job_id == job_id,
                events.c.sequence > sequence,
            )
            .order_by(events.c.sequence)
            .limit(_PAGE)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return [job_v1.JobEvent.FromString(row.data) for row in rows]

    async def follow(
        self, job_id: str, *, after: int, heartbeat: float
    ) -> AsyncIterator[job_v1.JobEvent | None]:
        """Yields events after a sequence as they come, and None when none came for a while.

        Args:
            job_id: The job.
            after: Last sequence seen.
            heartbeat: Seconds of silence before a None.
        """
        sequence = after
        while True:
            changed = self._changed[job_id]
            found = await self.after(job_id, sequence)
            for event in found:
                sequence = event.sequence
                yield event
            if found:
                continue
            try:
                await asyncio.wait_for(changed.wait(), heartbeat)
            except TimeoutError:
                yield None

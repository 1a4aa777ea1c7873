"""The event log of every job: gap-free, each event once, followed live by its watchers."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from sqlalchemy import ColumnElement, Connection, func, insert, select

from burnish.api.job import v1 as job_v1
from burnish_controller.store.database import Database
from burnish_controller.store.tables import events
from burnish_controller.store.writer import Writer

_PAGE = 500
FINAL_STATES = frozenset(
    {job_v1.JOB_STATE_SUCCEEDED, job_v1.JOB_STATE_FAILED, job_v1.JOB_STATE_CANCELLED}
)


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

        def work(connection: Connection) -> int:
            query = select(events.c.sequence).where(*self._mine(job_id), events.c.event_key == key)
            known = connection.execute(query).scalar()
            return self._insert(connection, job_id, key, event) if known is None else int(known)

        return await self._write(job_id, event, work)

    async def append_state(self, job_id: str, event: job_v1.JobEvent) -> int:
        """Appends a change of state and returns its sequence.

        A state that is the job's last one in the log already is not logged again, and nothing is
        after a final one: a change that is repeated after a crash appends nothing.

        Args:
            job_id: The job.
            event: With `state_changed.to_state`; `from_state` is set here.
        """
        change = event.state_changed

        def work(connection: Connection) -> int:
            query = (
                select(events.c.data)
                .where(*self._mine(job_id), events.c.event_key.startswith("state/"))
                .order_by(events.c.sequence.desc())
                .limit(1)
            )
            data = connection.execute(query).scalar()
            if data is not None:
                last = job_v1.JobEvent.FromString(data)
                before = last.state_changed.to_state
                if before == change.to_state or before in FINAL_STATES:
                    return last.sequence
                change.from_state = before
            sequence = self._last(connection, job_id) + 1
            return self._insert(connection, job_id, f"state/{sequence}", event)

        return await self._write(job_id, event, work)

    async def last(self, job_id: str) -> job_v1.JobEvent | None:
        """Returns a job's last event, or None when there is none."""
        query = (
            select(events.c.data)
            .where(*self._mine(job_id))
            .order_by(events.c.sequence.desc())
            .limit(1)
        )
        async with self._engine.connect() as connection:
            data = (await connection.execute(query)).scalar()
        return None if data is None else job_v1.JobEvent.FromString(data)

    async def after(self, job_id: str, sequence: int) -> list[job_v1.JobEvent]:
        """Returns up to 500 events after a sequence, in order."""
        query = (
            select(events.c.data)
            .where(*self._mine(job_id), events.c.sequence > sequence)
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

    async def _write(
        self, job_id: str, event: job_v1.JobEvent, work: Callable[[Connection], int]
    ) -> int:
        event.event_time.FromNanoseconds(time.time_ns())
        if event.level == job_v1.EVENT_LEVEL_UNSPECIFIED:
            event.level = job_v1.EVENT_LEVEL_INFO
        sequence = await self._writer.write(work)
        waiting = self._changed.pop(job_id, None)
        if waiting is not None:
            waiting.set()
        return sequence

    def _insert(self, connection: Connection, job_id: str, key: str, event: job_v1.JobEvent) -> int:
        event.sequence = self._last(connection, job_id) + 1
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

    def _last(self, connection: Connection, job_id: str) -> int:
        query = select(func.max(events.c.sequence)).where(*self._mine(job_id))
        return connection.execute(query).scalar() or 0

    def _mine(self, job_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return (events.c.tenant == self._tenant, events.c.job_id == job_id)

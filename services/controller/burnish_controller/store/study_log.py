"""The entries of studies by revision: the truth of every search, appended to and never changed.

What entries a study has is kept in memory, for a search asks for it before every step. One process
writes a database, and all of its writes to these rows come through here, so memory cannot lag.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

from burnish.api.search import v1 as search_v1
from burnish_controller.store.database import Database, write_row
from burnish_controller.store.tables import study_entries
from burnish_controller.store.writer import Writer

_MOST_HELD = 256

# Built once: putting a statement together costs more than running it.
_MINE = (
    study_entries.c.tenant == bindparam("tenant"),
    study_entries.c.job_id == bindparam("job_id"),
)
_OF_KEY = select(study_entries.c.data).where(*_MINE, study_entries.c.entry_key == bindparam("key"))
_LAST = select(func.max(study_entries.c.revision)).where(*_MINE)
_BEFORE = select(_OF_KEY.scalar_subquery(), _LAST.scalar_subquery())
_KEYS = select(study_entries.c.revision, study_entries.c.entry_key).where(*_MINE)
_ALL = select(study_entries.c.data).where(*_MINE).order_by(study_entries.c.revision)
_INSERT = insert(study_entries)


@dataclass(slots=True)
class _Head:
    """What entries a study has.

    Attributes:
        keys: Their keys.
        revision: Revision of the last; 0 before the first.
        appending: How many are being written, or looked for.
    """

    keys: set[str]
    revision: int
    appending: int = 0


_Work: TypeAlias = Callable[[Connection], search_v1.StudyEntry]


class StudyLog:
    """Reads and appends to one tenant's studies."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._loading = asyncio.Lock()

    async def entries(self, job_id: str) -> list[search_v1.StudyEntry]:
        """Returns a study's entries by revision."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_ALL, self._mine(job_id))).scalars().all()
        return [search_v1.StudyEntry.FromString(row) for row in rows]

    async def entry(self, job_id: str, key: str) -> search_v1.StudyEntry | None:
        """Returns the entry of a key, or None when it was not made yet."""
        if key not in (await self._head(job_id)).keys:
            return None
        async with self._engine.connect() as connection:
            found = await connection.execute(_OF_KEY, {**self._mine(job_id), "key": key})
            data = found.scalar()
        return None if data is None else search_v1.StudyEntry.FromString(data)

    async def revision(self, job_id: str) -> int:
        """Returns the revision of the last entry; 0 before the first."""
        return (await self._head(job_id)).revision

    async def append(
        self, job_id: str, key: str, build: Callable[[int], search_v1.StudyEntry]
    ) -> search_v1.StudyEntry:
        """Appends the entry of a key, or returns the one that is there.

        Args:
            job_id: The job.
            key: What the entry is, unique in the study: a step that runs again adds nothing.
            build: Makes the entry for its revision.
        """
        head = await self._head(job_id)
        if head.appending == 0 and key not in head.keys:
            # Memory is exact while nothing is under way, so there is nothing to be read first.
            entry = build(head.revision + 1)
            with contextlib.suppress(IntegrityError):
                return await self._written(head, key, self._insertion(job_id, key, entry))
        return await self._written(head, key, self._addition(job_id, key, build))

    async def _written(self, head: _Head, key: str, work: _Work) -> search_v1.StudyEntry:
        """Writes an entry; memory follows the commit even when nobody waits for it any more."""
        head.appending += 1
        done = self._writer.submit(work)

        def follow(_: object) -> None:
            head.appending -= 1
            if not done.cancelled() and done.exception() is None:
                head.keys.add(key)
                head.revision = max(head.revision, done.result().revision)

        done.add_done_callback(follow)
        return await asyncio.shield(done)

    def _insertion(self, job_id: str, key: str, entry: search_v1.StudyEntry) -> _Work:
        row = self._row(job_id, key, entry)

        def work(connection: Connection) -> search_v1.StudyEntry:
            write_row(connection, _INSERT, row)
            return entry

        return work

    def _addition(
        self, job_id: str, key: str, build: Callable[[int], search_v1.StudyEntry]
    ) -> _Work:
        def work(connection: Connection) -> search_v1.StudyEntry:
            wanted = {**self._mine(job_id), "key": key}
            known, last = connection.execute(_BEFORE, wanted).one()
            if known is not None:
                return search_v1.StudyEntry.FromString(known)
            entry = build((last or 0) + 1)
            write_row(connection, _INSERT, self._row(job_id, key, entry))
            return entry

        return work

    async def _head(self, job_id: str) -> _Head:
        head = self._heads.get(job_id)
        if head is None:
            async with self._loading:
                head = self._heads.get(job_id) or await self._load(job_id)
                self._heads[job_id] = head
        self._heads.move_to_end(job_id)
        while len(self._heads) > _MOST_HELD:
            self._heads.popitem(last=False)
        return head

    async def _load(self, job_id: str) -> _Head:
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_KEYS, self._mine(job_id))).all()
        return _Head(keys={key for _, key in rows}, revision=max((at for at, _ in rows), default=0))

    def _row(self, job_id: str, key: str, entry: search_v1.StudyEntry) -> dict[str, object]:
        data = entry.SerializeToString(deterministic=True)
        return {
            **self._mine(job_id),
            "revision": entry.revision,
            "entry_key": key,
            "data": data,
        }

    def _mine(self, job_id: str) -> dict[str, str]:
        return {"tenant": self._tenant, "job_id": job_id}

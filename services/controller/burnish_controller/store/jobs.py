"""The jobs table, and the one in-memory view of each job that every servicer shares."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Connection, RowMapping, Select, case, func, insert, select, update

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import NotFound
from burnish_controller.store.database import Database
from burnish_controller.store.events import FINAL_STATES
from burnish_controller.store.tables import jobs
from burnish_controller.store.writer import Writer


class JobNotFound(NotFound):
    """No job of that name."""

    default_reason = "JOB_NOT_FOUND"


class JobStore:
    """Reads and writes jobs of one tenant. Changes are seen by every reader at once."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant
        self._cache: dict[str, job_v1.Job] = {}

    async def create(self, job: job_v1.Job, *, request_id: str, secret: bytes | None) -> job_v1.Job:
        """Stores a new job; a repeat with the same id or the same request returns the first."""
        job_id = job.name.removeprefix("jobs/")
        now = time.time_ns()
        job.create_time.FromNanoseconds(now)
        row = {
            "tenant": self._tenant,
            "job_id": job_id,
            "request_id": request_id or None,
            "spec": _dump(job.spec),
            "sealed_secret": secret,
            "state": job.state,
            "phase": job.phase,
            "data": _dump(_without_spec(job)),
            "templates": None,
            "create_time": now / 1e9,
            "paused_seconds": 0.0,
        }

        def work(connection: Connection) -> str | None:
            known = connection.execute(self._same(job_id, request_id)).first()
            if known is None:
                connection.execute(insert(jobs).values(row))
            return None if known is None else str(known.job_id)

        known = await self._writer.write(work)
        if known is not None:
            return await self.get(known)
        self._cache[job_id] = job
        return job

    async def find(self, *, job_id: str, request_id: str) -> job_v1.Job | None:
        """Returns the job that a request made before, by either id; None when it is new."""
        async with self._engine.connect() as connection:
            known = (await connection.execute(self._same(job_id, request_id))).first()
        return None if known is None else await self.get(known.job_id)

    async def get(self, job_id: str) -> job_v1.Job:
        """Returns the job. It is shared: change it only through `save`.

        Raises:
            JobNotFound: There is none.
        """
        cached = self._cache.get(job_id)
        if cached is not None:
            return cached
        row = await self._row(job_id)
        job = _job(row)
        return self._cache.setdefault(job_id, job)

    async def save(self, job: job_v1.Job, **columns: Any) -> None:  # noqa: ANN401 - column values
        """Stores a changed job, with further columns by name. Its pauses are timed by its state."""
        job_id = job.name.removeprefix("jobs/")
        self._cache[job_id] = job
        values = {
            "state": job.state,
            "phase": job.phase,
            "data": _dump(_without_spec(job)),
            **_pause(job, now=time.time()),
            **columns,
        }
        if job.state in FINAL_STATES:
            values["end_time"] = job.end_time.ToNanoseconds() / 1e9
            values["sealed_secret"] = None
        await self._writer.write(
            lambda connection: (
                connection.execute(
                    update(jobs)
                    .where(jobs.c.tenant == self._tenant, jobs.c.job_id == job_id)
                    .values(values)
                ).rowcount
            )
        )

    async def page(self, *, size: int, before: tuple[float, str] | None) -> Sequence[job_v1.Job]:
        """Returns up to `size` jobs, newest first, older than a position."""
        query = select(jobs).where(jobs.c.tenant == self._tenant)
        if before is not None:
            created, job_id = before
            query = query.where(
                (jobs.c.create_time < created)
                | ((jobs.c.create_time == created) & (jobs.c.job_id < job_id))
            )
        query = query.order_by(jobs.c.create_time.desc(), jobs.c.job_id.desc()).limit(size)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [self._cache.setdefault(row["job_id"], _job(row)) for row in rows]

    async def unfinished(self) -> Sequence[str]:
        """Returns the ids of the jobs that are not in a final state, oldest first."""
        query = (
            select(jobs.c.job_id)
            .where(jobs.c.tenant == self._tenant, jobs.c.state.not_in(FINAL_STATES))
            .order_by(jobs.c.create_time)
        )
        async with self._engine.connect() as connection:
            return [row.job_id for row in (await connection.execute(query)).all()]

    async def secret(self, job_id: str) -> bytes | None:
        """Returns the sealed key of the job's task app."""
        row = await self._row(job_id)
        sealed: bytes | None = row["sealed_secret"]
        return sealed

    async def paused_seconds(self, job_id: str) -> float:
        """Returns how long the job has been paused in all."""
        row = await self._row(job_id)
        since = row["paused_since"]
        now = 0.0 if since is None else max(0.0, time.time() - since)
        return float(row["paused_seconds"]) + now

    async def templates(self, job_id: str) -> list[types_v1.PromptTemplate] | None:
        """Returns the templates learnt on the wire, or None while they are not known."""
        row = await self._row(job_id)
        if row["templates"] is None:
            return None
        learnt = job_v1.JobResult.FromString(row["templates"])
        return list(learnt.templates)

    async def save_templates(
        self, job_id: str, templates: Sequence[types_v1.PromptTemplate]
    ) -> None:
        """Stores the templates learnt on the wire."""
        await self.save(
            await self.get(job_id), templates=_dump(job_v1.JobResult(templates=templates))
        )

    def _same(self, job_id: str, request_id: str) -> Select[tuple[str]]:
        same = jobs.c.job_id == job_id
        if request_id:
            same = same | (jobs.c.request_id == request_id)
        return select(jobs.c.job_id).where(jobs.c.tenant == self._tenant, same)

    async def _row(self, job_id: str) -> RowMapping:
        query = select(jobs).where(jobs.c.tenant == self._tenant, jobs.c.job_id == job_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            raise JobNotFound(
                f"there is no job `jobs/{job_id}`; list the jobs to see their names",
                metadata={"job": f"jobs/{job_id}"},
            )
        return row


def _pause(job: job_v1.Job, *, now: float) -> dict[str, object]:
    since = jobs.c.paused_since
    if job.state == job_v1.JOB_STATE_PAUSED:
        return {"paused_since": func.coalesce(since, now)}
    passed = case((since.is_not(None), now - since), else_=0.0)
    return {"paused_since": None, "paused_seconds": jobs.c.paused_seconds + passed}


def _job(row: RowMapping) -> job_v1.Job:
    job = job_v1.Job.FromString(row["data"])
    job.spec.ParseFromString(row["spec"])
    return job


def _without_spec(job: job_v1.Job) -> job_v1.Job:
    slim = job_v1.Job()
    slim.CopyFrom(job)
    slim.ClearField("spec")
    return slim


def _dump(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)

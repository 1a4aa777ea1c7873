"""The search space of a job: its components and its candidates."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message
from sqlalchemy import Connection, Table, insert, select

from burnish.api.types import v1 as types_v1
from burnish_controller.store.database import Database
from burnish_controller.store.tables import candidates, components
from burnish_controller.store.writer import Writer


class SpaceStore:
    """Reads and writes one tenant's search spaces."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant

    async def add_components(
        self, job_id: str, found: Sequence[types_v1.Component]
    ) -> list[types_v1.Component]:
        """Stores components and returns those that were new, in order."""
        ids = await self._add(components, job_id, [(one.component_id, one) for one in found])
        return [one for one in found if one.component_id in ids]

    async def components(self, job_id: str) -> list[types_v1.Component]:
        """Returns a job's components in the order they were added."""
        rows = await self._all(components, job_id)
        return [types_v1.Component.FromString(row) for row in rows]

    async def add_candidates(self, job_id: str, found: Sequence[types_v1.Candidate]) -> None:
        """Stores candidates; those already known are left."""
        await self._add(candidates, job_id, [(one.candidate_id, one) for one in found])

    async def candidates(self, job_id: str) -> list[types_v1.Candidate]:
        """Returns a job's candidates in the order they were first suggested."""
        rows = await self._all(candidates, job_id)
        return [types_v1.Candidate.FromString(row) for row in rows]

    async def candidate(self, job_id: str, candidate_id: str) -> types_v1.Candidate | None:
        """Returns one candidate, or None when there is none of that id."""
        query = select(candidates.c.data).where(
            candidates.c.tenant == self._tenant,
            candidates.c.job_id == job_id,
            candidates.c.candidate_id == candidate_id,
        )
        async with self._engine.connect() as connection:
            data = (await connection.execute(query)).scalar()
        return None if data is None else types_v1.Candidate.FromString(data)

    async def _add(
        self, table: Table, job_id: str, found: Sequence[tuple[str, Message]]
    ) -> set[str]:
        key = table.primary_key.columns.values()[-1]

        def work(connection: Connection) -> set[str]:
            mine = (table.c.tenant == self._tenant, table.c.job_id == job_id)
            known = set(connection.execute(select(key).where(*mine)).scalars())
            position = len(known)
            added = set()
            for identity, message in found:
                if identity in known or identity in added:
                    continue
                connection.execute(
                    insert(table).values(
                        {
                            "tenant": self._tenant,
                            "job_id": job_id,
                            key.name: identity,
                            "position": position,
                            "data": message.SerializeToString(deterministic=True),
                        }
                    )
                )
                added.add(identity)
                position += 1
            return added

        return await self._writer.write(work)

    async def _all(self, table: Table, job_id: str) -> Sequence[bytes]:
        query = (
            select(table.c.data)
            .where(table.c.tenant == self._tenant, table.c.job_id == job_id)
            .order_by(table.c.position)
        )
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).scalars().all()

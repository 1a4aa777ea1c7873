"""Online policies: each change makes a version of the policy and a revision of the whole set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, delete, func, select

from burnish.api.policy import v1 as policy_v1
from burnish.errors import FailedPrecondition, NotFound
from burnish_controller.store.database import Database, insert_or_ignore, insert_or_replace
from burnish_controller.store.tables import policies, policy_candidates
from burnish_controller.store.writer import Writer

_CHANGING = ["revision", "version", "data", "create_time", "update_time"]


class PolicyNotFound(NotFound):
    """No online policy of that name."""

    default_reason = "POLICY_NOT_FOUND"


class PolicyChanged(FailedPrecondition):
    """Somebody else changed the policy meanwhile."""

    default_reason = "POLICY_CHANGED"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """An online policy as it is stored.

    Attributes:
        policy: The policy, with its version.
        revision: Revision of the whole set that its last change made.
        create_time: Unix seconds of the first publication.
        update_time: Unix seconds of the last change.
    """

    policy: policy_v1.Policy
    revision: int
    create_time: float
    update_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanges:
    """What changed after a revision.

    Attributes:
        revision: Revision of the whole set.
        policies: Added or changed, in the order of their changes.
        removed: Names removed.
    """

    revision: int
    policies: list[policy_v1.Policy]
    removed: list[str]


class PolicyStore:
    """One tenant's online policies."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        *,
        tenant: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens nothing.

        Args:
            database: Where to read.
            writer: Where to write.
            tenant: Whose policies.
            clock: Unix seconds.
        """
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant
        self._clock = clock

    async def put(
        self,
        policy: policy_v1.Policy,
        prompts: Sequence[policy_v1.CandidatePrompts],
        *,
        expected_version: int | None = None,
    ) -> tuple[StoredPolicy, bool]:
        """Stores a policy with the prompts of its candidates; its version is given here.

        Returns:
            The policy as stored, and whether anything changed.

        Raises:
            PolicyChanged: It does not have the expected version.
        """
        policy_id = policy.name.removeprefix("policies/")

        def build(_: policy_v1.Policy | None) -> policy_v1.Policy:
            return policy

        def work(connection: Connection) -> tuple[StoredPolicy, bool]:
            for one in prompts:
                connection.execute(
                    insert_or_ignore(connection, policy_candidates),
                    {
                        "tenant": self._tenant,
                        "policy_id": policy_id,
                        "candidate_id": one.candidate.candidate_id,
                        "data": one.SerializeToString(deterministic=True),
                    },
                )
            return self._change(connection, policy_id, build, expected_version)

        return await self._writer.write(work)

    async def change(
        self,
        policy_id: str,
        change: Callable[[policy_v1.Policy], policy_v1.Policy],
        *,
        expected_version: int | None = None,
    ) -> tuple[StoredPolicy, bool]:
        """Changes a policy that is there.

        Args:
            policy_id: Which.
            change: Returns the policy changed; may raise, and then nothing is.
            expected_version: Version that it must have; None changes any.

        Returns:
            The policy as stored, and whether anything changed.

        Raises:
            PolicyNotFound: There is none.
            PolicyChanged: It does not have the expected version.
        """

        def build(current: policy_v1.Policy | None) -> policy_v1.Policy:
            if current is None:
                raise _not_found(policy_id)
            return change(current)

        return await self._writer.write(
            lambda connection: self._change(connection, policy_id, build, expected_version)
        )

    async def delete(self, policy_id: str) -> bool:
        """Deletes a policy and the prompts of its candidates; returns whether there was one."""

        def work(connection: Connection) -> bool:
            row = self._row(connection, policy_id)
            if row is None or row["data"] is None:
                return False
            connection.execute(
                delete(policy_candidates).where(
                    policy_candidates.c.tenant == self._tenant,
                    policy_candidates.c.policy_id == policy_id,
                )
            )
            self._write(connection, {**row, "data": None})
            return True

        return await self._writer.write(work)

    async def get(self, policy_id: str) -> StoredPolicy | None:
        """Returns a policy, or None when there is none of that id."""
        query = self._all().where(policies.c.policy_id == policy_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _stored(row)

    async def page(self, *, size: int, after: str) -> list[StoredPolicy]:
        """Returns up to `size` policies by id, behind one id."""
        query = self._all().where(policies.c.policy_id > after)
        query = query.order_by(policies.c.policy_id).limit(size)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_stored(row) for row in rows]

    async def changes(self, after: int) -> PolicyChanges:
        """Returns what changed after a revision; everything that is there after revision 0."""
        query = (
            select(policies)
            .where(policies.c.tenant == self._tenant, policies.c.revision > after)
            .order_by(policies.c.revision)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return PolicyChanges(
            revision=rows[-1]["revision"] if rows else after,
            policies=[_stored(row).policy for row in rows if row["data"] is not None],
            removed=[f"policies/{row['policy_id']}" for row in rows if row["data"] is None],
        )

    async def revision(self) -> int:
        """Returns the revision of the whole set; 0 before the first change."""
        query = select(func.max(policies.c.revision)).where(policies.c.tenant == self._tenant)
        async with self._engine.connect() as connection:
            return int((await connection.execute(query)).scalar() or 0)

    async def prompts(self, policy_id: str, candidate_id: str) -> policy_v1.CandidatePrompts | None:
        """Returns the prompts of a candidate of a policy, or None when there are none."""
        query = select(policy_candidates.c.data).where(
            policy_candidates.c.tenant == self._tenant,
            policy_candidates.c.policy_id == policy_id,
            policy_candidates.c.candidate_id == candidate_id,
        )
        async with self._engine.connect() as connection:
            data = (await connection.execute(query)).scalar()
        return None if data is None else policy_v1.CandidatePrompts.FromString(data)

    def _change(
        self,
        connection: Connection,
        policy_id: str,
        build: Callable[[policy_v1.Policy | None], policy_v1.Policy],
        expected_version: int | None,
    ) -> tuple[StoredPolicy, bool]:
        row = self._row(connection, policy_id)
        known = None if row is None or row["data"] is None else _stored(row)
        version = 0 if known is None else known.policy.version
        if expected_version is not None and version != expected_version:
            raise PolicyChanged(
                f"`policies/{policy_id}` has version {version}, not {expected_version}; look at it "
                "again and repeat the change",
                metadata={"policy": f"policies/{policy_id}", "version": str(version)},
            )
        policy = policy_v1.Policy()
        policy.CopyFrom(build(None if known is None else known.policy))
        policy.version = version
        if known is not None and policy == known.policy:
            return known, False
        # A deleted policy's row still holds its version.
        policy.version = (0 if row is None else row["version"]) + 1
        now = self._clock()
        values = {
            "policy_id": policy_id,
            "version": policy.version,
            "data": policy.SerializeToString(deterministic=True),
            "create_time": now if known is None else known.create_time,
        }
        return _stored(self._write(connection, values)), True

    def _write(self, connection: Connection, values: Mapping[str, Any]) -> dict[str, Any]:
        last = connection.execute(
            select(func.max(policies.c.revision)).where(policies.c.tenant == self._tenant)
        ).scalar()
        row = {
            **values,
            "tenant": self._tenant,
            "revision": (last or 0) + 1,
            "update_time": self._clock(),
        }
        connection.execute(insert_or_replace(connection, policies, values=_CHANGING), row)
        return row

    def _row(self, connection: Connection, policy_id: str) -> RowMapping | None:
        query = select(policies).where(
            policies.c.tenant == self._tenant, policies.c.policy_id == policy_id
        )
        return connection.execute(query).mappings().first()

    def _all(self) -> Select[tuple[object, ...]]:
        return select(policies).where(
            policies.c.tenant == self._tenant, policies.c.data.is_not(None)
        )


def _stored(row: RowMapping | dict[str, Any]) -> StoredPolicy:
    return StoredPolicy(
        policy=policy_v1.Policy.FromString(row["data"]),
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _not_found(policy_id: str) -> PolicyNotFound:
    return PolicyNotFound(
        f"there is no online policy `policies/{policy_id}`; list the policies to see their names",
        metadata={"policy": f"policies/{policy_id}"},
    )

"""Finished rollouts and their rewards: the idempotency point of every batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Select, func, select

from burnish.api.types import v1 as types_v1
from burnish_controller.store.database import Database, insert_or_ignore
from burnish_controller.store.tables import rewards, rollouts
from burnish_controller.store.writer import Writer

_IN_CHUNK = 500
_WEIGHTS = {
    "environment": rewards.c.weight_environment,
    "event": rewards.c.weight_event,
    "outcome": rewards.c.weight_outcome,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRollout:
    """A rollout that will not run again.

    Attributes:
        phase: Phase that ran it, such as `search`.
        attempt: Attempt that gave the result, from 1.
        result: What the app returned; its `failure` is set when there is no reward.
        reward: The fused reward and its parts; None when not scored.
        cost_usd: Cost of the calls of its program; None when a price is unknown.
        tokens: Tokens that those calls read and wrote; None when that is not known.
        graph: Version of the verifier graph that its job scores with; empty when it has none.
        weights: Weights that the parts were fused with; None when they are not known.
        simulated: Whether a simulated judge had a part in the reward.
        end_time: When it was stored, in Unix seconds; 0 before.
    """

    job_id: str
    phase: str
    attempt: int
    result: types_v1.RolloutResult
    reward: types_v1.Reward | None
    cost_usd: float | None
    graph: str = ""
    weights: types_v1.RewardWeights | None = None
    simulated: bool = False
    end_time: float = 0.0
    tokens: int | None = None

    @property
    def fused(self) -> float | None:
        """The fused reward, in [0, 1]; None when not scored."""
        return None if self.reward is None else self.reward.fused

    @property
    def own(self) -> bool:
        """Whether it ran on the job's own models, not on the cheap one."""
        return self.result.cell.fidelity == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPage:
    """Which of a job's rollouts are wanted.

    Attributes:
        count: Most of them.
        after: Id that they come after.
        phase: Only of this phase; empty for every one.
        candidate_id: Only of this candidate; empty for every one.
    """

    count: int
    after: str = ""
    phase: str = ""
    candidate_id: str = ""


class RolloutStore:
    """One tenant's finished rollouts."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant

    async def save(self, rollout: FinishedRollout) -> None:
        """Stores a finished rollout; one that is there already stays as it is.

        Its reward is kept by rollout and version of the graph, with its parts and their weights.
        """
        result = rollout.result
        row = {
            "tenant": self._tenant,
            "rollout_id": result.rollout_id,
            "job_id": rollout.job_id,
            "phase": rollout.phase,
            "candidate_id": result.cell.candidate_id,
            "pool": result.cell.pool,
            "seed": result.cell.seed,
            "repeat": result.cell.repeat,
            "fidelity": result.cell.fidelity,
            "attempt": rollout.attempt,
            "fused": rollout.fused,
            "failure_reason": result.failure.reason if result.HasField("failure") else None,
            "cost_usd": rollout.cost_usd,
            "tokens": rollout.tokens,
            "data": result.SerializeToString(),
            "end_time": time.time(),
            "graph": rollout.graph,
        }
        reward = None
        if rollout.reward is not None:
            reward = {
                "tenant": self._tenant,
                "rollout_id": result.rollout_id,
                "graph": rollout.graph,
                "data": rollout.reward.SerializeToString(),
                "simulated": int(rollout.simulated),
                **_parts(rollout.reward, rollout.weights),
            }

        def work(connection: Connection) -> None:
            connection.execute(insert_or_ignore(connection, rollouts), row)
            if reward is not None:
                connection.execute(insert_or_ignore(connection, rewards), reward)

        await self._writer.write(work)

    async def by_ids(self, ids: Sequence[str]) -> dict[str, FinishedRollout]:
        """Returns the finished ones among some rollouts, by id."""
        found: dict[str, FinishedRollout] = {}
        for start in range(0, len(ids), _IN_CHUNK):
            chunk = ids[start : start + _IN_CHUNK]
            for one in await self._select(self._query().where(rollouts.c.rollout_id.in_(chunk))):
                found[one.result.rollout_id] = one
        return found

    async def of_job(self, job_id: str, *, phase: str | None = None) -> list[FinishedRollout]:
        """Returns a job's finished rollouts, of one phase or of all, by pool and seed."""
        query = self._query().where(rollouts.c.job_id == job_id)
        if phase is not None:
            query = query.where(rollouts.c.phase == phase)
        return await self._select(
            query.order_by(rollouts.c.candidate_id, rollouts.c.pool, rollouts.c.seed)
        )

    async def page(self, job_id: str, wanted: RolloutPage) -> list[FinishedRollout]:
        """Returns a page of a job's finished rollouts in order of id."""
        query = self._query().where(
            rollouts.c.job_id == job_id, rollouts.c.rollout_id > wanted.after
        )
        if wanted.phase:
            query = query.where(rollouts.c.phase == wanted.phase)
        if wanted.candidate_id:
            query = query.where(rollouts.c.candidate_id == wanted.candidate_id)
        return await self._select(query.order_by(rollouts.c.rollout_id).limit(wanted.count))

    async def counts(self, job_id: str) -> dict[str, tuple[int, int]]:
        """Returns by phase how many rollouts finished, and how many of them without a reward."""
        query = (
            select(
                rollouts.c.phase,
                func.count().label("finished"),
                func.count().filter(rollouts.c.fused.is_(None)).label("unscored"),
            )
            .where(rollouts.c.tenant == self._tenant, rollouts.c.job_id == job_id)
            .group_by(rollouts.c.phase)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return {row.phase: (row.finished, row.unscored) for row in rows}

    async def unscored(self, job_id: str) -> dict[str, int]:
        """Returns how many rollouts ended without a reward, by reason."""
        query = (
            select(rollouts.c.failure_reason, func.count().label("count"))
            .where(
                rollouts.c.tenant == self._tenant,
                rollouts.c.job_id == job_id,
                rollouts.c.fused.is_(None),
            )
            .group_by(rollouts.c.failure_reason)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return {row.failure_reason or "UNKNOWN": row[1] for row in rows}

    def _query(self) -> Select[tuple[object, ...]]:
        return (
            select(
                rollouts, rewards.c.data.label("reward"), rewards.c.simulated, *_WEIGHTS.values()
            )
            .outerjoin(
                rewards,
                (rewards.c.tenant == rollouts.c.tenant)
                & (rewards.c.rollout_id == rollouts.c.rollout_id)
                & (rewards.c.graph == rollouts.c.graph),
            )
            .where(rollouts.c.tenant == self._tenant)
        )

    async def _select(self, query: Select[tuple[object, ...]]) -> list[FinishedRollout]:
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_finished(row) for row in rows]


def _finished(row: RowMapping) -> FinishedRollout:
    return FinishedRollout(
        job_id=row["job_id"],
        phase=row["phase"],
        attempt=row["attempt"],
        result=types_v1.RolloutResult.FromString(row["data"]),
        reward=None if row["reward"] is None else types_v1.Reward.FromString(row["reward"]),
        cost_usd=row["cost_usd"],
        graph=row["graph"],
        weights=_weights(row),
        simulated=bool(row["simulated"]),
        end_time=row["end_time"],
        tokens=row["tokens"],
    )


def _weights(row: RowMapping) -> types_v1.RewardWeights | None:
    found = {name: row[column.name] for name, column in _WEIGHTS.items()}
    if any(value is None for value in found.values()):
        return None
    return types_v1.RewardWeights(**found)


def _parts(
    reward: types_v1.Reward, weights: types_v1.RewardWeights | None
) -> dict[str, float | None]:
    """Returns the columns of a reward's parts; one that was not given or is not known is None."""
    return {
        "environment": reward.environment if reward.HasField("environment") else None,
        "event": reward.event if reward.HasField("event") else None,
        "outcome": reward.outcome if reward.HasField("outcome") else None,
        "weight_environment": None if weights is None else weights.environment,
        "weight_event": None if weights is None else weights.event,
        "weight_outcome": None if weights is None else weights.outcome,
    }

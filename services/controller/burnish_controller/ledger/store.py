"""Reads and writes the rows of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, RowMapping, func, select

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import NOTHING, Amount
from burnish_controller.ledger.calls import Call, CallState, KeptKey
from burnish_controller.store.database import (
    Database,
    insert_or_ignore,
    insert_or_replace,
    write_row,
)
from burnish_controller.store.tables import call_keys, calls
from burnish_controller.store.writer import Writer

_CHANGING = [
    "state", "client_id", "begin_sequence", "attempt", "day", "worst_tokens", "worst_usd",
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "cost_usd", "estimated", "lost_calls", "lost_tokens", "lost_usd", "stage_id", "reply", "trace",
    "failure",
]  # fmt: skip


class CallStore:
    """One tenant's calls."""

    def __init__(self, database: Database, writer: Writer, *, tenant: str) -> None:
        self._engine = database.engine
        self._writer = writer
        self._tenant = tenant

    async def save(self, call: Call, *, kept: KeptKey | None = None) -> None:
        """Stores a call as it stands, with the key that the app gave it; durable on return."""
        await self.put(call, kept=kept)

    def put(self, call: Call, *, kept: KeptKey | None = None) -> asyncio.Future[None]:
        """Queues a call as it stands; durable when the future is done.

        What a call lets go of is queued before whatever is reserved out of that, so that no state
        of the rows that a crash may leave has more reserved than there was.
        """
        row = _row(call, tenant=self._tenant)

        def work(connection: Connection) -> None:
            statement = insert_or_replace(connection, calls, values=_CHANGING)
            write_row(connection, statement, row)
            if kept is not None:
                self._keep(connection, call.scope, kept)

        return self._writer.submit(work)

    async def keep(self, scope: str, kept: KeptKey) -> None:
        """Stores the key that an app gave a call that was paid for before; durable on return."""
        await self._writer.write(lambda connection: self._keep(connection, scope, kept))

    async def keys_of(self, scope: str) -> list[KeptKey]:
        """Returns the keys that an app gave the calls of a scope."""
        query = select(call_keys).where(
            call_keys.c.tenant == self._tenant, call_keys.c.scope == scope
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            KeptKey(
                attempt=row["attempt"],
                client_key=row["client_key"],
                request_hash=row["request_hash"],
                ordinal=row["ordinal"],
            )
            for row in rows
        ]

    async def of_scopes(self, scopes: Sequence[str]) -> dict[str, list[Call]]:
        """Returns the calls of each scope that has any, in the order they began."""
        query = (
            select(calls)
            .where(calls.c.tenant == self._tenant, calls.c.scope.in_(scopes))
            .order_by(calls.c.scope, calls.c.position)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        found: dict[str, list[Call]] = {}
        for row in rows:
            found.setdefault(row["scope"], []).append(_call(row))
        return found

    async def dearest(self, job_id: str, *, without: Collection[str]) -> Amount:
        """Returns the worst case of the dearest rollout, tokens and money each for itself.

        What its judges cost is part of it: their scope ends with the rollout's id.

        Args:
            job_id: Job that paid.
            without: Scopes that do not count.
        """
        query = (
            select(
                calls.c.scope,
                func.sum(calls.c.worst_tokens).label("tokens"),
                func.sum(calls.c.worst_usd).label("usd"),
                func.count().filter(calls.c.worst_usd.is_(None)).label("unpriced"),
            )
            .where(
                calls.c.tenant == self._tenant,
                calls.c.job_id == job_id,
                calls.c.role != "proposer",
            )
            .group_by(calls.c.scope)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        rollouts: dict[str, Amount] = {}
        for row in rows:
            if row["scope"] not in without:
                rollout_id = row["scope"].rpartition("/")[2]
                usd = None if row["unpriced"] else row["usd"]
                so_far = rollouts.get(rollout_id, NOTHING)
                rollouts[rollout_id] = so_far + Amount(row["tokens"], usd)
        found = NOTHING
        for amount in rollouts.values():
            found = found.or_dearer(amount)
        return found

    async def days(self) -> dict[int, tuple[float, float]]:
        """Returns the US dollars booked and reserved by day, as far as prices were known."""
        is_open = calls.c.state == CallState.OPEN
        query = (
            select(
                calls.c.day,
                func.sum(calls.c.cost_usd).filter(calls.c.state == CallState.DONE).label("usd"),
                func.sum(calls.c.lost_usd).label("lost"),
                func.sum(calls.c.worst_usd).filter(is_open).label("open"),
            )
            .where(calls.c.tenant == self._tenant)
            .group_by(calls.c.day)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {
            row["day"]: ((row["usd"] or 0.0) + (row["lost"] or 0.0), row["open"] or 0.0)
            for row in rows
        }

    async def sums(self, job_id: str) -> Mapping[str, Sums]:
        """Returns what a job has booked, by role; open calls count at their worst case."""
        is_open = calls.c.state == CallState.OPEN
        paid = calls.c.state == CallState.DONE
        query = (
            select(
                calls.c.role,
                func.sum(calls.c.input_tokens).label("input_tokens"),
                func.sum(calls.c.output_tokens).label("output_tokens"),
                func.sum(calls.c.cached_tokens).label("cached_tokens"),
                func.sum(calls.c.cache_write_tokens).label("cache_write_tokens"),
                func.sum(calls.c.reasoning_tokens).label("reasoning_tokens"),
                func.sum(calls.c.cost_usd).filter(paid).label("usd"),
                func.count().filter(paid, calls.c.cost_usd.is_(None)).label("unpriced"),
                func.count().filter(paid).label("calls"),
                func.max(calls.c.estimated).label("estimated"),
                func.sum(calls.c.lost_calls).label("lost_calls"),
                func.sum(calls.c.lost_tokens).label("lost_tokens"),
                func.sum(calls.c.lost_usd).label("lost_usd"),
                func.count().filter(calls.c.lost_usd.is_(None)).label("lost_unpriced"),
                func.sum(calls.c.worst_tokens).filter(is_open).label("open_tokens"),
                func.sum(calls.c.worst_usd).filter(is_open).label("open_usd"),
                func.count().filter(is_open, calls.c.worst_usd.is_(None)).label("open_unpriced"),
            )
            .where(calls.c.tenant == self._tenant, calls.c.job_id == job_id)
            .group_by(calls.c.role)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row["role"]: Sums(row) for row in rows}

    def _keep(self, connection: Connection, scope: str, kept: KeptKey) -> None:
        row = {
            "tenant": self._tenant,
            "scope": scope,
            "attempt": kept.attempt,
            "client_key": kept.client_key,
            "request_hash": kept.request_hash,
            "ordinal": kept.ordinal,
        }
        connection.execute(insert_or_ignore(connection, call_keys), row)


class Sums:
    """What one role of one job has booked.

    Attributes:
        usage: As it is reported: tokens, cost, calls, possibly paid calls.
        booked: Tokens and money that are spent, possibly paid calls included.
        open: The worst case of calls that were open.
    """

    def __init__(self, row: RowMapping) -> None:
        lost_usd = None if row["lost_unpriced"] else row["lost_usd"] or 0.0
        paid_usd = None if row["unpriced"] else row["usd"] or 0.0
        tokens = (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
        self.booked = Amount(tokens, paid_usd) + Amount(row["lost_tokens"] or 0, lost_usd)
        self.open = Amount(
            row["open_tokens"] or 0, None if row["open_unpriced"] else row["open_usd"] or 0.0
        )
        self.usage = types_v1.Usage(
            input_tokens=row["input_tokens"] or 0,
            output_tokens=row["output_tokens"] or 0,
            call_count=row["calls"],
            possibly_paid_call_count=row["lost_calls"] or 0,
            estimated=bool(row["estimated"]),
            cached_input_tokens=row["cached_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            reasoning_tokens=row["reasoning_tokens"],
        )
        if self.booked.usd is not None:
            self.usage.cost_usd = self.booked.usd


def _row(call: Call, *, tenant: str) -> dict[str, object]:
    priced = call.model.HasField("price")
    return {
        "tenant": tenant,
        "scope": call.scope,
        "request_hash": call.request_hash,
        "ordinal": call.ordinal,
        "job_id": call.job_id,
        "role": call.role,
        "position": call.position,
        "attempt": call.attempt,
        "client_id": call.client_id,
        "begin_sequence": call.sequence,
        "state": call.state.value,
        "model": f"{call.model.provider}/{call.model.model}",
        "input_price": call.model.price.input_usd_per_million if priced else None,
        "output_price": call.model.price.output_usd_per_million if priced else None,
        "price": call.model.price.SerializeToString() if priced else None,
        "day": call.day,
        "worst_tokens": call.worst.tokens,
        "worst_usd": call.worst.usd,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cached_tokens": call.cached_tokens,
        "cache_write_tokens": call.cache_write_tokens,
        "reasoning_tokens": call.reasoning_tokens,
        "cost_usd": call.usd,
        "estimated": int(call.estimated),
        "lost_calls": call.lost_calls,
        "lost_tokens": call.lost.tokens,
        "lost_usd": call.lost.usd,
        "stage_id": None if call.trace is None else call.trace.stage_id,
        "reply": None if call.reply is None else call.reply.SerializeToString(),
        "trace": None if call.trace is None else call.trace.SerializeToString(),
        "failure": None if call.failure is None else call.failure.SerializeToString(),
    }


def _call(row: RowMapping) -> Call:
    provider, _, name = row["model"].partition("/")
    model = types_v1.ModelSpec(provider=provider, model=name)
    if row["price"] is not None:
        model.price.ParseFromString(row["price"])
    elif row["input_price"] is not None:
        model.price.input_usd_per_million = row["input_price"]
        model.price.output_usd_per_million = row["output_price"]
    return Call(
        scope=row["scope"],
        request_hash=row["request_hash"],
        ordinal=row["ordinal"],
        job_id=row["job_id"],
        role=row["role"],
        position=row["position"],
        attempt=row["attempt"],
        client_id=row["client_id"],
        sequence=row["begin_sequence"],
        model=model,
        state=CallState(row["state"]),
        worst=Amount(row["worst_tokens"], row["worst_usd"]),
        day=row["day"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cached_tokens=row["cached_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        usd=row["cost_usd"],
        estimated=bool(row["estimated"]),
        lost_calls=row["lost_calls"],
        lost=Amount(row["lost_tokens"], row["lost_usd"]),
        reply=None if row["reply"] is None else ledger_v1.CallReply.FromString(row["reply"]),
        trace=None if row["trace"] is None else ledger_v1.CallTrace.FromString(row["trace"]),
        failure=None if row["failure"] is None else types_v1.Failure.FromString(row["failure"]),
        last_attempt=row["attempt"],
    )

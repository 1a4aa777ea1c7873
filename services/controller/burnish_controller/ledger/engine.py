"""Decides each call: proceed, replay what was paid, wait for one in flight, or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.ledger.books import BookOptions, Books, CapsOf, Warn, silent
from burnish_controller.ledger.books import Pricer as Pricer
from burnish_controller.ledger.budget import Account
from burnish_controller.ledger.calls import Call, CallState, KeptKey, Scope
from burnish_controller.ledger.decisions import parse_call_id, proceed, refused
from burnish_controller.ledger.purse import Purse
from burnish_controller.ledger.store import CallStore

ORPHAN_GRACE_SECONDS = 2.0
_ROLES = {
    ledger_v1.CALL_ROLE_TASK: "task",
    ledger_v1.CALL_ROLE_PROPOSER: "proposer",
    ledger_v1.CALL_ROLE_JUDGE: "judge",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """What the ledger is told from outside.

    Attributes:
        price_of: Price of a model for a prompt of so many tokens, None of them meaning the dearest
            step; None when unknown.
        caps_of: Caps of a job by id.
        purse: The tenant's limits.
        warn: Told of a share of a cap that a job has spent; may be told more than once.
        orphan_grace: Seconds that a client whose session broke has to come back.
    """

    price_of: Pricer
    caps_of: CapsOf
    purse: Purse = field(default_factory=Purse)
    warn: Warn = silent
    orphan_grace: float = ORPHAN_GRACE_SECONDS


class _Place(NamedTuple):
    """Where a call belongs in its scope, and the app's key that is new with it."""

    key: tuple[str, int]
    kept: KeptKey | None


class CallLedger:
    """The ledger of one controller. One event loop owns it."""

    def __init__(self, store: CallStore, options: LedgerOptions) -> None:
        self._store = store
        self._options = options
        self._books = Books(
            store,
            BookOptions(
                price_of=options.price_of,
                caps_of=options.caps_of,
                purse=options.purse,
                warn=options.warn,
            ),
        )
        self._scopes: dict[str, Scope] = {}
        self._sessions: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rows = asyncio.Lock()

    async def account(self, job_id: str) -> Account:
        """Returns a job's running sums, read from the rows on first use."""
        known = self._books.known(job_id)
        if known is not None:
            return known
        account = await self._books.account(job_id)
        # What was spent before a restart may not have been told of.
        self._background(self._books.warn(job_id))
        return account

    async def tenant_left(self) -> float | None:
        """Returns the US dollars that the tenant may still spend; None without a cap."""
        return await self._books.tenant_left()

    async def usage(self, job_id: str) -> Mapping[str, types_v1.Usage]:
        """Returns what a job has used, by role."""
        return {role: sums.usage for role, sums in (await self._store.sums(job_id)).items()}

    async def open_scope(self, scope: Scope, *, before: bool) -> None:
        """Lets calls of a scope begin.

        Args:
            scope: A new scope.
            before: Whether calls were made in it before; they are then taken up from their rows.
        """
        if not before:
            self._scopes[scope.scope_id] = scope
            return
        async with self._rows:
            stored = await self._store.of_scopes([scope.scope_id])
            keys = await self._store.keys_of(scope.scope_id)
            scope.take_up(stored.get(scope.scope_id, []), keys)
            self._scopes[scope.scope_id] = scope
        for call in scope.calls.values():
            if call.state is CallState.OPEN:
                self._watch_orphan(call)

    def close_scope(self, scope_id: str) -> Scope | None:
        """Lets no more calls of a scope begin, and returns it."""
        return self._scopes.pop(scope_id, None)

    def forget(self, job_id: str) -> None:
        """Lets go of the sums of a job that has ended; they are in the rows."""
        self._books.forget(job_id)

    def session_opened(self, client_id: str) -> None:
        """Notes that a client process is there."""
        self._sessions[client_id] = self._sessions.get(client_id, 0) + 1

    def session_closed(self, client_id: str) -> None:
        """Notes that a client's stream ended; its open calls wait a while for it to come back."""
        self._sessions[client_id] -= 1
        if self._sessions[client_id] > 0:
            return
        del self._sessions[client_id]
        for scope in self._scopes.values():
            for call in scope.calls.values():
                if call.state is CallState.OPEN and call.client_id == client_id:
                    self._watch_orphan(call)

    async def begin(
        self, asker: tuple[str, int], request: ledger_v1.BeginCall
    ) -> ledger_v1.CallDecision:
        """Decides a call. A durable reservation stands behind every `proceed`.

        Args:
            asker: Client id and sequence of the request, which tell one that is repeated after a
                broken session.
            request: What is asked.
        """
        job_id = request.job.removeprefix("jobs/")
        scope = self._scopes.get(request.scope)
        if scope is None or scope.job_id != job_id:
            return await self._begin_outside(asker, request)
        # Read before the decision: between the decision and the reservation nothing may wait.
        account = await self.account(job_id)
        key, kept = scope.begun.get(asker), None
        if key is None:
            ordinal, kept = scope.ordinal(request)
            key = (request.request_hash, ordinal)
            scope.begun[asker] = key
        while True:
            call = scope.calls.get(key)
            if call is None or call.state in {CallState.UNPAID, CallState.LOST}:
                return await self._reserve(account, asker, request, _Place(key, kept))
            call.last_attempt = max(call.last_attempt, request.attempt)
            if call.state is CallState.DONE:
                if kept is not None:
                    await self._store.keep(scope.scope_id, kept)
                return ledger_v1.CallDecision(call_id=call.call_id, replay=call.reply)
            if call.asker == asker:
                # The session broke before the answer; the reservation may not be durable yet.
                await self._store.save(call)
                return proceed(call)
            await call.ended.wait()

    async def finish(self, request: ledger_v1.FinishCall) -> None:
        """Books a call's end; durable on return. A call that already ended is left as it is.

        A call that was given up as lost is taken up again when its reply comes after all.

        Raises:
            InvalidArgument: The call is not known.
        """
        scope_id, key = parse_call_id(request.call_id)
        call = self._known(scope_id, key)
        if call is None:
            await self._finish_outside(request, scope_id, key)
            return
        self._books.book(await self.account(call.job_id), call, request)
        await self._end(call)

    async def close(self) -> None:
        """Stops waiting for clients that are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin_outside(
        self, asker: tuple[str, int], request: ledger_v1.BeginCall
    ) -> ledger_v1.CallDecision:
        """Answers for a scope that is not open: only a request that was granted before goes on."""
        stored = (await self._store.of_scopes([request.scope])).get(request.scope, [])
        for call in stored:
            if call.state is CallState.OPEN and call.asker == asker:
                return proceed(call)
        return refused("SCOPE_NOT_ACTIVE", "the rollout or request is over or was not begun")

    async def _reserve(
        self,
        account: Account,
        asker: tuple[str, int],
        request: ledger_v1.BeginCall,
        place: _Place,
    ) -> ledger_v1.CallDecision:
        scope = self._scopes[request.scope]
        role = _ROLES.get(request.role, "task")
        worst = self._books.worst(request)
        key, call = place.key, scope.calls.get(place.key)
        refusal = self._books.refusal(account, role, worst, closing=scope.closing, call=call)
        if refusal is not None:
            scope.refused.setdefault(request.attempt, []).append(refusal.reason)
            return refused(refusal.reason, refusal.message)
        if call is None:
            call = Call(
                scope=scope.scope_id,
                request_hash=key[0],
                ordinal=key[1],
                job_id=scope.job_id,
                role=role,
                position=len(scope.calls),
                attempt=request.attempt,
                client_id=asker[0],
                sequence=asker[1],
                model=request.model,
                state=CallState.OPEN,
                worst=worst,
            )
            scope.calls[key] = call
        self._books.reserve(account, call, worst)
        call.client_id, call.sequence = asker
        call.last_attempt = max(call.last_attempt, request.attempt)
        call.ended = asyncio.Event()
        await self._store.save(call, kept=place.kept)
        return proceed(call)

    async def _finish_outside(
        self, request: ledger_v1.FinishCall, scope_id: str, key: tuple[str, int]
    ) -> None:
        """Books the end of a call whose scope is not open, straight into its row."""
        async with self._rows:
            call = self._known(scope_id, key)
            if call is None:
                stored = (await self._store.of_scopes([scope_id])).get(scope_id, [])
                call = next((one for one in stored if one.key == key), None)
            if call is None:
                raise InvalidArgument(
                    f"call `{request.call_id}` was never begun",
                    metadata={"call_id": request.call_id},
                )
            self._books.book(await self.account(call.job_id), call, request)
            await self._end(call)

    def _known(self, scope_id: str, key: tuple[str, int]) -> Call | None:
        scope = self._scopes.get(scope_id)
        return None if scope is None else scope.calls.get(key)

    async def _end(self, call: Call) -> None:
        """Makes a call's end durable, then wakes who waits, even when its client has left."""
        await asyncio.shield(self._background(self._saved(call, self._store.put(call))))

    async def _saved(self, call: Call, stored: asyncio.Future[None]) -> None:
        await stored
        call.ended.set()
        await self._books.warn(call.job_id)

    def _background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _watch_orphan(self, call: Call) -> None:
        self._background(self._orphan(call, call.asker))

    async def _orphan(self, call: Call, asker: tuple[str, int]) -> None:
        """Counts a call as possibly paid when its client does not come back."""
        await asyncio.sleep(self._options.orphan_grace)
        if call.state is not CallState.OPEN or call.asker != asker or asker[0] in self._sessions:
            return
        account = await self.account(call.job_id)
        if call.state is CallState.OPEN and call.asker == asker:
            call.failure = types_v1.Failure(
                reason="CLIENT_LOST",
                message="the process that made the call is gone",
                retryable=True,
            )
            self._books.fail(account, call, paid=True)
            await self._saved(call, self._store.put(call))

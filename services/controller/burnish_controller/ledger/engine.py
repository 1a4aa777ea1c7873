"""Decides each call: proceed, replay what was paid, wait for one in flight, or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish.prices import cost, worst_cost
from burnish_controller.ledger.budget import Account, Amount, Caps
from burnish_controller.ledger.calls import Call, CallState, Scope
from burnish_controller.ledger.decisions import parse_call_id, proceed, refused
from burnish_controller.ledger.store import CallStore

ORPHAN_GRACE_SECONDS = 2.0
_ROLES = {
    ledger_v1.CALL_ROLE_TASK: "task",
    ledger_v1.CALL_ROLE_PROPOSER: "proposer",
    ledger_v1.CALL_ROLE_JUDGE: "judge",
}
_BYTES_PER_TOKEN = 4

Pricer = Callable[[types_v1.ModelSpec, int | None], types_v1.Price | None]
CapsOf = Callable[[str], Awaitable[Caps]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """What the ledger is told from outside.

    Attributes:
        price_of: Price of a model for a prompt of so many tokens, None of them meaning the dearest
            step; None when unknown.
        caps_of: Caps of a job by id.
        orphan_grace: Seconds that a client whose session broke has to come back.
    """

    price_of: Pricer
    caps_of: CapsOf
    orphan_grace: float = ORPHAN_GRACE_SECONDS


class CallLedger:
    """The ledger of one controller. One event loop owns it."""

    def __init__(self, store: CallStore, options: LedgerOptions) -> None:
        self._store = store
        self._options = options
        self._accounts: dict[str, Account] = {}
        self._scopes: dict[str, Scope] = {}
        self._sessions: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rows = asyncio.Lock()

    async def account(self, job_id: str) -> Account:
        """Returns a job's running sums, read from the rows on first use."""
        known = self._accounts.get(job_id)
        if known is not None:
            return known
        account = Account(await self._options.caps_of(job_id))
        sums = await self._store.sums(job_id)
        if job_id in self._accounts:
            return self._accounts[job_id]
        for role, found in sums.items():
            account.load(role, found.booked)
            account.reserve(role, found.open)
        return self._accounts.setdefault(job_id, account)

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
            scope.take_up(stored.get(scope.scope_id, []))
            self._scopes[scope.scope_id] = scope
        for call in scope.calls.values():
            if call.state is CallState.OPEN:
                self._watch_orphan(call)

    def close_scope(self, scope_id: str) -> Scope | None:
        """Lets no more calls of a scope begin, and returns it."""
        return self._scopes.pop(scope_id, None)

    def forget(self, job_id: str) -> None:
        """Lets go of the sums of a job that has ended; they are in the rows."""
        self._accounts.pop(job_id, None)

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
        key = scope.begun.get(asker)
        if key is None:
            key = (request.request_hash, scope.ordinal(request))
            scope.begun[asker] = key
        while True:
            call = scope.calls.get(key)
            if call is None or call.state in {CallState.UNPAID, CallState.LOST}:
                return await self._reserve(account, asker, request, key)
            call.last_attempt = max(call.last_attempt, request.attempt)
            if call.state is CallState.DONE:
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
        self._book(await self.account(call.job_id), call, request)
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
        key: tuple[str, int],
    ) -> ledger_v1.CallDecision:
        scope = self._scopes[request.scope]
        role = _ROLES.get(request.role, "task")
        worst = self._worst(request)
        refusal = account.refusal(role, worst, closing=scope.closing)
        if refusal is not None:
            scope.refused.setdefault(request.attempt, []).append(refusal.reason)
            return refused(refusal.reason, refusal.message)
        account.reserve(role, worst)
        call = scope.calls.get(key)
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
        call.state = CallState.OPEN
        call.client_id, call.sequence = asker
        call.worst = worst
        call.last_attempt = max(call.last_attempt, request.attempt)
        call.ended = asyncio.Event()
        await self._store.save(call)
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
            self._book(await self.account(call.job_id), call, request)
            await self._end(call)

    def _known(self, scope_id: str, key: tuple[str, int]) -> Call | None:
        scope = self._scopes.get(scope_id)
        return None if scope is None else scope.calls.get(key)

    def _book(self, account: Account, call: Call, request: ledger_v1.FinishCall) -> None:
        failed = request.HasField("failure") or not request.HasField("reply")
        if call.state is CallState.LOST and (not failed or request.not_sent):
            account.take_back(call.role, call.worst)
            account.reserve(call.role, call.worst)
            call.lost = call.lost - call.worst
            call.lost_calls -= 1
        elif call.state is not CallState.OPEN:
            return
        if request.HasField("trace"):
            call.trace = request.trace
        if failed:
            call.failure = request.failure
            self._fail(account, call, paid=not request.not_sent)
            return
        call.reply = request.reply
        call.failure = None
        actual = self._actual(call, request)
        account.settle(call.role, call.worst, actual)
        call.usd = actual.usd
        call.state = CallState.DONE

    async def _end(self, call: Call) -> None:
        """Makes a call's end durable, then wakes who waits, even when its client has left."""
        await asyncio.shield(self._background(self._saved(call)))

    async def _saved(self, call: Call) -> None:
        await self._store.save(call)
        call.ended.set()

    def _background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _worst(self, request: ledger_v1.BeginCall) -> Amount:
        worst = request.worst_case
        price = self._price(request.model, None)
        return Amount(
            worst.input_tokens + worst.output_tokens,
            worst_cost(price, input_tokens=worst.input_tokens, output_tokens=worst.output_tokens),
        )

    def _actual(self, call: Call, request: ledger_v1.FinishCall) -> Amount:
        if request.HasField("usage"):
            call.input_tokens = request.usage.input_tokens
            call.output_tokens = request.usage.output_tokens
            call.estimated = request.usage.estimated
        else:
            # A guess may not pass what was reserved, or it would pass the cap.
            limit = call.worst.tokens
            read = len(request.trace.provider_request) // _BYTES_PER_TOKEN
            call.input_tokens = min(read, limit)
            written = len(request.reply.body) // _BYTES_PER_TOKEN
            call.output_tokens = min(written, limit - call.input_tokens)
            call.estimated = True
        usage = types_v1.Usage(input_tokens=call.input_tokens, output_tokens=call.output_tokens)
        if request.HasField("usage"):
            usage = request.usage
        usd = cost(self._price(call.model, call.input_tokens), usage)
        if usd is None and request.usage.HasField("cost_usd"):
            usd = request.usage.cost_usd
        if call.estimated and usd is not None and call.worst.usd is not None:
            usd = min(usd, call.worst.usd)
        return Amount(call.input_tokens + call.output_tokens, usd)

    def _price(self, model: types_v1.ModelSpec, read: int | None) -> types_v1.Price | None:
        return model.price if model.HasField("price") else self._options.price_of(model, read)

    def _fail(self, account: Account, call: Call, *, paid: bool) -> None:
        if paid:
            account.settle(call.role, call.worst, call.worst)
            call.lost = call.lost + call.worst
            call.lost_calls += 1
            call.state = CallState.LOST
        else:
            account.release(call.role, call.worst)
            call.state = CallState.UNPAID

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
            self._fail(account, call, paid=True)
            await self._saved(call)

"""Decides each call: proceed, replay what was paid, wait for one in flight, or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.ledger.budget import Account, Amount, Caps
from burnish_controller.ledger.calls import Call, CallState, Scope
from burnish_controller.ledger.store import CallStore

ORPHAN_GRACE_SECONDS = 2.0
_ROLES = {
    ledger_v1.CALL_ROLE_TASK: "task",
    ledger_v1.CALL_ROLE_PROPOSER: "proposer",
    ledger_v1.CALL_ROLE_JUDGE: "judge",
}
_BYTES_PER_TOKEN = 4

Pricer = Callable[[types_v1.ModelSpec], types_v1.Price | None]
CapsOf = Callable[[str], Awaitable[Caps]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """What the ledger is told from outside.

    Attributes:
        price_of: Price of a model, None when unknown.
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

    def open_scope(self, scope: Scope) -> None:
        """Lets calls of a scope begin; the scope brings the calls it made before."""
        for call in scope.calls.values():
            if call.state is CallState.OPEN:
                self._watch_orphan(call)
        self._scopes[scope.scope_id] = scope

    def close_scope(self, scope_id: str) -> Scope | None:
        """Lets no more calls of a scope begin, and returns it."""
        return self._scopes.pop(scope_id, None)

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
        scope = self._scopes.get(request.scope)
        if scope is None or scope.job_id != request.job.removeprefix("jobs/"):
            return _refused("SCOPE_NOT_ACTIVE", "the rollout or request is over or was not begun")
        key = scope.begun.get(asker)
        repeated = key is not None
        if key is None:
            key = (request.request_hash, scope.ordinal(request))
            scope.begun[asker] = key
        while True:
            call = scope.calls.get(key)
            if call is None or call.state in {CallState.UNPAID, CallState.LOST}:
                return await self._reserve(asker[0], request, scope, key)
            call.last_attempt = request.attempt
            if call.state is CallState.DONE:
                return ledger_v1.CallDecision(call_id=call.call_id, replay=call.reply)
            if repeated and call.client_id == asker[0]:
                return ledger_v1.CallDecision(call_id=call.call_id, proceed=ledger_v1.Proceed())
            await call.ended.wait()

    async def finish(self, request: ledger_v1.FinishCall) -> None:
        """Books a call's end. A call that already ended is left as it is.

        Raises:
            InvalidArgument: The call is not known.
        """
        call = await self._find(request.call_id)
        if call.state is not CallState.OPEN:
            return
        account = await self.account(call.job_id)
        if request.HasField("trace"):
            call.trace = request.trace
        if request.HasField("failure") or not request.HasField("reply"):
            call.failure = request.failure
            self._fail(account, call, paid=not request.not_sent)
        else:
            call.reply = request.reply
            call.failure = None
            actual = self._actual(call, request)
            account.settle(call.role, call.worst, actual)
            call.usd = actual.usd
            call.state = CallState.DONE
        await self._store.save(call)
        call.ended.set()

    async def close(self) -> None:
        """Stops waiting for clients that are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _reserve(
        self, client_id: str, request: ledger_v1.BeginCall, scope: Scope, key: tuple[str, int]
    ) -> ledger_v1.CallDecision:
        account = await self.account(scope.job_id)
        role = _ROLES.get(request.role, "task")
        worst = self._worst(request)
        refusal = account.refusal(role, worst, closing=scope.closing)
        if refusal is not None:
            scope.refused.setdefault(request.attempt, []).append(refusal.reason)
            return _refused(refusal.reason, refusal.message)
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
                client_id=client_id,
                model=request.model,
                state=CallState.OPEN,
                worst=worst,
            )
            scope.calls[key] = call
        call.state = CallState.OPEN
        call.client_id = client_id
        call.worst = worst
        call.last_attempt = request.attempt
        call.ended = asyncio.Event()
        await self._store.save(call)
        return ledger_v1.CallDecision(call_id=call.call_id, proceed=ledger_v1.Proceed())

    def _worst(self, request: ledger_v1.BeginCall) -> Amount:
        worst = request.worst_case
        tokens = worst.input_tokens + worst.output_tokens
        return Amount(tokens, self._usd(request.model, worst.input_tokens, worst.output_tokens))

    def _actual(self, call: Call, request: ledger_v1.FinishCall) -> Amount:
        if request.HasField("usage"):
            call.input_tokens = request.usage.input_tokens
            call.output_tokens = request.usage.output_tokens
            call.estimated = request.usage.estimated
        else:
            call.input_tokens = len(request.trace.provider_request) // _BYTES_PER_TOKEN
            call.output_tokens = len(request.reply.body) // _BYTES_PER_TOKEN
            call.estimated = True
        usd = self._usd(call.model, call.input_tokens, call.output_tokens)
        if usd is None and request.usage.HasField("cost_usd"):
            usd = request.usage.cost_usd
        return Amount(call.input_tokens + call.output_tokens, usd)

    def _usd(self, model: types_v1.ModelSpec, read: int, written: int) -> float | None:
        price = model.price if model.HasField("price") else self._options.price_of(model)
        if price is None:
            return None
        return (read * price.input_usd_per_million + written * price.output_usd_per_million) / 1e6

    def _fail(self, account: Account, call: Call, *, paid: bool) -> None:
        if paid:
            account.settle(call.role, call.worst, call.worst)
            call.lost = call.lost + call.worst
            call.lost_calls += 1
            call.state = CallState.LOST
        else:
            account.release(call.role, call.worst)
            call.state = CallState.UNPAID

    async def _find(self, call_id: str) -> Call:
        scope_id, request_hash, ordinal = call_id.rsplit("#", 2)
        scope = self._scopes.get(scope_id)
        if scope is not None and (request_hash, int(ordinal)) in scope.calls:
            return scope.calls[request_hash, int(ordinal)]
        stored = (await self._store.of_scopes([scope_id])).get(scope_id, [])
        for call in stored:
            if call.key == (request_hash, int(ordinal)):
                return call
        raise InvalidArgument(f"call `{call_id}` was never begun", metadata={"call_id": call_id})

    def _watch_orphan(self, call: Call) -> None:
        task = asyncio.create_task(self._orphan(call, call.client_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _orphan(self, call: Call, client_id: str) -> None:
        """Counts a call as possibly paid when its client does not come back."""
        await asyncio.sleep(self._options.orphan_grace)
        if call.state is not CallState.OPEN or call.client_id != client_id:
            return
        if client_id in self._sessions:
            return
        account = await self.account(call.job_id)
        call.failure = types_v1.Failure(
            reason="CLIENT_LOST", message="the process that made the call is gone", retryable=True
        )
        self._fail(account, call, paid=True)
        await self._store.save(call)
        call.ended.set()


def _refused(reason: str, message: str) -> ledger_v1.CallDecision:
    return ledger_v1.CallDecision(
        refused=types_v1.Failure(reason=reason, message=message, retryable=False)
    )

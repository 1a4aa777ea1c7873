"""Books every call with its job and its tenant: the worst case before it, what it used after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.prices import cost, worst_cost
from burnish_controller.ledger.budget import Account, Amount, Caps
from burnish_controller.ledger.calls import Call, CallState
from burnish_controller.ledger.purse import Purse
from burnish_controller.ledger.refusal import Refusal
from burnish_controller.ledger.shares import Crossing, crossings
from burnish_controller.ledger.store import CallStore

_BYTES_PER_TOKEN = 4
_log = structlog.get_logger("burnish.controller.ledger")

Pricer = Callable[[types_v1.ModelSpec, int | None], types_v1.Price | None]
CapsOf = Callable[[str], Awaitable[Caps]]
Warn = Callable[[str, Crossing], Awaitable[None]]


async def silent(job_id: str, crossing: Crossing) -> None:
    """Warns nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOptions:
    """What the books are told from outside.

    Attributes:
        price_of: Price of a model for a prompt of so many tokens, None of them meaning the dearest
            step; None when unknown.
        caps_of: Caps of a job by id.
        purse: The tenant's limits.
        warn: Told of a share of a cap that a job has spent; may be told more than once.
    """

    price_of: Pricer
    caps_of: CapsOf
    purse: Purse = field(default_factory=Purse)
    warn: Warn = silent


class Books:
    """The accounts of one tenant's jobs. One event loop owns them."""

    def __init__(self, store: CallStore, options: BookOptions) -> None:
        self._store = store
        self._options = options
        self._accounts: dict[str, Account] = {}
        self._loaded = not options.purse.caps.bind

    def known(self, job_id: str) -> Account | None:
        """Returns a job's running sums when they were read before."""
        return self._accounts.get(job_id)

    async def account(self, job_id: str) -> Account:
        """Returns a job's running sums, read from the rows on first use."""
        known = self._accounts.get(job_id)
        if known is not None:
            return known
        account = Account(await self._options.caps_of(job_id), self._options.purse)
        sums = await self._store.sums(job_id)
        await self._load_purse()
        if job_id in self._accounts:
            return self._accounts[job_id]
        for role, found in sums.items():
            account.load(role, found.booked)
            account.reserve(role, found.open)
        return self._accounts.setdefault(job_id, account)

    async def tenant_left(self) -> float | None:
        """Returns the US dollars that the tenant has left; None without a cap."""
        await self._load_purse()
        left = self._options.purse.left()
        if left is None:
            return None
        return left - sum(one.held.usd or 0.0 for one in self._accounts.values())

    def forget(self, job_id: str) -> None:
        """Lets go of the sums of a job that has ended; they are in the rows."""
        self._accounts.pop(job_id, None)

    async def warn(self, job_id: str) -> None:
        """Tells which shares of its caps a job has spent, each once in the life of the process."""
        account = self._accounts.get(job_id)
        if account is None:
            return
        held = sum(one.held.usd or 0.0 for one in self._accounts.values())
        for crossing in crossings(account, tenant_held=held):
            if crossing.key not in account.told:
                await self._options.warn(job_id, crossing)
                account.told.add(crossing.key)

    def worst(self, request: ledger_v1.BeginCall) -> Amount:
        """Returns the most that a call can cost."""
        read, written = request.worst_case.input_tokens, request.worst_case.output_tokens
        usd = worst_cost(self._price(request.model, None), input_tokens=read, output_tokens=written)
        return Amount(read + written, usd)

    def refusal(
        self, account: Account, role: str, worst: Amount, *, closing: bool, call: Call | None
    ) -> Refusal | None:
        """Says why a call may not be made now, or None when it may.

        Args:
            account: Who pays.
            role: Who spends.
            worst: The most that the call can cost.
            closing: Whether the call belongs to the closing test.
            call: The call, when it was tried before.
        """
        found = account.refusal(role, worst, closing=closing)
        if found is not None or not account.purse.caps.bind:
            return found
        held = sum(one.held.usd or 0.0 for one in self._accounts.values() if one is not account)
        if not closing:
            held += account.held.usd or 0.0
        carried = 0.0
        if call is not None and call.day != account.purse.today():
            carried = call.lost.usd or 0.0
        return account.purse.refusal(worst.usd, held=held, carried=carried)

    def reserve(self, account: Account, call: Call, worst: Amount) -> None:
        """Reserves a call's worst case and opens it; ask `refusal` first."""
        purse, today = account.purse, account.purse.today()
        purse.book(call.day, -(call.lost.usd or 0.0))
        purse.book(today, call.lost.usd)
        purse.reserve(today, worst.usd)
        account.reserve(call.role, worst)
        call.day, call.worst, call.state = today, worst, CallState.OPEN

    def book(self, account: Account, call: Call, request: ledger_v1.FinishCall) -> None:
        """Books the end of a call; one that has ended already is left as it is.

        A call that was given up as lost is taken up again when its reply comes after all.
        """
        failed = request.HasField("failure") or not request.HasField("reply")
        if call.state is CallState.LOST and (not failed or request.not_sent):
            self._find_again(account, call)
        elif call.state is not CallState.OPEN:
            return
        if request.HasField("trace"):
            call.trace = request.trace
        if failed:
            call.failure = request.failure
            self.fail(account, call, paid=not request.not_sent)
            return
        call.reply = request.reply
        call.failure = None
        actual = self._actual(call, request)
        account.settle(call.role, call.worst, actual)
        account.purse.reserve(call.day, -(call.worst.usd or 0.0))
        account.purse.book(call.day, actual.usd)
        call.usd = actual.usd
        call.state = CallState.DONE

    def fail(self, account: Account, call: Call, *, paid: bool) -> None:
        """Ends an open call without an answer; one that may be paid stays booked."""
        account.purse.reserve(call.day, -(call.worst.usd or 0.0))
        if paid:
            account.settle(call.role, call.worst, call.worst)
            account.purse.book(call.day, call.worst.usd)
            call.lost = call.lost + call.worst
            call.lost_calls += 1
            call.state = CallState.LOST
        else:
            account.release(call.role, call.worst)
            call.state = CallState.UNPAID

    def _find_again(self, account: Account, call: Call) -> None:
        account.take_back(call.role, call.worst)
        account.reserve(call.role, call.worst)
        account.purse.book(call.day, -(call.worst.usd or 0.0))
        account.purse.reserve(call.day, call.worst.usd)
        call.lost = call.lost - call.worst
        call.lost_calls -= 1

    def _actual(self, call: Call, request: ledger_v1.FinishCall) -> Amount:
        usage = request.usage
        if not request.HasField("usage"):
            usage = _guessed(request, limit=call.worst.tokens)
        call.count(usage)
        usd = cost(self._price(call.model, call.input_tokens), usage)
        if usd is None and request.usage.HasField("cost_usd"):
            usd = request.usage.cost_usd
        if call.estimated and usd is not None and call.worst.usd is not None:
            usd = min(usd, call.worst.usd)
        actual = Amount(call.input_tokens + call.output_tokens, usd)
        if actual.tokens > call.worst.tokens:
            # Nothing can be done about it, but a cap may have been passed because of it.
            _log.warning(
                "call_above_reservation",
                model=f"{call.model.provider}/{call.model.model}",
                reserved_tokens=call.worst.tokens,
                used_tokens=actual.tokens,
            )
        return actual

    async def _load_purse(self) -> None:
        """Reads what the tenant spent before this process began, on first use."""
        if self._loaded:
            return
        days = await self._store.days()
        # Another may have read them meanwhile, and calls begun since.
        if not self._loaded:
            self._loaded = True
            self._options.purse.load(days)

    def _price(self, model: types_v1.ModelSpec, read: int | None) -> types_v1.Price | None:
        return model.price if model.HasField("price") else self._options.price_of(model, read)


def _guessed(request: ledger_v1.FinishCall, *, limit: int) -> types_v1.Usage:
    """Returns tokens by the bytes; a guess may not pass what was reserved, nor with it a cap."""
    read = min(len(request.trace.provider_request) // _BYTES_PER_TOKEN, limit)
    written = min(len(request.reply.body) // _BYTES_PER_TOKEN, limit - read)
    return types_v1.Usage(input_tokens=read, output_tokens=written, estimated=True)

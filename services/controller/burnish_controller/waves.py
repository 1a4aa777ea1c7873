"""Cuts a batch into waves when money or tokens are capped, by what the order of its cells decides.

A worst case is reserved for each call, so near a cap the calls that got there first would decide
which rollout is refused, and with it what the search sees. So only as many rollouts go together as
the cap surely allows, judged by what the cells before them have used and by the dearest rollout so
far; the last ones go alone, in order. Then concurrency, restarts and luck change nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from burnish_controller.ledger.budget import NOTHING, Account, Amount, total
from burnish_controller.ledger.calls import Call, CallState

# So many times as dear as the dearest before it may a rollout be and still not be refused.
MARGIN = 2
ROLES = ("task", "judge")


class Waves:
    """How wide the next wave of a batch may be. Pure: sums in, widths out."""

    def __init__(
        self,
        account: Account,
        *,
        closing: bool,
        dearest: Amount,
        used: Mapping[str, Sequence[Call]],
    ) -> None:
        """Starts before the first cell of a batch.

        Args:
            account: The job's sums, what the batch used before a restart included.
            closing: Whether the batch may use the share held back for the closing test.
            dearest: Worst case of the dearest rollout outside the batch.
            used: Calls that the batch's rollouts made before a restart, by rollout id.
        """
        self._account = account
        self._closing = closing
        self._dearest = dearest
        self._ahead = {scope: committed_by_role(calls) for scope, calls in used.items()}

    def width(self) -> int:
        """Returns how many rollouts may go together now, at least 1.

        Call it only between waves, when nothing of the job is in flight. The first rollout of a
        job goes alone, because nobody knows yet what one can cost.
        """
        if not self._dearest.tokens:
            return 1
        account, caps = self._account, self._account.caps
        roles = {role for found in self._ahead.values() for role in found}
        ahead = {role: total(found.get(role, NOTHING) for found in self._ahead.values())
                 for role in roles}  # fmt: skip
        spent = account.booked() + account.reserved() - total(ahead.values())
        if not self._closing:
            spent = spent + account.held
        widths = []
        if caps.tokens is not None:
            widths.append(_times(caps.tokens - spent.tokens, self._dearest.tokens))
        if caps.usd is not None:
            widths.append(_times(_left(caps.usd, spent), self._dearest.usd))
        left = account.purse.left()
        if left is not None:
            again = sum(one.usd or 0.0 for one in ahead.values())
            held = 0.0 if self._closing else account.held.usd or 0.0
            widths.append(_times(left + again - held, self._dearest.usd))
        for role in ROLES:
            if role in caps.usd_by_role:
                mine = account.booked(role) + account.reserved(role) - ahead.get(role, NOTHING)
                if not self._closing:
                    mine = mine + account.held_of(role)
                widths.append(_times(_left(caps.usd_by_role[role], mine), self._dearest.usd))
        return max(1, min(widths, default=sys.maxsize))

    def passed(self, rollout_id: str, calls: Sequence[Call]) -> None:
        """Notes that a rollout of the batch has ended, and all its calls."""
        self._ahead.pop(rollout_id, None)
        self._dearest = self._dearest.or_dearer(total(call.worst for call in calls))


def committed_by_role(calls: Iterable[Call]) -> dict[str, Amount]:
    """Returns what calls hold of a budget, by role: the worst case of those that are open."""
    found: dict[str, Amount] = {}
    for call in calls:
        held = call.lost
        if call.state is CallState.OPEN:
            held = held + call.worst
        elif call.state is CallState.DONE:
            held = held + Amount(call.input_tokens + call.output_tokens, call.usd)
        found[call.role] = found.get(call.role, NOTHING) + held
    return found


def _left(cap: float, spent: Amount) -> float | None:
    return None if spent.usd is None else cap - spent.usd


def _times(left: float | None, dearest: float | None) -> int:
    """Returns how often the dearest rollout fits; one whose price is unknown never does."""
    if left is None or dearest is None:
        return 0
    return int(left // (MARGIN * dearest)) if dearest else sys.maxsize

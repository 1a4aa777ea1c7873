"""One call's row, and what is kept of a scope while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import Amount


class CallState(StrEnum):
    """Where a call stands."""

    OPEN = "open"
    """Begun, and its client is thought to be alive."""
    DONE = "done"
    """Answered: its reply is replayed."""
    UNPAID = "unpaid"
    """Ended without an answer, certainly not paid."""
    LOST = "lost"
    """Ended without an answer, possibly paid: stays booked at its worst case."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of one scope. Its key is (scope, request hash, ordinal).

    Attributes:
        sequence: Sequence of the request that reserved it, among its client's.
        lost: Booked for tries of this call that were possibly paid.
        lost_calls: How many such tries there were.
        ended: Set when the call ends.
    """

    scope: str
    request_hash: str
    ordinal: int
    job_id: str
    role: str
    position: int
    attempt: int
    client_id: str
    sequence: int
    model: types_v1.ModelSpec
    state: CallState
    worst: Amount
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    estimated: bool = False
    lost_calls: int = 0
    lost: Amount = field(default_factory=lambda: Amount(0, 0.0))
    reply: ledger_v1.CallReply | None = None
    trace: ledger_v1.CallTrace | None = None
    failure: types_v1.Failure | None = None
    last_attempt: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def call_id(self) -> str:
        """The id that the client knows the call by."""
        return f"{self.scope}#{self.request_hash}#{self.ordinal}"

    @property
    def key(self) -> tuple[str, int]:
        """The key within the scope."""
        return (self.request_hash, self.ordinal)

    @property
    def asker(self) -> tuple[str, int]:
        """Client and sequence of the request that reserved it."""
        return (self.client_id, self.sequence)


@dataclass(slots=True, kw_only=True)
class Scope:
    """What calls belong to: one rollout, one proposal, or one judgement.

    Attributes:
        closing: Whether it belongs to the closing test.
        calls: By (request hash, ordinal); filled by `take_up` when there were any before.
        counts: How often each hash was begun, by (attempt, request hash).
        refused: Reasons of calls refused, by attempt.
        begun: Key that was given to each request, by client id and sequence.
    """

    scope_id: str
    job_id: str
    closing: bool
    calls: dict[tuple[str, int], Call] = field(default_factory=dict)
    counts: dict[tuple[int, str], int] = field(default_factory=dict)
    refused: dict[int, list[str]] = field(default_factory=dict)
    begun: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)

    def take_up(self, calls: Iterable[Call]) -> None:
        """Takes over calls made before; requests repeated from then keep their keys."""
        for call in calls:
            self.calls[call.key] = call
            slot = (call.attempt, call.request_hash)
            self.counts[slot] = max(self.counts.get(slot, 0), call.ordinal + 1)
            if call.state is CallState.OPEN:
                self.begun[call.asker] = call.key

    def ordinal(self, request: ledger_v1.BeginCall) -> int:
        """Gives a begun call its ordinal: how often its hash was begun before in its attempt."""
        if request.HasField("ordinal"):
            return request.ordinal
        slot = (request.attempt, request.request_hash)
        count = self.counts.get(slot, 0)
        if request.client_retry and count > 0:
            return count - 1
        self.counts[slot] = count + 1
        return count

    def of_attempt(self, attempt: int) -> list[Call]:
        """Returns the calls that an attempt made or replayed, in the order they began."""
        mine = (call for call in self.calls.values() if call.last_attempt == attempt)
        return sorted(mine, key=lambda call: call.position)

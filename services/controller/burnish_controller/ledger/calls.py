"""One call's row, and what is kept of a scope while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

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
        day: Day that it counts on, from the epoch: when its latest try began.
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
    day: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
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
    def usage(self) -> types_v1.Usage:
        """What it used, as far as that is known."""
        usage = types_v1.Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            call_count=1,
            possibly_paid_call_count=self.lost_calls,
            estimated=self.estimated,
            cached_input_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens,
        )
        if self.usd is not None:
            usage.cost_usd = self.usd
        return usage

    def count(self, usage: types_v1.Usage) -> None:
        """Takes over the tokens of a usage."""
        self.input_tokens, self.output_tokens = usage.input_tokens, usage.output_tokens
        self.estimated = usage.estimated
        self.cached_tokens = _told(usage, "cached_input_tokens")
        self.cache_write_tokens = _told(usage, "cache_write_tokens")
        self.reasoning_tokens = _told(usage, "reasoning_tokens")

    @property
    def key(self) -> tuple[str, int]:
        """The key within the scope."""
        return (self.request_hash, self.ordinal)

    @property
    def asker(self) -> tuple[str, int]:
        """Client and sequence of the request that reserved it."""
        return (self.client_id, self.sequence)


_Detail = Literal["cached_input_tokens", "cache_write_tokens", "reasoning_tokens"]


def _told(usage: types_v1.Usage, name: _Detail) -> int | None:
    return getattr(usage, name) if usage.HasField(name) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptKey:
    """A key that an app gave a call, so that it can be asked for again by any process.

    Attributes:
        attempt: Attempt that the key is unique in.
        client_key: Hash of the app's key.
        request_hash: Hash of the call's body.
        ordinal: Ordinal that the call was given.
    """

    attempt: int
    client_key: str
    request_hash: str
    ordinal: int


@dataclass(slots=True, kw_only=True)
class Scope:
    """What calls belong to: one rollout, one proposal, or one judgement.

    Attributes:
        closing: Whether it belongs to the closing test.
        calls: By (request hash, ordinal); filled by `take_up` when there were any before.
        counts: How often each hash was begun, by (attempt, request hash).
        refused: Reasons of calls refused, by attempt.
        begun: Key that was given to each request, by client id and sequence.
        keys: Ordinals of calls that the app gave keys, by attempt, key and request hash.
    """

    scope_id: str
    job_id: str
    closing: bool
    calls: dict[tuple[str, int], Call] = field(default_factory=dict)
    counts: dict[tuple[int, str], int] = field(default_factory=dict)
    refused: dict[int, list[str]] = field(default_factory=dict)
    begun: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    keys: dict[tuple[int, str, str], int] = field(default_factory=dict)

    def take_up(self, calls: Iterable[Call], keys: Iterable[KeptKey] = ()) -> None:
        """Takes over calls made before; requests repeated from then keep their keys."""
        for kept in keys:
            self.keys[kept.attempt, kept.client_key, kept.request_hash] = kept.ordinal
            slot = (kept.attempt, kept.request_hash)
            self.counts[slot] = max(self.counts.get(slot, 0), kept.ordinal + 1)
        for call in calls:
            self.calls[call.key] = call
            slot = (call.attempt, call.request_hash)
            self.counts[slot] = max(self.counts.get(slot, 0), call.ordinal + 1)
            if call.state is CallState.OPEN:
                self.begun[call.asker] = call.key

    def ordinal(self, request: ledger_v1.BeginCall) -> tuple[int, KeptKey | None]:
        """Gives a begun call its ordinal: how often its hash was begun before in its attempt.

        Returns:
            The ordinal, and what has to be kept with the call when the app gave it a new key.
        """
        if request.HasField("ordinal"):
            return request.ordinal, None
        slot = (request.attempt, request.request_hash)
        count = self.counts.get(slot, 0)
        keyed = (request.attempt, request.client_key, request.request_hash)
        if request.client_key and keyed in self.keys:
            return self.keys[keyed], None
        if request.client_retry and not request.client_key and count > 0:
            return count - 1, None
        self.counts[slot] = count + 1
        if not request.client_key:
            return count, None
        self.keys[keyed] = count
        kept = KeptKey(
            attempt=request.attempt,
            client_key=request.client_key,
            request_hash=request.request_hash,
            ordinal=count,
        )
        return count, kept

    def of_attempt(self, attempt: int) -> list[Call]:
        """Returns the calls that an attempt made or replayed, in the order they began."""
        mine = (call for call in self.calls.values() if call.last_attempt == attempt)
        return sorted(mine, key=lambda call: call.position)

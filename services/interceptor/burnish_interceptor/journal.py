"""Asks the call ledger before and after each paid call of a rollout."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from burnish_interceptor import convert_ledger
from burnish_interceptor.calls import Call, Decision, Outcome
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.ledger_errors import LedgerMessageTooLarge

# A decision may wait for an identical call in flight elsewhere, and for a controller that is away.
_BEGIN_SECONDS = 600.0
_REMEMBERED_KEYS = 100_000
_KEY = "idempotency-key"


class Journal:
    """The ledger as the data plane uses it."""

    def __init__(self, ledger: LedgerClient) -> None:
        """Takes a ledger client that is started and closed elsewhere."""
        self._ledger = ledger

    async def begin(self, call: Call) -> Decision:
        """Asks for leave to make a call.

        Raises:
            BurnishError: There was no decision. `Unavailable` may be retried.
        """
        decision = await self._ledger.begin(convert_ledger.begin_call(call), timeout=_BEGIN_SECONDS)
        return convert_ledger.decision(decision)

    async def finish(self, call_id: str, outcome: Outcome) -> None:
        """Reports the end of a call; returns once it is durable.

        Bodies that make the report too large for a message are left out of the trace.

        Raises:
            BurnishError: The ledger refused the report, or the client was closed.
        """
        try:
            await self._ledger.finish(convert_ledger.finish_call(call_id, outcome))
        except LedgerMessageTooLarge:
            record = replace(outcome.record, app_request=b"", provider_request=b"")
            await self._ledger.finish(
                convert_ledger.finish_call(call_id, replace(outcome, record=record))
            )


def key_of(headers: Mapping[str, str]) -> str:
    """Returns the hash of the key that an app gave a call; empty when it gave none.

    Args:
        headers: The app's, by lower-case name.
    """
    name = headers.get(_KEY, "")
    return hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest() if name else ""


class Retries:
    """Tells whether an app repeats a call: it says so, or names a key that it has used before."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int, str], None] = OrderedDict()

    def is_retry(self, headers: Mapping[str, str], *, attempt: tuple[str, int]) -> bool:
        """Returns whether the call is a retry, and remembers its key.

        Args:
            headers: The app's, by lower-case name.
            attempt: Rollout and attempt that the key is unique in.
        """
        count = headers.get("x-stainless-retry-count", "")
        counted = count.isascii() and count.isdigit() and int(count) > 0
        name = headers.get(_KEY, "")
        if not name:
            return counted
        key = (*attempt, name)
        seen = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED_KEYS:
            self._seen.popitem(last=False)
        return counted or seen

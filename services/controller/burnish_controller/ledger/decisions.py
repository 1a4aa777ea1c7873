"""The ledger's answers, and its call ids."""

from __future__ import annotations

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.ledger.calls import Call


def proceed(call: Call) -> ledger_v1.CallDecision:
    """Lets a call be made."""
    return ledger_v1.CallDecision(call_id=call.call_id, proceed=ledger_v1.Proceed())


def parse_call_id(call_id: str) -> tuple[str, tuple[str, int]]:
    """Returns the scope of a call, and its key within the scope.

    Raises:
        InvalidArgument: It is not an id of ours.
    """
    parts = call_id.rsplit("#", 2)
    if len(parts) != 3 or not parts[2].isdecimal():
        raise InvalidArgument(
            f"`{call_id}` is no call id; give the one of the decision",
            metadata={"call_id": call_id},
        )
    return parts[0], (parts[1], int(parts[2]))


def refused(reason: str, message: str) -> ledger_v1.CallDecision:
    """Keeps a call from being made."""
    return ledger_v1.CallDecision(
        refused=types_v1.Failure(reason=reason, message=message, retryable=False)
    )

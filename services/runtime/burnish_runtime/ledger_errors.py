"""What can keep a caller of the call ledger from its answer."""

from __future__ import annotations

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.types.v1 import rollout_pb2
from burnish.errors import FailedPrecondition, InvalidArgument, Unavailable


class LedgerUnreachable(Unavailable):
    """The ledger did not answer in time. The call was not made; the same request may be retried."""

    default_reason = "LEDGER_UNREACHABLE"


class LedgerRefused(InvalidArgument):
    """The ledger found a request malformed; nothing was changed."""

    default_reason = "LEDGER_REFUSED"


class LedgerMessageTooLarge(InvalidArgument):
    """A request above the message limit, which the stream could never carry."""

    default_reason = "LEDGER_MESSAGE_TOO_LARGE"


class LedgerClientClosed(FailedPrecondition):
    """The client is not started, or closed."""

    default_reason = "LEDGER_CLIENT_CLOSED"


def unreachable(call: ledger_v1.BeginCall, seconds: float, problem: str) -> LedgerUnreachable:
    """Returns the error of a decision that did not come in time."""
    problem = problem or "it is silent"
    return LedgerUnreachable(
        f"the call ledger gave no decision within {seconds:g} s ({problem}); see to the controller",
        metadata={
            "job": call.job,
            "scope": call.scope,
            "seconds": f"{seconds:g}",
            "problem": problem,
        },
    )


def too_large(size: int, *, limit: int) -> LedgerMessageTooLarge:
    """Returns the error of a request that no message can carry."""
    return LedgerMessageTooLarge(
        f"a ledger request of {size} bytes is above the limit of {limit}; leave out its trace, or "
        "raise BURNISH_MAX_MESSAGE_BYTES on both sides",
        metadata={"bytes": str(size), "max_bytes": str(limit)},
    )


def refused(failure: rollout_pb2.Failure) -> LedgerRefused:
    """Returns the error of a request that the ledger found malformed."""
    return LedgerRefused(
        failure.message or "the call ledger refused the request",
        reason=failure.reason or None,
        metadata=dict(failure.metadata),
    )


def closed() -> LedgerClientClosed:
    """Returns the error of a request to a client that is not running."""
    return LedgerClientClosed("the ledger client is not running; start it, and use it before close")

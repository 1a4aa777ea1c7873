"""What the ledger's messages say of a call: its failure, its usage, and the ledger's refusal."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, FailedPrecondition, ResourceExhausted, Unavailable
from burnish.prices import cost, shared_table
from burnish_runtime.llm.base import ProviderError, TokenUsage

_BUDGET_REASONS = frozenset({"BUDGET_EXHAUSTED", "PRICE_UNKNOWN"})


def refusal(failure: types_v1.Failure) -> BurnishError:
    """Returns the error for a call that the ledger gives no leave for."""
    kind: type[BurnishError] = FailedPrecondition
    if failure.reason in _BUDGET_REASONS:
        kind = ResourceExhausted
    elif failure.retryable:
        kind = Unavailable
    return kind(
        failure.message or "the call ledger refused the call",
        reason=failure.reason or None,
        metadata=dict(failure.metadata),
    )


def failure_message(error: Exception) -> types_v1.Failure:
    """Returns what the ledger is told of a call that failed."""
    if not isinstance(error, ProviderError):
        return types_v1.Failure(reason="INTERNAL", message="the provider's adapter failed")
    return types_v1.Failure(
        reason=error.reason,
        message=error.message,
        retryable=error.can_retry,
        metadata=error.metadata,
    )


def usage_message(spec: types_v1.ModelSpec, usage: TokenUsage) -> types_v1.Usage:
    """Returns what the ledger is told of a call that was answered; no cost without a price."""
    message = types_v1.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        call_count=1,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )
    dollars = cost(shared_table().price_of(spec, usage.input_tokens), message)
    if dollars is not None:
        message.cost_usd = dollars
    return message


def timestamp(seconds: float) -> Timestamp:
    """Returns seconds since the epoch as a message."""
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp


def duration(seconds: float) -> Duration:
    """Returns a span in seconds as a message; a clock set back gives 0."""
    span = Duration()
    span.FromNanoseconds(max(int(seconds * 1e9), 0))
    return span

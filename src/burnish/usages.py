"""What calls used, as a typed value and in sums; what one does not know, a sum does not either."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from burnish.api.types.v1 import rollout_pb2

_Detail = Literal["cached_input_tokens", "cache_write_tokens", "reasoning_tokens"]
_DETAILS: Final[tuple[_Detail, ...]] = (
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and money.

    Attributes:
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        call_count: Calls made.
        cost_usd: US dollars, possibly paid calls at their worst case; None when a price is unknown.
        possibly_paid_call_count: Tries that may have been paid without an answer that reached us.
        estimated: Whether some tokens are a guess, because a provider did not count them.
        cached_input_tokens: Of those read, from a provider's cache; None when nobody said.
        reasoning_tokens: Of those written, what models wrote for themselves; None when nobody said.
    """

    input_tokens: int
    output_tokens: int
    call_count: int
    cost_usd: float | None
    possibly_paid_call_count: int = 0
    estimated: bool = False
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


def usage(message: rollout_pb2.Usage) -> Usage:
    """Returns tokens and money as a typed value."""
    return Usage(
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        call_count=message.call_count,
        cost_usd=message.cost_usd if message.HasField("cost_usd") else None,
        possibly_paid_call_count=message.possibly_paid_call_count,
        estimated=message.estimated,
        cached_input_tokens=(
            message.cached_input_tokens if message.HasField("cached_input_tokens") else None
        ),
        reasoning_tokens=message.reasoning_tokens if message.HasField("reasoning_tokens") else None,
    )


def total_usage(usages: Iterable[rollout_pb2.Usage]) -> rollout_pb2.Usage:
    """Returns the sum of usages; of nothing, it costs 0.

    Its cost is absent when one of theirs is. Cached and reasoning tokens are there when any of them
    tells some: a provider that does not say has none to tell apart.
    """
    total = rollout_pb2.Usage(cost_usd=0.0)
    for usage in usages:
        add_usage(total, usage)
    return total


def add_usage(total: rollout_pb2.Usage, usage: rollout_pb2.Usage) -> None:
    """Adds a usage to a sum."""
    total.input_tokens += usage.input_tokens
    total.output_tokens += usage.output_tokens
    total.call_count += usage.call_count
    total.possibly_paid_call_count += usage.possibly_paid_call_count
    total.estimated = total.estimated or usage.estimated
    for name in _DETAILS:
        if usage.HasField(name):
            setattr(total, name, getattr(total, name) + getattr(usage, name))
    if total.HasField("cost_usd") and usage.HasField("cost_usd"):
        total.cost_usd += usage.cost_usd
    else:
        total.ClearField("cost_usd")

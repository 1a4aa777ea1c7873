"""Adds up what calls used; what one of them does not know, the sum does not know either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from burnish.api.types.v1 import rollout_pb2

_Detail = Literal["cached_input_tokens", "cache_write_tokens", "reasoning_tokens"]
_DETAILS: Final[tuple[_Detail, ...]] = (
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
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

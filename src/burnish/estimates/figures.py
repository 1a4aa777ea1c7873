"""The figures of an estimate: each has a low and a high end, and money may be unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from burnish.api.types.v1 import model_pb2
from burnish.prices import PriceTable

CHARACTERS_PER_TOKEN = (2.5, 7.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A figure between a low and a high end."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(low=self.low + other.low, high=self.high + other.high)

    def times(self, low: float, high: float) -> Range:
        """Returns the range with each end multiplied."""
        return Range(low=self.low * low, high=self.high * high)

    def at_most(self, cap: float | None) -> Range:
        """Returns the range with neither end above a cap; None caps nothing."""
        if cap is None:
            return self
        return Range(low=min(self.low, cap), high=min(self.high, cap))


NOTHING = Range(low=0, high=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEstimate:
    """What one role will use.

    Attributes:
        model: Provider and model, several joined by commas.
        calls: Model calls.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        cost_usd: US dollars; None when a price is unknown.
    """

    model: str
    calls: Range
    input_tokens: Range
    output_tokens: Range
    cost_usd: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job will use.

    Attributes:
        rollouts: By phase.
        roles: By role: `task` is the policy, the program's own calls; `proposer`; `judge`.
        calls: Over every role.
        tokens: Read and written, over every role.
        cost_usd: Over every role; None when a price is unknown.
        capped_usd: The money cap of the job; None without one.
        assumptions: What the figures rest on, a sentence each.
        test_rows: Held-out rows of the closing test.
        searched_rows: Further rows on which the search will see both prompts, and which count.
        detectable_gain: Gain that is promoted four times out of five, by all of these rows.
        warnings: What to change before spending, a sentence each.
    """

    rollouts: Mapping[str, Range]
    roles: Mapping[str, RoleEstimate]
    calls: Range
    tokens: Range
    cost_usd: Range | None
    capped_usd: float | None
    assumptions: tuple[str, ...]
    test_rows: int = 0
    searched_rows: int = 0
    detectable_gain: float = 1.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Calls of one model.

    Attributes:
        model: The model.
        calls: How many.
        read: Tokens that one of them reads.
        written: Tokens that one of them writes.
    """

    model: model_pb2.ModelSpec
    calls: Range
    read: Range
    written: Range


def role_of(uses: Iterable[Use], prices: PriceTable) -> RoleEstimate:
    """Returns what the calls of one role come to."""
    names: dict[str, None] = {}
    calls = read = written = NOTHING
    cost: Range | None = NOTHING
    for use in uses:
        names[f"{use.model.provider}/{use.model.model}"] = None
        one_read = use.read.times(use.calls.low, use.calls.high)
        one_written = use.written.times(use.calls.low, use.calls.high)
        calls, read, written = calls + use.calls, read + one_read, written + one_written
        paid = _cost(use, one_read, one_written, prices)
        cost = None if cost is None or paid is None else cost + paid
    return RoleEstimate(
        model=", ".join(names),
        calls=calls,
        input_tokens=read,
        output_tokens=written,
        cost_usd=cost,
    )


def tokens_of(characters: float) -> Range:
    """Returns how many tokens a text is."""
    dense, sparse = CHARACTERS_PER_TOKEN
    return Range(low=math.floor(characters / sparse), high=math.ceil(characters / dense))


def _cost(use: Use, read: Range, written: Range, prices: PriceTable) -> Range | None:
    """Returns what calls cost: all read from a cache at the low end, the dearest at the high."""
    low = prices.price_of(use.model, int(use.read.low))
    high = prices.price_of(use.model, int(use.read.high))
    if low is None or high is None:
        return None
    cheap = low.input_usd_per_million
    if low.HasField("cached_input_usd_per_million"):
        cheap = min(cheap, low.cached_input_usd_per_million)
    dear = max(high.input_usd_per_million, high.cache_write_usd_per_million)
    thought = max(high.output_usd_per_million, high.reasoning_usd_per_million)
    return Range(
        low=(read.low * cheap + written.low * low.output_usd_per_million) / 1e6,
        high=(read.high * dear + written.high * thought) / 1e6,
    )

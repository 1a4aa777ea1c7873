"""What models cost: one table for estimates, the ledger and the adapters of providers.

Four sources, asked in order: the price in the model spec, the operator's own file, the prices of
the `genai-prices` package (as shipped with it, never fetched), and the table in `burnish.models`. A
local model costs 0.0, said explicitly; what no source knows is None, which is not 0.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from decimal import Decimal

from burnish.api.types.v1 import model_pb2, rollout_pb2
from burnish.models import known_price
from burnish.price_files import WHOLE_PROVIDER, Overrides, key_of, read_prices

PRICES_FILE = "BURNISH_PRICES_FILE"
# A self-hosted server may serve a model of the same name at another price.
_PUBLISHED = ("openai", "groq", "google", "anthropic")
_LOOK_UP_SECONDS = 3600
_PER_MILLION = 1_000_000
_Steps = tuple[tuple[int, float], ...]
# By the name that `genai-prices` has for a unit.
_UNITS = {
    "input_mtok": "input_usd_per_million",
    "output_mtok": "output_usd_per_million",
    "cache_read_mtok": "cached_input_usd_per_million",
    "cache_write_mtok": "cache_write_usd_per_million",
    "output_reasoning_mtok": "reasoning_usd_per_million",
}


class PriceTable:
    """Knows prices. What it read of the file holds for its life."""

    def __init__(
        self, overrides: Overrides | None = None, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Takes the operator's prices.

        Args:
            overrides: By provider and model, as `read_prices` returns them.
            wall_clock: Unix seconds; some prices change on a date.
        """
        self._overrides = {} if overrides is None else overrides
        self._wall_clock = wall_clock

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> PriceTable:
        """Returns the table with the prices of the file that `BURNISH_PRICES_FILE` names, if any.

        Raises:
            PricesInvalid: The file cannot be read, or says what cannot be.
        """
        path = environ.get(PRICES_FILE, "").strip()
        return cls(read_prices(path) if path else None)

    def price_of(
        self, model: model_pb2.ModelSpec, input_tokens: int | None = None
    ) -> model_pb2.Price | None:
        """Returns the price of a model, or None when nobody knows it.

        Args:
            model: Provider and model; a price stated in it wins.
            input_tokens: Size of the prompt, for models whose price rises with it; None means the
                dearest step, so that a reservation is never too small.
        """
        if model.HasField("price"):
            return model.price
        return self.listed(model.provider, model.model, input_tokens)

    def listed(
        self, provider: str, model: str, input_tokens: int | None = None
    ) -> model_pb2.Price | None:
        """Returns the price of a model whose spec states none, or None when nobody knows it.

        Args:
            provider: Provider name.
            model: The provider's model id.
            input_tokens: As for `price_of`.
        """
        if provider == "local":
            return model_pb2.Price(input_usd_per_million=0.0, output_usd_per_million=0.0)
        if self._overrides:
            own = self._overrides.get(key_of(provider, model))
            own = own or self._overrides.get((provider, WHOLE_PROVIDER))
            if own is not None:
                return own
        if provider in _PUBLISHED:
            hour = int(self._wall_clock() // _LOOK_UP_SECONDS)
            published = _looked_up(provider, model.removeprefix("models/"), hour)
            if published:
                return _at(published, input_tokens)
        shipped = known_price(provider, model)
        if shipped is None:
            return None
        return model_pb2.Price(
            input_usd_per_million=shipped.input_usd, output_usd_per_million=shipped.output_usd
        )


def cost(price: model_pb2.Price | None, usage: rollout_pb2.Usage) -> float | None:
    """Returns the US dollars of what a call used; None when the price is unknown.

    Counts that cannot be, such as more cached tokens than were read, are taken for the most that
    they can be.
    """
    if price is None:
        return None
    read, written = usage.input_tokens, usage.output_tokens
    dollars = read * price.input_usd_per_million + written * price.output_usd_per_million
    cached = min(usage.cached_input_tokens, read)
    if cached and price.HasField("cached_input_usd_per_million"):
        dollars += cached * (price.cached_input_usd_per_million - price.input_usd_per_million)
    kept = min(usage.cache_write_tokens, read - cached)
    if kept and price.HasField("cache_write_usd_per_million"):
        dollars += kept * (price.cache_write_usd_per_million - price.input_usd_per_million)
    thought = min(usage.reasoning_tokens, written)
    if thought and price.HasField("reasoning_usd_per_million"):
        dollars += thought * (price.reasoning_usd_per_million - price.output_usd_per_million)
    return dollars / _PER_MILLION


def worst_cost(
    price: model_pb2.Price | None, *, input_tokens: int, output_tokens: int
) -> float | None:
    """Returns the most US dollars that so many tokens can cost; None when the price is unknown."""
    if price is None:
        return None
    read = max(price.input_usd_per_million, price.cache_write_usd_per_million)
    read = max(read, price.cached_input_usd_per_million)
    written = max(price.output_usd_per_million, price.reasoning_usd_per_million)
    return (input_tokens * read + output_tokens * written) / _PER_MILLION


@functools.cache
def shared_table() -> PriceTable:
    """Returns the table of this process, made on first use from its environment.

    Raises:
        PricesInvalid: The operator's file cannot be read, or says what cannot be.
    """
    return PriceTable.from_environment(os.environ)


@functools.lru_cache(maxsize=1024)
def _looked_up(provider: str, name: str, hour: int) -> Mapping[str, _Steps]:
    """Returns the steps of a model's prices by field; kept, because a look-up takes 0.1 ms.

    Args:
        provider: Provider name.
        name: The provider's model id.
        hour: The hour that they are kept for.
    """
    try:
        import genai_prices
    except ImportError:
        # The table in `burnish.models` stands in.
        return {}
    try:
        found = genai_prices.calc_price(genai_prices.Usage(), name, provider_id=provider)
    except LookupError:
        return {}
    prices = {field: _steps(getattr(found.model_price, unit)) for unit, field in _UNITS.items()}
    known = {field: steps for field, steps in prices.items() if steps}
    whole = known.keys() >= {"input_usd_per_million", "output_usd_per_million"}
    return known if whole else {}


def _steps(price: object) -> _Steps:
    # The package has a plain number, or a base with steps by size of the prompt, or nothing.
    from genai_prices.types import TieredPrices

    if isinstance(price, TieredPrices):
        steps = [(tier.start, float(tier.price)) for tier in price.tiers]
        return ((0, float(price.base)), *steps)
    return ((0, float(price)),) if isinstance(price, Decimal) else ()


def _at(prices: Mapping[str, _Steps], input_tokens: int | None) -> model_pb2.Price:
    found = {}
    for field, steps in prices.items():
        if input_tokens is None:
            found[field] = max(price for _, price in steps)
        else:
            # The first step is for every prompt, and the steps come in order.
            reached = [price for start, price in steps if start == 0 or input_tokens > start]
            found[field] = reached[-1]
    return model_pb2.Price(**found)

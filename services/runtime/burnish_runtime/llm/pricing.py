"""What a model costs, without a look-up over the network.

Three sources, asked in order: the price in the model spec, the prices of the `genai-prices`
package (as shipped with it, never fetched), and the table in `burnish.models`. A local model costs
0.0, said explicitly; what no source knows is None, which is not 0.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from decimal import Decimal

from burnish.api.types import v1 as types_v1
from burnish.models import known_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        input_usd_per_million: For tokens read, at least 0.
        output_usd_per_million: For tokens written, at least 0.
    """

    input_usd_per_million: float
    output_usd_per_million: float

    def cost(self, *, input_tokens: int, output_tokens: int) -> float:
        """Returns the cost of a call in US dollars."""
        return (
            input_tokens * self.input_usd_per_million + output_tokens * self.output_usd_per_million
        ) / 1_000_000


# A self-hosted server may serve a model of the same name at another price.
_PUBLISHED = ("openai", "groq", "google")
_LOOK_UP_SECONDS = 3600
_Steps = list[tuple[int, Decimal]]


def price_of(model: types_v1.ModelSpec, *, input_tokens: int | None = None) -> Price | None:
    """Returns the price of a model, or None when nobody knows it.

    Args:
        model: Provider and model; a price stated in it wins.
        input_tokens: Size of the prompt, for models whose price rises with it; None means the
            dearest step, so that a reservation is never too small.
    """
    if model.HasField("price"):
        return Price(
            input_usd_per_million=model.price.input_usd_per_million,
            output_usd_per_million=model.price.output_usd_per_million,
        )
    return listed_price(model.provider, model.model, input_tokens=input_tokens)


def listed_price(provider: str, model: str, *, input_tokens: int | None = None) -> Price | None:
    """Returns the price of a model from the tables, or None when it is in none.

    Args:
        provider: Provider name.
        model: The provider's model id.
        input_tokens: As for `price_of`.
    """
    if provider == "local":
        return Price(input_usd_per_million=0.0, output_usd_per_million=0.0)
    published = _published(provider, model, input_tokens)
    if published is not None:
        return published
    shipped = known_price(provider, model)
    if shipped is None:
        return None
    return Price(input_usd_per_million=shipped.input_usd, output_usd_per_million=shipped.output_usd)


def _published(provider: str, model: str, input_tokens: int | None) -> Price | None:
    if provider not in _PUBLISHED:
        return None
    hour = int(time.time() // _LOOK_UP_SECONDS)
    read_steps, written_steps = _looked_up(provider, model.removeprefix("models/"), hour)
    read = _per_million(read_steps, input_tokens)
    written = _per_million(written_steps, input_tokens)
    if read is None or written is None:
        return None
    return Price(input_usd_per_million=read, output_usd_per_million=written)


@functools.lru_cache(maxsize=1024)
def _looked_up(provider: str, name: str, hour: int) -> tuple[_Steps, _Steps]:
    """Returns the steps of a model's prices in and out; kept, because a look-up takes 0.1 ms.

    Args:
        provider: Provider name.
        name: The provider's model id.
        hour: The hour that they are kept for: some prices change on a date.
    """
    try:
        import genai_prices
    except ImportError:
        # The table in `burnish.models` stands in.
        return [], []
    try:
        found = genai_prices.calc_price(genai_prices.Usage(), name, provider_id=provider)
    except LookupError:
        return [], []
    return _steps(found.model_price.input_mtok), _steps(found.model_price.output_mtok)


def _steps(price: object) -> _Steps:
    # The package has a plain number, or a base with steps by size of the prompt, or nothing.
    from genai_prices.types import TieredPrices

    if isinstance(price, TieredPrices):
        return [(0, price.base), *((tier.start, tier.price) for tier in price.tiers)]
    return [(0, price)] if isinstance(price, Decimal) else []


def _per_million(steps: _Steps, input_tokens: int | None) -> float | None:
    if not steps:
        return None
    if input_tokens is None:
        return float(max(price for _, price in steps))
    return float([price for start, price in steps if start == 0 or input_tokens > start][-1])

"""Remembers the prices of models that cost the same whatever the length of the prompt."""

from __future__ import annotations

from collections.abc import Callable

from burnish.api.types import v1 as types_v1

_MAX_MODELS = 1_000

Pricer = Callable[[types_v1.ModelSpec, int | None], types_v1.Price | None]


class PriceBook:
    """Asks for a price once, but for models whose price has steps, which are asked for each time.

    To look a price up costs some hundred times what a look into the book does.
    """

    def __init__(self, price_of: Pricer) -> None:
        """Takes what knows prices.

        Args:
            price_of: Price of a model for a prompt of so many tokens, None of them meaning the
                dearest step; None when unknown.
        """
        self._price_of = price_of
        self._flat: dict[tuple[str, str], types_v1.Price | None] = {}
        self._stepped: set[tuple[str, str]] = set()

    def of(self, provider: str, model: str, read: int) -> types_v1.Price | None:
        """Returns the price of a model for a prompt of so many tokens; None when unknown."""
        key = (provider, model)
        if key in self._flat:
            return self._flat[key]
        spec = types_v1.ModelSpec(provider=provider, model=model)
        if key in self._stepped:
            return self._price_of(spec, read)
        if len(self._flat) + len(self._stepped) >= _MAX_MODELS:
            self._flat.clear()
            self._stepped.clear()
        lowest = self._price_of(spec, 0)
        if lowest == self._price_of(spec, None):
            self._flat[key] = lowest
            return lowest
        self._stepped.add(key)
        return self._price_of(spec, read)

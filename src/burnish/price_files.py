"""Reads the operator's own prices: a TOML table a provider, in it one a model."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

from burnish.api.types.v1 import model_pb2
from burnish.errors import InvalidArgument
from burnish.models import bare_model

# Stands for every model of a provider that has no entry of its own.
WHOLE_PROVIDER = "*"
_FIELDS = {
    "input": "input_usd_per_million",
    "output": "output_usd_per_million",
    "cached_input": "cached_input_usd_per_million",
    "cache_write": "cache_write_usd_per_million",
    "reasoning": "reasoning_usd_per_million",
}
_REQUIRED = ("input", "output")

Overrides = Mapping[tuple[str, str], model_pb2.Price]


class PricesInvalid(InvalidArgument):
    """A file of prices that cannot be used. Mend the file, and start again."""

    default_reason = "PRICES_INVALID"


def key_of(provider: str, model: str) -> tuple[str, str]:
    """Returns what a model's price is filed under: case and a provider's prefix do not count."""
    return provider, bare_model(model)


def read_prices(path: str) -> Overrides:
    """Returns the prices in a file, by provider and model.

    Raises:
        PricesInvalid: The file cannot be read; or all that is wrong in it.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
        return parse_prices(text, name=path)
    except (OSError, UnicodeDecodeError) as error:
        raise PricesInvalid(
            f"the file of prices `{path}` cannot be read ({type(error).__name__}); check"
            " BURNISH_PRICES_FILE",
            metadata={"path": path},
        ) from None


def parse_prices(text: str, *, name: str) -> Overrides:
    """Returns the prices in a text, by provider and model.

    Args:
        text: TOML.
        name: What messages call it.

    Raises:
        PricesInvalid: All that is wrong in it.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PricesInvalid(f"{name}: no TOML: {error}", metadata={"path": name}) from None
    found: dict[tuple[str, str], model_pb2.Price] = {}
    problems: list[str] = []
    for provider, models in tables.items():
        if not isinstance(models, dict):
            problems.append(f'`{provider}` is no table; write [{provider}."model"] and its prices')
            continue
        for model, given in models.items():
            price = _price(f'{provider}."{model}"', given, problems)
            if price is not None:
                found[key_of(provider, model)] = price
    if problems:
        raise PricesInvalid(f"{name}: " + "; ".join(problems), metadata={"path": name})
    return found


def _price(place: str, given: object, problems: list[str]) -> model_pb2.Price | None:
    if not isinstance(given, dict):
        problems.append(f"`{place}` is no table; give it `input` and `output`")
        return None
    before = len(problems)
    for name in _REQUIRED:
        if name not in given:
            problems.append(f"`{place}` has no `{name}`; give US dollars per million tokens")
    price = model_pb2.Price()
    for name, value in given.items():
        if name not in _FIELDS:
            problems.append(f"`{place}.{name}` is unknown; use {', '.join(_FIELDS)}")
        elif not _is_money(value):
            problems.append(f"`{place}.{name}` is {value!r}; use a number of at least 0")
        else:
            setattr(price, _FIELDS[name], float(value))
    return price if len(problems) == before else None


def _is_money(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value >= 0

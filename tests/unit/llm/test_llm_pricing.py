"""Prices of models."""

import pytest

from burnish.api.types import v1 as types_v1
from burnish_runtime.llm.pricing import Price, listed_price, price_of


def test_a_stated_price_wins():
    stated = types_v1.Price(input_usd_per_million=1.0, output_usd_per_million=2.0)
    spec = types_v1.ModelSpec(provider="openai", model="gpt-4o", price=stated)
    assert price_of(spec) == Price(input_usd_per_million=1.0, output_usd_per_million=2.0)


def test_local_models_cost_nothing_and_say_so():
    spec = types_v1.ModelSpec(provider="local", model="local-proposer")
    assert price_of(spec) == Price(input_usd_per_million=0.0, output_usd_per_million=0.0)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o-mini"), ("groq", "openai/gpt-oss-120b"), ("google", "gemini-2.5-flash")],
)
def test_hosted_models_have_a_price(provider, model):
    price = listed_price(provider, model)
    assert price is not None
    assert 0 < price.input_usd_per_million < price.output_usd_per_million


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("openai_compatible", "gpt-4o"), ("some_plugin", "gpt-4o")],
)
def test_what_nobody_knows_has_no_price(provider, model):
    assert listed_price(provider, model) is None


def test_a_price_that_rises_with_the_prompt_is_the_dearest_until_the_size_is_known():
    dearest = listed_price("google", "gemini-2.5-pro")
    small = listed_price("google", "gemini-2.5-pro", input_tokens=1_000)
    large = listed_price("google", "gemini-2.5-pro", input_tokens=300_000)
    assert small is not None
    assert large is not None
    assert large == dearest
    assert small.input_usd_per_million < large.input_usd_per_million
    assert small.output_usd_per_million < large.output_usd_per_million


def test_cost_is_by_the_million():
    price = Price(input_usd_per_million=2.0, output_usd_per_million=10.0)
    assert price.cost(input_tokens=500_000, output_tokens=100_000) == pytest.approx(2.0)

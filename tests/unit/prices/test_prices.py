"""Prices of models: their sources in order, cached and reasoning tokens, and what nobody knows."""

import pytest

from burnish.api.types.v1 import model_pb2, rollout_pb2
from burnish.price_files import PricesInvalid, parse_prices, read_prices
from burnish.prices import PriceTable, cost, worst_cost

TABLE = PriceTable()
NOW = 1_770_000_000.0


def spec(provider, model, **price):
    made = model_pb2.ModelSpec(provider=provider, model=model)
    if price:
        made.price.CopyFrom(model_pb2.Price(**price))
    return made


def used(read=0, written=0, **more):
    return rollout_pb2.Usage(input_tokens=read, output_tokens=written, **more)


def own(text):
    return PriceTable(parse_prices(text, name="prices.toml"), wall_clock=lambda: NOW)


def test_a_stated_price_wins_over_every_table():
    table = own('[openai."gpt-4o"]\ninput = 5\noutput = 6')
    stated = spec("openai", "gpt-4o", input_usd_per_million=1.0, output_usd_per_million=2.0)
    assert table.price_of(stated) == stated.price


def test_local_models_cost_nothing_and_say_so():
    price = TABLE.price_of(spec("local", "local-proposer"))
    assert cost(price, used(1_000_000, 1_000_000)) == 0.0


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4o-mini"), ("groq", "openai/gpt-oss-120b"), ("google", "gemini-2.5-flash")],
)
def test_hosted_models_have_a_price_and_a_cheaper_one_for_what_is_cached(provider, model):
    price = TABLE.listed(provider, model)
    assert price is not None
    assert 0 < price.cached_input_usd_per_million < price.input_usd_per_million
    assert price.input_usd_per_million < price.output_usd_per_million


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("openai_compatible", "gpt-4o"), ("some_plugin", "gpt-4o")],
)
def test_what_nobody_knows_has_no_price_and_no_cost(provider, model):
    assert TABLE.listed(provider, model) is None
    assert cost(None, used(10, 10)) is None
    assert worst_cost(None, input_tokens=10, output_tokens=10) is None


def test_a_price_that_rises_with_the_prompt_is_the_dearest_until_the_size_is_known():
    dearest = TABLE.listed("google", "gemini-2.5-pro")
    small = TABLE.listed("google", "gemini-2.5-pro", 1_000)
    large = TABLE.listed("google", "gemini-2.5-pro", 300_000)
    assert small is not None
    assert large is not None
    assert large == dearest
    assert small.input_usd_per_million < large.input_usd_per_million
    assert small.cached_input_usd_per_million < large.cached_input_usd_per_million
    assert small.output_usd_per_million < large.output_usd_per_million


def test_cost_is_by_the_million():
    price = model_pb2.Price(input_usd_per_million=2.0, output_usd_per_million=10.0)
    assert cost(price, used(500_000, 100_000)) == pytest.approx(2.0)


FULL = model_pb2.Price(
    input_usd_per_million=2.0,
    output_usd_per_million=8.0,
    cached_input_usd_per_million=0.5,
    cache_write_usd_per_million=2.5,
    reasoning_usd_per_million=4.0,
)


def test_cached_written_and_reasoning_tokens_are_priced_apart():
    usage = used(
        1_000_000,
        1_000_000,
        cached_input_tokens=400_000,
        cache_write_tokens=200_000,
        reasoning_tokens=250_000,
    )
    wanted = 0.4 * 0.5 + 0.2 * 2.5 + 0.4 * 2.0 + 0.25 * 4.0 + 0.75 * 8.0
    assert cost(FULL, usage) == pytest.approx(wanted)


def test_without_rates_of_their_own_they_cost_what_other_tokens_do():
    plain = model_pb2.Price(input_usd_per_million=2.0, output_usd_per_million=8.0)
    usage = used(1_000_000, 1_000_000, cached_input_tokens=900_000, reasoning_tokens=900_000)
    assert cost(plain, usage) == pytest.approx(10.0)


def test_counts_that_cannot_be_never_make_a_cost_negative():
    usage = used(10, 10, cached_input_tokens=10**9, cache_write_tokens=10**9)
    usage.reasoning_tokens = 10**9
    assert cost(FULL, usage) == pytest.approx((10 * 0.5 + 10 * 4.0) / 1e6)


def test_the_worst_case_takes_the_dearest_rate_of_each_side():
    assert worst_cost(FULL, input_tokens=1_000_000, output_tokens=1_000_000) == pytest.approx(10.5)


def test_the_operators_prices_win_over_the_published_ones():
    table = own('[openai."gpt-4o"]\ninput = 5\noutput = 6.5\ncached_input = 0')
    price = table.listed("openai", "openai/GPT-4o")
    assert price is not None
    assert (price.input_usd_per_million, price.output_usd_per_million) == (5.0, 6.5)
    assert price.HasField("cached_input_usd_per_million")
    assert price.cached_input_usd_per_million == 0.0
    assert table.listed("openai", "gpt-4o-mini") == TABLE.listed("openai", "gpt-4o-mini")


def test_a_star_stands_for_the_models_of_a_provider_that_are_not_named():
    table = own(
        '[openai_compatible."*"]\ninput = 0\noutput = 0\n'
        '[openai_compatible."big"]\ninput = 1\noutput = 1'
    )
    assert cost(table.listed("openai_compatible", "any"), used(10**6, 0)) == 0.0
    assert cost(table.listed("openai_compatible", "big"), used(10**6, 0)) == 1.0
    assert table.listed("another", "any") is None


def test_every_fault_of_a_file_is_told_at_once():
    text = """
groq = 3
[openai]
half = { input = 1 }
odd = { input = 1, output = 2, outptu = 3 }
bad = { input = -1, output = true, reasoning = "x" }
flat = 4
"""
    with pytest.raises(PricesInvalid) as refused:
        parse_prices(text, name="prices.toml")
    message = refused.value.message
    for part in (
        "prices.toml", "`groq` is no table", '`openai."half"` has no `output`',
        '`openai."odd".outptu` is unknown', '`openai."bad".input` is -1',
        '`openai."bad".output` is True', "`openai.\"bad\".reasoning` is 'x'",
        '`openai."flat"` is no table',
    ):  # fmt: skip
        assert part in message


def test_a_file_that_is_no_toml_or_not_there_is_refused(tmp_path):
    with pytest.raises(PricesInvalid, match="no TOML"):
        parse_prices("[", name="prices.toml")
    with pytest.raises(PricesInvalid, match="BURNISH_PRICES_FILE"):
        read_prices(str(tmp_path / "none.toml"))


def test_the_environment_names_the_file(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[plug."m"]\ninput = 1\noutput = 2\n')
    table = PriceTable.from_environment({"BURNISH_PRICES_FILE": str(path)})
    assert table.listed("plug", "m") is not None
    assert PriceTable.from_environment({}).listed("plug", "m") is None

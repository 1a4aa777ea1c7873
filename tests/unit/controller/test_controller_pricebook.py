"""Prices are looked up once, and every time where they depend on the prompt's length."""

from burnish.api.types import v1 as types_v1
from burnish_controller.pricebook import PriceBook


class Prices:
    """A price table that counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, model, read):
        self.asked += 1
        if model.model == "unknown":
            return None
        dear = model.model == "stepped" and (read is None or read > 200_000)
        return types_v1.Price(input_usd_per_million=2.0 if dear else 1.0)


def dollars(book, model, read):
    price = book.of("openai", model, read)
    return None if price is None else price.input_usd_per_million


def test_a_flat_price_is_asked_for_once():
    prices = Prices()
    book = PriceBook(prices)
    assert [dollars(book, "flat", read) for read in (0, 10, 10**6)] == [1.0, 1.0, 1.0]
    assert prices.asked == 2


def test_a_price_with_steps_follows_the_prompt():
    book = PriceBook(Prices())
    assert [dollars(book, "stepped", read) for read in (10, 300_000, 10)] == [1.0, 2.0, 1.0]


def test_an_unknown_price_stays_unknown_and_is_not_asked_for_again():
    prices = Prices()
    book = PriceBook(prices)
    assert [dollars(book, "unknown", 5) for _ in range(3)] == [None, None, None]
    assert prices.asked == 2


def test_the_book_stays_small():
    prices = Prices()
    book = PriceBook(prices)
    for number in range(2_500):
        dollars(book, f"model-{number}", 1)
    assert len(book._flat) <= 1_000

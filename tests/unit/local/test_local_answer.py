"""Whether a prompt asks for a bare label."""

import pytest

from burnish.local.answer import asks_for_label


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Reply with only the label.", True),
        ("Answer with one of: refund, outage, moving.", True),
        ("Respond with exactly one of these intents.", True),
        ("Return the category name, nothing else.", True),
        ("You classify messages. Which one of these fits?", False),
        ("Answer the question. One of the customers is angry.", False),
        ("Classify the message into one of: refund, outage.", False),
    ],
)
def test_a_bare_label_is_given_where_it_is_asked_for(text, asks):
    assert asks_for_label(text) is asks

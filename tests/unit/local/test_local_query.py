"""The text to classify is found inside the many wrappings that task apps put around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.local.query import HOLE, split_query

TEXT = "my parcel: it never came, and\nnobody answers"
LINE = "I lost my parcel, what now?"
LIST = "Available Intents:\n1. parcel_late\n2. parcel_lost"

WRAPPED = [
    (LINE, LINE),
    (f"Customer Query: {LINE}", LINE),
    (f"Customer Query: {LINE}\n\n{LIST}\n\nClassify this query by calling the tool.", LINE),
    (f"{LIST}\n\nQuery: {LINE}", LINE),
    (f"{LIST}\n\nMessage:\n{LINE}\n\nLabel:", LINE),
    (f"Message: {TEXT}\n\n{LIST}", TEXT),
    (f"<message>{LINE}</message>\n{LIST}", LINE),
    (f"<customer_query>\n{TEXT}\n</customer_query>", TEXT),
    (f"Classify the following customer message: {LINE}", LINE),
    (f'Text: "{LINE}"\nIntent:', LINE),
    (f'Classify this message: "{LINE}"', LINE),
    (f"**Input:** {LINE}\n\nChoose one label.", LINE),
    (f"{LINE}\n\n{LIST}", LINE),
    (f"Classify the message into one of the labels.\n\n{LINE}", LINE),
    (f"Message: one\nLabel: parcel_late\n\nMessage: {LINE}\nLabel:", LINE),
    ("I got this message: your parcel is lost", "I got this message: your parcel is lost"),
    (TEXT, TEXT),
]


@pytest.mark.parametrize(("message", "query"), WRAPPED)
def test_query_is_found_in_its_wrapping(message, query):
    assert split_query(message).query == query


@pytest.mark.parametrize(("message", "query"), WRAPPED)
def test_what_surrounds_the_query_does_not_depend_on_it(message, query):
    other = message.replace(query, "Something else")
    assert split_query(message).rest == split_query(other).rest


@given(st.text(max_size=200))
def test_any_text_is_taken_apart_without_an_error(text):
    split = split_query(text)
    assert split.rest.count(HOLE) >= 1
    assert split.query in text


@given(st.text(alphabet="abc XYZ'?,", min_size=1, max_size=80).filter(lambda text: text.strip()))
def test_a_field_gives_back_any_line_of_text(line):
    message = f"Customer Query: {line.strip()}\n\n{LIST}"
    assert split_query(message).query == line.strip()

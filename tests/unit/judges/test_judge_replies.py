"""A judge's reply is read as it was asked for, or not at all."""

import contextlib
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_verifier.judges.replies import (
    ReplyInvalid,
    Step,
    comparison_schema,
    events_schema,
    read_comparison,
    read_events,
    read_review,
    read_review_with_quotes,
    read_step,
    review_schema,
    step_schema,
    unbounded,
)
from tests.unit.judges.judge_models import scores

GOOD = {"criteria": {"a": {"reason": "r", "score": 0.5}, "b": {"reason": "", "score": 1}}}


def test_a_reply_in_form_is_read():
    found = read_review(json.dumps(GOOD), ["a", "b"])
    assert {name: verdict.score for name, verdict in found.items()} == {"a": 0.5, "b": 1.0}
    assert found["a"].reason == "r"


def one(score: object) -> str:
    return json.dumps({"criteria": {"a": {"reason": "r", "score": score}}})


BAD = [
    ("", "not one JSON object"),
    ("score: 1.0", "not one JSON object"),
    ("```json\n" + one(1) + "\n```", "not one JSON object"),
    ("Here it is: " + one(1), "not one JSON object"),
    (one(1) + one(0), "not one JSON object"),
    (one(1)[:-2], "not one JSON object"),
    ("[" * 100_000, "not one JSON object"),
    ("[]", "an object is missing"),
    ("1.0", "an object is missing"),
    ('{"score": 1.0}', "1 of its keys are missing, and 1 were not asked for"),
    ('{"criteria": {}}', "1 of its keys are missing"),
    ('{"criteria": {"a": 1}}', "an object is missing"),
    (one(1.5), "no number from 0 to 1"),
    (one(-0.1), "no number from 0 to 1"),
    (one(True), "no number from 0 to 1"),
    (one("1.0"), "no number from 0 to 1"),
    (one(None), "no number from 0 to 1"),
    ('{"criteria": {"a": {"reason": "r", "score": NaN}}}', "NaN is no number"),
    ('{"criteria": {"a": {"reason": "r", "score": 1e999}}}', "no number from 0 to 1"),
    ('{"criteria": {"a": {"reason": 1, "score": 1}}}', "`reason` is no text"),
    ('{"criteria": {"a": {"reason": "r", "score": 0, "score": 1}}}', "a key twice"),
    ('{"criteria": {"a": {"reason": "r", "score": 0}}, "criteria": {}}', "a key twice"),
    ('{"criteria": {"a": {"reason": "r", "score": 0}, "b": {"reason": "", "score": 1}}}',
     "1 were not asked for"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BAD)
def test_a_reply_in_another_form_is_refused(text, told):
    with pytest.raises(ReplyInvalid, match=told):
        read_review(text, ["a"])


def test_what_is_told_of_a_bad_reply_holds_nothing_of_it():
    with pytest.raises(ReplyInvalid) as caught:
        read_review('{"secret-word": 1}', ["a"])
    assert "secret" not in str(caught.value)


def test_a_part_may_say_nothing_and_a_review_may_not():
    assert read_review(one(None), ["a"], may_pass=True)["a"].score is None
    with pytest.raises(ReplyInvalid):
        read_review(one(None), ["a"])


def test_quotes_are_read():
    value = {**GOOD, "evidence": [{"entry": 3, "text": "t", "shows": "s"}]}
    verdicts, quotes = read_review_with_quotes(json.dumps(value), ["a", "b"])
    assert verdicts["b"].score == 1.0
    assert [(quote.entry, quote.text, quote.shows) for quote in quotes] == [(3, "t", "s")]
    value["evidence"] = [{"entry": -1, "text": "t", "shows": "s"}]
    with pytest.raises(ReplyInvalid, match="`entry`"):
        read_review_with_quotes(json.dumps(value), ["a", "b"])


def test_events_are_read_for_exactly_the_numbers_asked():
    value = {"events": {"4": GOOD["criteria"], "7": GOOD["criteria"]}}
    assert list(read_events(json.dumps(value), ["a", "b"], [4, 7])) == [4, 7]
    with pytest.raises(ReplyInvalid, match="1 of its keys are missing"):
        read_events(json.dumps(value), ["a", "b"], [4, 7, 8])


def test_a_comparison_has_three_answers_and_no_fourth():
    text = '{"criteria": {"a": {"reason": "r", "better": "%s"}}}'
    assert read_comparison(text % "equal", ["a"]) == {"a": ("equal", "r")}
    with pytest.raises(ReplyInvalid, match="`better`"):
        read_comparison(text % "the first", ["a"])


def test_a_step_is_read():
    text = '{"step": "read", "entry": 2, "start": 10, "text": ""}'
    assert read_step(text) == Step(kind="read", entry=2, start=10)
    for bad in ("submit", "READ"):
        with pytest.raises(ReplyInvalid, match="`step`"):
            read_step(text.replace("read", bad))


SCHEMAS = [
    (review_schema(["a", "b"]), lambda text: read_review(text, ["a", "b"])),
    (review_schema(["a"], may_pass=True), lambda text: read_review(text, ["a"], may_pass=True)),
    (review_schema(["a"], quotes=True), lambda text: read_review_with_quotes(text, ["a"])),
    (events_schema(["a"], [0, 3]), lambda text: read_events(text, ["a"], [0, 3])),
    (comparison_schema(["a"]), lambda text: read_comparison(text, ["a"])),
    (step_schema(), read_step),
]
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-2, 3)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["criteria", "a", "b", "score", "reason", "events", "0", "3", "step",
                         "entry", "start", "text", "better", "evidence"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("place", range(len(SCHEMAS)))
@given(value=values)
def test_the_reader_takes_nothing_that_the_schema_refuses(place, value):
    schema, read = SCHEMAS[place]
    try:
        read(json.dumps(value))
    except ReplyInvalid:
        return
    jsonschema.validate(value, schema)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ReplyInvalid):
        read_review(text, ["a"])


def test_bounds_are_left_out_and_nothing_else_even_of_criteria_of_that_name():
    schema = review_schema(["minimum", "a"], quotes=True)
    loose = unbounded(schema)
    jsonschema.validate({**scores(minimum=7.0, a=-1.0), "evidence": []}, loose)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**scores(a=1.0), "evidence": []}, loose)
    assert schema == review_schema(["minimum", "a"], quotes=True)


def test_schemas_are_closed_all_the_way_down():
    waiting: list[object] = [schema for schema, _ in SCHEMAS]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("type") == "object":
                assert value["additionalProperties"] is False
                assert sorted(value["required"]) == sorted(value["properties"])
            waiting += list(value.values())
        elif isinstance(value, list):
            waiting += value

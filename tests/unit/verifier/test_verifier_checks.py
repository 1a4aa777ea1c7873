"""The built-in checks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_verifier.checks.base import CannotJudge, CheckKind, Settings, Subject
from burnish_verifier.checks.registry import CheckNameTaken, built_in, with_plugins

KINDS = {name: kind for name, kind in built_in().items() if isinstance(kind, CheckKind)}


def score(name: str, output: Any, wanted: Any = None, **settings: Any) -> float:
    read = Settings(settings)
    check = KINDS[name].build(read)
    assert read.finish() == []
    return check.score(Subject(output=output, reference=wanted)).score


def problems(name: str, **settings: Any) -> str:
    read = Settings(settings)
    KINDS[name].build(read)
    return "; ".join(read.finish())


def test_the_checks_of_the_contract_are_built_in():
    assert set(built_in()) == {
        "exact_match",
        "normalized_match",
        "contains",
        "regex",
        "numeric",
        "json_schema",
        "f1",
        "sql_result",
        "python_tests",
    }


@pytest.mark.parametrize(
    ("name", "output", "wanted", "settings", "wanted_score"),
    [
        ("exact_match", "a", "a", {}, 1),
        ("exact_match", "a ", "a", {}, 0),
        ("exact_match", "a ", "a", {"strip": True}, 1),
        ("exact_match", "A", "a", {}, 0),
        ("exact_match", 1, 1.0, {}, 1),
        ("exact_match", True, 1, {}, 0),
        ("exact_match", {"b": 1, "a": 2}, {"a": 2, "b": 1}, {}, 1),
        ("exact_match", None, "a", {}, 0),
        ("exact_match", {"answer": "a", "n": 1}, {"answer": "a"}, {}, 1),
        ("exact_match", {"x": [{"y": "a"}]}, "a", {"field": "x.0.y"}, 1),
        ("exact_match", "a", {"gold": "a"}, {"reference_field": "gold"}, 1),
        ("exact_match", "a", "b", {"expected": "a"}, 1),
        ("exact_match", "a", ["b", "a"], {"any_of": True}, 1),
        ("exact_match", "c", ["b", "a"], {"any_of": True}, 0),
        ("normalized_match", " Lost_Card! ", "lost card", {}, 1),
        ("normalized_match", "ﬁne", "FINE", {}, 1),
        ("normalized_match", "the card", "card", {}, 0),
        ("normalized_match", "the card", "card", {"ignore_articles": True}, 1),
        ("normalized_match", "a.b", "ab", {"ignore_punctuation": False}, 0),
        ("normalized_match", None, "", {}, 0),
        ("contains", "the Lost card", "lost", {}, 1),
        ("contains", "the Lost card", "lost", {"case_sensitive": True}, 0),
        ("contains", "a b", ["a", "c"], {}, 0.5),
        ("contains", "a b", ["a", "c"], {"mode": "any"}, 1),
        ("contains", None, "a", {}, 0),
        ("regex", "call 555", None, {"pattern": r"\d+"}, 1),
        ("regex", "call 555", None, {"pattern": r"\d+", "full": True}, 0),
        ("regex", "CALL", None, {"pattern": "call", "ignore_case": True}, 1),
        ("regex", "answer: yes", "yes", {"pattern": r"answer: (\w+)", "group": 1}, 1),
        ("regex", "answer: no", "yes", {"pattern": r"answer: (?P<a>\w+)", "group": "a"}, 0),
        ("regex", "", "yes", {"pattern": "(x)?", "group": 1}, 0),
        ("regex", None, None, {"pattern": "x"}, 0),
        ("numeric", "42", 42, {}, 1),
        ("numeric", "1,234.50", 1234.5, {}, 1),
        ("numeric", "$5", 5, {}, 1),
        ("numeric", "50%", 50, {}, 1),
        ("numeric", "it is 42.", 42, {}, 0),
        ("numeric", "2 + 40 is 42.", 42, {"extract": "last"}, 1),
        ("numeric", "2 + 40 is 42.", 2, {"extract": "first"}, 1),
        ("numeric", "-1.5e3", -1500, {}, 1),
        ("numeric", 3.14, 3.14159, {"absolute_tolerance": 0.01}, 1),
        ("numeric", 99, 100, {"relative_tolerance": 0.02}, 1),
        ("numeric", 99, 100, {}, 0),
        ("numeric", "none", 100, {}, 0),
        ("numeric", True, 1, {}, 0),
        ("numeric", "9" * 400, 1, {}, 0),
        ("json_schema", '{"a": 1}', None, {"schema": {"required": ["a"]}}, 1),
        ("json_schema", "nope", None, {"schema": {"required": ["a"]}}, 0),
        ("json_schema", "nope", None, {"schema": {"type": "string"}, "parse_text": False}, 1),
        ("json_schema", {"a": "x"}, None, {"schema": {"properties": {"a": {"type": "null"}}}}, 0),
        (
            "json_schema",
            [1],
            None,
            {"schema": {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}},
            1,
        ),
        ("f1", "red car", "red car", {}, 1),
        ("f1", "red car", "car", {}, 2 / 3),
        ("f1", "", "car", {}, 0),
        ("f1", None, "car", {}, 0),
        ("f1", ["a", "b"], ["b", "c"], {}, 0.5),
        ("f1", "red", ["blue", "red"], {"any_of": True}, 1),
    ],
)  # fmt: skip
def test_a_check_scores(name, output, wanted, settings, wanted_score):
    assert score(name, output, wanted, **settings) == pytest.approx(wanted_score)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("exact_match", {"feild": "x"}, "did you mean `field`"),
        ("exact_match", {"strip": 1, "field": 2}, "`field` is int; give a text"),
        ("exact_match", {"any_of": True, "expected": "x"}, "give a list"),
        ("contains", {"mode": "some"}, "give one of all, any"),
        ("contains", {"expected": ""}, "is empty"),
        ("contains", {"any_of": True}, "set `mode` to any"),
        ("regex", {}, "`pattern` is missing"),
        ("regex", {"pattern": "("}, "no regular expression"),
        ("regex", {"pattern": "x" * 2000}, "shorten it"),
        ("regex", {"pattern": "x", "group": 1}, "not in the pattern"),
        ("regex", {"pattern": "x", "group": [1]}, "neither a name"),
        ("numeric", {"absolute_tolerance": -1}, "finite number from 0"),
        ("numeric", {"relative_tolerance": True}, "finite number from 0"),
        ("numeric", {"relative_tolerance": "x"}, "give a number"),
        ("json_schema", {}, "`schema` is missing"),
        ("json_schema", {"schema": {"type": "nope"}}, "no JSON Schema"),
        ("json_schema", {"schema": {"$ref": "http://h/s.json"}}, "http://h/s.json"),
    ],
)
def test_settings_that_make_no_sense_are_named(name, settings, words):
    assert words in problems(name, **settings)


def test_every_problem_of_the_settings_is_named_at_once():
    told = problems("exact_match", strip="yes", feild="x", any_of=3)
    assert all(f"`{name}`" in told for name in ("strip", "feild", "any_of"))


@pytest.mark.parametrize(
    ("subject", "settings", "reason"),
    [
        (Subject(has_output=False, reference="a"), {}, "OUTPUT_MISSING"),
        (Subject(output="a", has_reference=False), {}, "REFERENCE_MISSING"),
        (Subject(output={"b": 1}, reference="a"), {"field": "a"}, "FIELD_MISSING"),
        (Subject(output=[1], reference="a"), {"field": "1"}, "FIELD_MISSING"),
        (Subject(output="a", reference="a"), {"reference_field": "x"}, "FIELD_MISSING"),
        (Subject(output="a", reference="a"), {"any_of": True}, "REFERENCE_INVALID"),
    ],
)
def test_nothing_to_judge_by_is_no_score(subject, settings, reason):
    check = KINDS["exact_match"].build(Settings(settings))
    with pytest.raises(CannotJudge) as caught:
        check.score(subject)
    assert caught.value.reason == reason


def test_a_reference_that_is_no_number_is_not_the_models_fault():
    with pytest.raises(CannotJudge):
        score("numeric", "3", "three")


TEXTS = st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("wanted", ["", None, [], ["a", ""]])
def test_containing_nothing_is_no_question(wanted):
    with pytest.raises(CannotJudge):
        score("contains", "abc", wanted)


@pytest.mark.parametrize("name", ["exact_match", "normalized_match", "contains", "f1"])
@given(output=VALUES, wanted=VALUES)
def test_any_pair_of_values_gets_a_score_in_the_unit_interval(name, output, wanted):
    read = json.loads(json.dumps([output, wanted]))
    check = KINDS[name].build(Settings({}))
    try:
        verdict = check.score(Subject(output=read[0], reference=read[1]))
    except CannotJudge:
        assert name == "contains"
        return
    assert 0 <= verdict.score <= 1
    assert "\n" not in verdict.feedback
    assert bool(verdict.feedback) == (verdict.score < 1)


@given(TEXTS)
def test_a_text_matches_itself(text):
    assert score("exact_match", text, text) == 1
    assert score("f1", text, text) == 1
    assert score("normalized_match", text, text.upper().lower()) in (0, 1)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_from_its_text(number):
    assert score("numeric", repr(number), number) == 1
    assert score("numeric", f"so it is {number!r}", number, extract="last") == 1


def test_a_plug_in_check_is_offered_beside_the_built_in_ones():
    mine = CheckKind(name="mine", build=KINDS["f1"].build)
    assert with_plugins({"mine": mine})["mine"] is mine


def test_a_plug_in_may_not_take_a_built_in_name():
    with pytest.raises(CheckNameTaken, match="f1"):
        with_plugins({"f1": KINDS["f1"]})

"""Patterns with wildcards: the grammar, binding and rendering."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import templates
from burnish.templates import Wildcard

NAMES = st.sampled_from(["query", "context", "labels", "a_b"])
# Literals and values over disjoint alphabets, so that what stands for what is never in doubt.
LITERALS = st.text(alphabet="ABC:{}\n#", min_size=1, max_size=8)
VALUES = st.text(alphabet="xyz 01é", max_size=8)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Query: {query}", ("Query: ", Wildcard("query"))),
        ("{{literal}} {x}", ("{literal} ", Wildcard("x"))),
        ('{"a": {"b": 1}}', ('{"a": {"b": 1}}',)),
        ('{"q": "{query}"}', ('{"q": "', Wildcard("query"), '"}')),
        ("{}", ("{}",)),
        ("", ()),
        ("{a}{{{b}}}", (Wildcard("a"), "{", Wildcard("b"), "}")),
    ],
)
def test_the_grammar(text, parts):
    assert templates.parse(text).parts == parts


def test_names_that_are_not_wildcards_of_the_stage_are_literal():
    parsed = templates.parse("Answer {query} as {format}", names={"query"})
    assert parsed.render({"query": "q"}) == "Answer q as {format}"


@given(st.lists(st.tuples(LITERALS, NAMES), min_size=1, max_size=4), LITERALS, st.data())
def test_what_was_rendered_binds_to_the_same_values(pairs, tail, data):
    used = {name: data.draw(VALUES) for _, name in pairs}
    text = "".join(templates.escape(literal) + "{" + name + "}" for literal, name in pairs)
    pattern = templates.parse(text + templates.escape(tail))
    rendered = pattern.render(used)
    bound = templates.bind(pattern, rendered)
    assert bound is not None
    assert pattern.render(bound) == rendered
    assert bound == used


def as_expression(pattern):
    return "".join(
        f"(?P<{part.name}>.*?)" if isinstance(part, Wildcard) else re.escape(part)
        for part in pattern.parts
    )


@given(
    st.lists(st.text(alphabet="ab\n ", min_size=1, max_size=3), max_size=4),
    st.booleans(),
    st.text(alphabet="ab\n ", max_size=14),
)
def test_binding_agrees_with_regular_expressions(literals, opens, text):
    holes = [Wildcard(name) for name in ("p", "q", "r", "s")]
    parts = [one for pair in zip(literals, holes, strict=False) for one in pair]
    pattern = templates.Pattern(tuple(parts[1:] if opens else parts))
    bound = templates.bind(pattern, text)
    exact = re.fullmatch(as_expression(pattern), text, re.DOTALL)
    if exact is not None:
        assert bound == exact.groupdict()
    elif bound is not None:
        assert pattern.render(bound).strip() == text.strip()


def test_a_hostile_text_is_read_once():
    pattern = templates.parse("a".join(f"{{w{i}}}" for i in range(200)))
    bound = templates.bind(pattern, "a" * 1_000_000)
    assert bound is not None
    assert len(bound["w199"]) == 1_000_000 - 199
    assert templates.bind(templates.parse("x{a}y{b}z" * 50), "xy" * 500_000) is None


@given(st.text(max_size=60))
def test_an_escaped_text_stands_for_itself(text):
    pattern = templates.parse(templates.escape(text))
    assert pattern.render({}) == text
    assert templates.bind(pattern, text) == {}


@given(st.text(max_size=60), st.text(max_size=60))
def test_binding_never_breaks_on_any_text(pattern, text):
    parsed = templates.parse(pattern)
    bound = templates.bind(parsed, text)
    if bound is not None:
        assert parsed.render(bound).strip() == text.strip()


@pytest.mark.parametrize(
    ("pattern", "text", "bound"),
    [
        ("Query: {query}", "Query: where {is} {{my}} card", {"query": "where {is} {{my}} card"}),
        ("Query: {query}", "Question: where", None),
        ("Query: {query}\n", "Query: where", {"query": "where"}),
        ("{a} and {b}", "x and y and z", {"a": "x", "b": "y and z"}),
        ("[{a}]", "[x] ]", {"a": "x] "}),
        ("[{a}]", "[", None),
        ("{a}-{a}", "x-x", {"a": "x"}),
        ("{a}-{a}", "x-y", None),
        ("{a}{b}", "xy", None),
        ("abab{a}ab", "abab", None),
    ],
)
def test_binding_is_by_literals_and_anchored(pattern, text, bound):
    assert templates.bind(templates.parse(pattern), text) == bound


def test_a_line_of_optional_wildcards_may_be_missing():
    pattern = templates.parse("Query: {query}\nContext: {context}\nEnd")
    assert templates.bind(pattern, "Query: x\nEnd", optional={"context"}) == {
        "query": "x",
        "context": "",
    }
    assert templates.bind(pattern, "Query: x\nEnd") is None
    assert templates.bind(pattern, "Context: x\nEnd", optional={"context"}) is None


def test_only_lines_with_a_bound_wildcard_are_kept():
    pattern = templates.parse("Labels:\n- a\n- b\n\nQuery: {query}\nLang: {lang}\nAnswer:")
    kept = templates.lines_with(pattern, {"query"})
    assert kept.render({"query": "two\nlines"}) == "Query: two\nlines"

"""Calls that repeat an earlier one leave exactly as they would have if they had been parsed."""

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_interceptor.dialects import PARSERS, Forced
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.prompts.edit import NO_EDIT, PromptEdit
from burnish_interceptor.repeats import Repeats
from burnish_interceptor.routes import Tail

PARSE = PARSERS[Tail.CHAT]
FORCED = Forced(model=Model(provider="openai", name="gpt-x", temperature=0.0))
DEMO = b'{"role":"user","content":"an example"}'
EDITS = [
    NO_EDIT,
    PromptEdit(system="Name the intent."),
    PromptEdit(system='Say "it" \\ twice.', demos=(DEMO, DEMO), demos_before=1),
]
TEXTS = st.text(max_size=60) | st.sampled_from(
    ['"', "\\", "\\u0000", "\n\t", "é\u2028😀", '","role":"system', "]}", "  ", "x" * 4000]
)
# What the form is tried out with must not be taken for what it stands for.
MARK = "What the user says stands here, and nowhere else in this request."


def body(text: str, *, ascii_only: bool = True, **more: Any) -> bytes:
    messages = [
        {"role": "system", "content": "You are a clerk."},
        {"role": "user", "content": text},
    ]
    data = {"model": "m", "messages": messages, "seed": 12345678901234567890123, **more}
    return json.dumps(data, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def plainly(data: bytes, edit: Any) -> bytes:
    return PARSE(data).rewritten(edit, FORCED).body


def through(repeats: Repeats, data: bytes, edit: Any) -> bytes | None:
    """Returns what leaves by way of a form, or None when the body has to be parsed."""
    found = repeats.find(data)
    if found is None:
        repeats.missed(PARSE(data))
        return None
    form, raw, text = found
    assert list(PARSE(data).messages) == form.messages(text)
    around = repeats.around(form, edit, FORCED)
    return None if around is None else b"".join((around[0], raw, around[1]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.booleans()), min_size=3, max_size=8), st.sampled_from(EDITS))
def test_a_repeated_call_leaves_as_a_parsed_one_does(calls, edit):
    repeats = Repeats(PARSE)
    for text, ascii_only in calls:
        try:
            data = body(text, ascii_only=ascii_only)
            wanted = plainly(data, edit)
        except Exception:
            return  # Text that is no UTF-8: refused on either way.
        left = through(repeats, data, edit)
        assert left is None or left == wanted


def test_the_short_way_is_taken_from_the_third_like_call_on():
    repeats = Repeats(PARSE)
    taken = [through(repeats, body(f"query {i}"), EDITS[2]) is not None for i in range(6)]
    assert taken == [False, False, True, True, True, True]


def test_calls_of_other_settings_or_prompts_have_forms_of_their_own():
    repeats = Repeats(PARSE)
    kinds: list[dict[str, Any]] = [{}, {"temperature": 0.5}, {"stream": True}, {"n": 2}]
    for round_ in range(12):
        for kind in kinds:
            data = body(f"query {round_}", **kind)
            left = through(repeats, data, EDITS[1])
            assert left is None or left == plainly(data, EDITS[1])
            if left is not None:
                found = repeats.find(data)
                assert found is not None
                assert found[0].request.stream == bool(kind.get("stream"))
    assert all(repeats.find(body("one more", **kind)) is not None for kind in kinds)


def test_a_string_that_is_more_than_the_text_is_never_put_in():
    repeats = Repeats(PARSE)
    for i in range(3):
        through(repeats, body(f"query {i}"), EDITS[1])
    plain = body("TEXT")
    two = b'"a"}, {"role":"user","content":"b"'
    for trick in (two, b'"a","role":"system"', b"1", b"null", b"[]", b'"a', b'a"', b'"\xff"',
                  b'"\\x"', b'"a" "b"', b""):  # fmt: skip
        assert repeats.find(plain.replace(b'"TEXT"', trick)) is None


def test_the_text_of_our_own_in_an_app_s_call_changes_nothing():
    repeats = Repeats(PARSE)
    for data in [body(MARK), body("a", user=MARK), body(MARK), body("b", user=MARK), body("c")] * 3:
        left = through(repeats, data, EDITS[1])
        assert left is None or left == plainly(data, EDITS[1])


def test_the_same_text_elsewhere_in_the_call_is_left_alone():
    repeats = Repeats(PARSE)
    for text in ["m", "user", "You are a clerk.", "x", "y", "z"] * 2:
        data = body(text, user=text)
        left = through(repeats, data, EDITS[1])
        assert left is None or left == plainly(data, EDITS[1])


def test_calls_that_never_repeat_are_tried_ever_more_seldom():
    repeats = Repeats(PARSE)
    tried = [repeats.missed(PARSE(body("x", user=str(i)))) is not None for i in range(200)]
    assert sum(tried) <= 8


def test_calls_without_a_user_s_text_have_no_form():
    repeats = Repeats(PARSE)
    for content in ([{"role": "system", "content": "a"}],
                    [{"role": "user", "content": [{"type": "text", "text": "a"}]}]):  # fmt: skip
        data = orjson.dumps({"model": "m", "messages": content})
        form = repeats.missed(PARSE(data))
        if form is not None:
            found = repeats.find(data.replace(b'"a"', b'"b"'))
            wanted = PARSE(data.replace(b'"a"', b'"b"')).messages
            assert found is None or list(wanted) == found[0].messages(found[2])


def test_what_is_kept_of_a_form_is_bounded():
    repeats = Repeats(PARSE)
    for number in range(3):
        assert repeats.missed(PARSE(body(f"query {number}", user="x" * 40_000))) is None
    assert Repeats(PARSE).missed(PARSE(body("x" * 100_000))) is not None
    assert Repeats(PARSE).missed(PARSE(body("x" * 400_000))) is None

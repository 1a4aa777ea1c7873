"""Recognising the stage of a call by its text."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import templates
from burnish_interceptor.policies.policy import MessagePattern, Mode, Model, Stage
from burnish_interceptor.prompts import overlap
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.match import How, Recogniser
from burnish_interceptor.prompts.overlap import MAX_TOKENS, PatternTokens

MODEL = Model(provider="openai", name="m")


def stage(stage_id, *messages, optional=()) -> Any:
    return Stage(
        stage_id=stage_id,
        messages=tuple(
            MessagePattern(role=role, pattern=templates.parse(text)) for role, text in messages
        ),
        optional=frozenset(optional),
        mode=Mode.SYSTEM,
        model=MODEL,
        optimised=True,
    )


def sent(*messages) -> Any:
    return [Message(role=role, text=text) for role, text in messages]


def recognised(stages, *messages) -> Any:
    return Recogniser().recognise(stages, sent(*messages))


CLASSIFY = stage(
    "classify",
    ("system", "Sort the letter of a reader into exactly one section of the paper."),
    ("user", "Letter: {letter}"),
)
ANSWER = stage(
    "answer",
    ("system", "Write a short, polite answer to the reader; use the section that was found."),
    ("user", "Letter: {letter}\nSection: {section}"),
)
CLASSIFY_TEXT = CLASSIFY.messages[0].pattern.render({})
ANSWER_TEXT = ANSWER.messages[0].pattern.render({})


def slow_length(a, b) -> Any:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if a[i] == b[j] else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


@given(
    st.lists(st.sampled_from("abcd"), max_size=14), st.lists(st.sampled_from("abcd"), max_size=14)
)
def test_the_common_subsequence_is_a_longest_one(a, b):
    pairs = overlap.common_subsequence(a, b)
    assert len(pairs) == slow_length(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(x[0] < y[0] and x[1] < y[1] for x, y in itertools.pairwise(pairs))


@pytest.mark.parametrize(
    ("messages", "expected", "how"),
    [
        ((CLASSIFY_TEXT, "Letter: where is it"), "classify", How.EXACT),
        ((ANSWER_TEXT, "Letter: where\nSection: city"), "answer", How.EXACT),
        ((CLASSIFY_TEXT.upper(), "LETTER: x"), "classify", How.NEAR),
        ((f"{CLASSIFY_TEXT} Today is Monday.", "Letter: x"), "classify", How.NEAR),
        (("Write a poem about the sea.", "Letter: where is it"), None, How.FOREIGN),
        ((CLASSIFY_TEXT, "Name a colour."), None, How.FOREIGN),
    ],
)
def test_the_stage_is_found_by_its_text(messages, expected, how):
    found = recognised([CLASSIFY, ANSWER], *zip(("system", "user"), messages, strict=True))
    assert (found.stage.stage_id if found.stage is not None else None, found.how) == (expected, how)


def test_an_exact_match_brings_the_values():
    found = recognised([CLASSIFY], ("system", CLASSIFY_TEXT), ("user", "Letter: {a} b"))
    assert found.bindings == {"letter": "{a} b"}


def test_a_lone_stage_has_to_be_recognised_too():
    foreign = recognised([CLASSIFY], ("system", "You only speak in rhymes."), ("user", "Hello"))
    assert (foreign.stage, foreign.how) == (None, How.FOREIGN)


def test_a_text_that_says_something_else_in_the_middle_is_not_taken_for_the_stage():
    other = CLASSIFY_TEXT.replace("exactly one section", "two keywords")
    found = recognised([CLASSIFY], ("system", other), ("user", "Letter: x"))
    assert found.stage is None
    assert found.ratio > 0.8


def test_sentences_in_another_order_are_the_same_text_but_words_are_not():
    text = "Answer the reader. Be brief and kind. Say from which section it comes."
    one = stage("s", ("system", text), ("user", "{letter}"))
    moved = "Be brief and kind.\nsay from which section it comes. Answer  the reader. Now!"
    found = recognised([one], ("system", moved), ("user", "x"))
    assert (found.stage, found.how) == (one, How.NEAR)
    swapped = text.replace("brief and kind", "kind and brief")
    changed = text.replace("kind", "rude")
    assert recognised([one], ("system", swapped), ("user", "x")).stage is None
    assert recognised([one], ("system", changed), ("user", "x")).stage is None


def test_what_a_wildcard_stands_for_does_not_count():
    noisy = [
        ("system", "Sort the letter of a reader into exactly one single section of the paper."),
        ("user", f"Letter: {'word ' * 500}"),
    ]
    assert recognised([CLASSIFY], *noisy).ratio > 0.9


def test_a_wildcard_in_the_system_text_may_be_long_even_when_the_text_was_changed():
    listed = stage("s", ("system", "Sort the letter. Sections: {sections} Answer with one."))
    names = ", ".join(f"section_{i}" for i in range(80))
    found = recognised([listed], ("system", f"sort the letter. Sections: {names} Answer with one."))
    assert (found.stage, found.ratio) == (listed, 1.0)


def test_developer_counts_as_system():
    found = recognised([CLASSIFY], ("developer", CLASSIFY_TEXT), ("user", "Letter: x"))
    assert found.stage is CLASSIFY


def test_turns_of_a_tool_loop_do_not_change_the_stage():
    found = recognised(
        [CLASSIFY, ANSWER], ("system", CLASSIFY_TEXT), ("user", "Letter: x"), ("assistant", ""),
        ("tool", "long result " * 50), ("assistant", "let me see"),
    )  # fmt: skip
    assert found.stage is CLASSIFY


def test_the_text_may_follow_turns_of_the_apps_own():
    found = recognised(
        [CLASSIFY], ("system", CLASSIFY_TEXT), ("user", "an example"), ("assistant", "a label"),
        ("user", "Letter: x"),
    )  # fmt: skip
    assert (found.stage, found.bindings) == (CLASSIFY, {"letter": "x"})


ALIKE = [
    stage("for", ("system", "You debate. Argue for the motion in eighty words."), ("user", "{m}")),
    stage("against", ("system", "You debate. Argue against the motion in eighty words."),
          ("user", "{m}")),
]  # fmt: skip


def test_stages_that_differ_by_a_word_are_told_apart_to_the_letter_and_nearly():
    for one in ALIKE:
        text = one.messages[0].pattern.render({})
        assert recognised(ALIKE, ("system", text), ("user", "x")).how is How.EXACT
        near = recognised(ALIKE, ("system", f"{text.lower()} Be fair."), ("user", "x"))
        assert (near.stage, near.how) == (one, How.NEAR)


def test_a_text_without_the_word_that_tells_stages_apart_is_of_neither():
    cut = [("system", "You debate. Argue the motion in eighty words."), ("user", "x")]
    found = recognised(ALIKE, *cut)
    assert (found.stage, found.how, found.tied) == (None, How.UNSURE, (0, 1))
    assert not found.twins


NESTED = [
    stage("write", ("system", "Write SQL."), ("user", "Question: {q}")),
    stage("repair", ("system", "Write SQL."), ("user", "Question: {q}\nThis failed: {query}")),
]


def test_of_stages_that_hold_one_another_the_narrowest_is_taken():
    assert recognised(NESTED, ("system", "Write SQL."), ("user", "Question: a")).stage is NESTED[0]
    narrow = recognised(NESTED, ("system", "Write SQL."), ("user", "Question: a\nThis failed: b"))
    assert (narrow.stage, narrow.bindings) == (NESTED[1], {"q": "a", "query": "b"})


def test_a_call_that_nearly_is_of_the_narrower_stage_is_not_taken_for_the_wider():
    found = recognised(NESTED, ("system", "Write SQL."), ("user", "Question: a\n\nThis failed:  b"))
    assert found.stage is NESTED[1]
    shouted = ("user", "QUESTION: A\nTHIS FAILED: B")
    for stages in (NESTED, NESTED[::-1]):
        found = recognised(stages, ("system", "WRITE SQL."), shouted)
        assert found.stage is not None
        assert found.stage.stage_id == "repair"
    text = "Question: does it say This failed anywhere"
    unsure = recognised(NESTED, ("system", "Write SQL."), ("user", text))
    assert (unsure.stage, unsure.how) == (None, How.UNSURE)


def test_a_call_to_the_letter_is_not_taken_for_a_narrower_stage_with_more_words():
    wide = stage("wide", ("system", "Sort it."), ("user", "Sort the {x} letter now"))
    narrow = stage("narrow", ("system", "Sort it."), ("user", "Sort the letter now"))
    call = [("system", "Sort it."), ("user", "Sort the old letter now")]
    assert recognised([wide, narrow], *call).stage in (None, wide)


def test_stages_of_equal_text_are_twins():
    twins = [stage(name, ("system", "Think."), ("user", "{x}")) for name in "ab"]
    found = recognised(twins, ("system", "Think."), ("user", "x"))
    assert (found.stage, found.twins, found.tied) == (None, True, (0, 1))
    near = recognised(twins, ("system", "THINK."), ("user", "x"))
    assert (near.stage, near.twins) == (None, True)


def test_a_stage_of_wildcards_alone_wants_the_system_messages_it_knows():
    open_stage = stage("s", ("user", "{x}"))
    assert recognised([open_stage], ("user", "anything")).stage is open_stage
    foreign = recognised([open_stage], ("system", "You are a pirate."), ("user", "anything"))
    assert foreign.stage is None


def test_a_stage_without_messages_is_never_found():
    assert recognised([stage("s")], ("user", "x")).stage is None


def test_scripts_without_spaces_are_compared_letter_by_letter():
    text = "投稿を最後まで読み、暴言が含まれているかどうかを判断してください。"
    one = stage("s", ("system", text), ("user", "投稿 {post}"))
    near = recognised([one], ("system", text + "今日は月曜日です。"), ("user", "投稿 x"))
    assert (near.stage, near.how) == (one, How.NEAR)


@given(st.integers(0, 2**32))
def test_any_call_can_be_recognised(seed):
    rng = random.Random(seed)
    words = ["Letter", ":", "sort", "{x}", "section", "é", "\n", "投", "稿"]
    messages = [
        (rng.choice(["system", "user", "assistant", "tool", "else"]),
         " ".join(rng.choice(words) for _ in range(rng.randrange(40))))
        for _ in range(rng.randrange(1, 5))
    ]  # fmt: skip
    found = recognised([CLASSIFY, ANSWER, *NESTED], *messages)
    assert 0.0 <= found.ratio <= 1.0
    assert (found.stage is not None) == (found.how in (How.EXACT, How.NEAR))


@given(st.text(max_size=300), st.text(max_size=300))
def test_an_overlap_never_counts_more_than_there_is(pattern, text):
    tokens = PatternTokens(templates.parse(pattern))
    found = tokens.overlap(text)
    assert 0 <= found.common <= min(found.wanted, found.given)
    assert found.replaced <= found.wanted - found.common
    assert 0.0 <= found.ratio <= 1.0


WORDS = st.lists(st.sampled_from(["sort", "the", "letter", "now", "briefly", "for"]), max_size=6)
SHAPES = st.lists(
    st.tuples(WORDS, st.sampled_from(["{a}", "", "{b} and {c}"]), WORDS), min_size=1, max_size=3
)


@given(st.lists(SHAPES, min_size=1, max_size=4), st.data())
def test_a_call_of_a_stage_is_never_taken_for_one_whose_patterns_it_does_not_follow(given_, data):
    stages = [
        stage(
            str(number),
            *(
                ("system" if place == 0 else "user", " ".join([*before, hole, *behind]))
                for place, (before, hole, behind) in enumerate(shapes)
            ),
        )
        for number, shapes in enumerate(given_)
    ]
    own = data.draw(st.sampled_from(stages))
    values = {name: data.draw(st.sampled_from(["x", "y z", ""])) for name in sorted(own.wildcards)}
    call = [Message(one.role, one.pattern.render(values)) for one in own.messages]
    found = Recogniser().recognise(stages, call)
    if found.how is How.EXACT:
        assert found.bindings is not None
        assert found.stage is not None
        for one, message in zip(found.stage.messages, call, strict=False):
            assert one.pattern.render(found.bindings).strip() == message.text.strip()
    elif found.stage is not None:
        assert found.stage is own


def test_only_the_ends_of_a_huge_text_are_compared():
    assert len(overlap.tokens_of("word " * 500_000).found) <= MAX_TOKENS
    long = stage("s", ("system", "Begin here. {doc} End there, and say what it was."))
    text = f"begin here. {'filler ' * 100_000} End there, and say what it was."
    assert recognised([long], ("system", text)).stage is long


HUGE = " ".join(f"w{i}" for i in range(5000))


def test_one_change_in_a_huge_text_leaves_it_the_stages():
    huge = stage("s", ("system", HUGE), ("user", "{q}"))
    inside = HUGE.replace("w2500 ", "w2500 today is Monday. ", 1)
    for changed in (inside, f"Hello. {HUGE}", f"{HUGE} Bye."):
        found = recognised([huge], ("system", changed), ("user", "q"))
        assert (found.stage, found.how) == (huge, How.NEAR)


def test_huge_texts_that_differ_throughout_are_not_taken_for_each_other():
    huge = stage("s", ("system", HUGE), ("user", "{q}"))
    other = HUGE.replace("w1", "x1")
    assert recognised([huge], ("system", other), ("user", "q")).stage is None


def test_what_is_not_read_of_a_huge_text_does_not_count_as_alike():
    short = stage("s", ("system", "Begin. End. Say what it was in ten words."), ("user", "{q}"))
    text = f"Begin. {HUGE} End. Say what it was in ten words."
    assert recognised([short], ("system", text), ("user", "q")).stage is None


def test_memories_are_bounded():
    recogniser = Recogniser()
    for number in range(1100):
        stages = [CLASSIFY, ANSWER]
        text = f"{CLASSIFY_TEXT} {number}"
        recogniser.recognise(stages, sent(("system", text), ("user", "Letter: x")))
    assert len(recogniser._plans) <= 1024
    for number in range(6000):
        recogniser._overlap(PatternTokens(templates.parse("a")), f"b{number}")
    assert len(recogniser._overlaps) <= 4096

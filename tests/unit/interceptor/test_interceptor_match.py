"""Recognising the stage of a call."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import templates
from burnish_interceptor.policies.policy import MessagePattern, Mode, Model, Stage
from burnish_interceptor.prompts import match
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.match import Recogniser
from burnish_interceptor.prompts.stages import CallSite, StageFinder

MODEL = Model(provider="openai", name="m")


def stage(stage_id, *messages) -> Any:
    return Stage(
        stage_id=stage_id,
        messages=tuple(
            MessagePattern(role=role, pattern=templates.parse(text)) for role, text in messages
        ),
        optional=frozenset(),
        mode=Mode.SYSTEM,
        model=MODEL,
        optimised=True,
    )


def sent(*messages) -> Any:
    return [Message(role=role, text=text) for role, text in messages]


CLASSIFY = stage(
    "classify",
    ("system", "Classify the query of a bank customer into exactly one intent."),
    ("user", "Query: {query}"),
)
ANSWER = stage(
    "answer",
    ("system", "Write a short, polite reply to the customer; use the intent that was found."),
    ("user", "Query: {query}\nIntent: {intent}"),
)


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
    pairs = match.common_subsequence(a, b)
    assert len(pairs) == slow_length(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(x[0] < y[0] and x[1] < y[1] for x, y in itertools.pairwise(pairs))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([CLASSIFY.messages[0].pattern.render({}), "Query: where is my card"], "classify"),
        ([ANSWER.messages[0].pattern.render({}), "Query: where\nIntent: card_arrival"], "answer"),
        (["classify the query of a bank customer into one intent!", "Query: x"], "classify"),
        (["Write a poem about the sea.", "Query: where is my card"], None),
    ],
)
def test_the_stage_with_the_most_in_common_is_found(messages, expected):
    ranking = Recogniser().rank(
        [CLASSIFY, ANSWER], sent(*zip(("system", "user"), messages, strict=True))
    )
    found = ranking.clear
    assert (found.stage_id if found is not None else None) == expected


def test_a_lone_stage_has_to_reach_the_ratio_too():
    foreign = sent(("system", "You are a pirate who only speaks in rhymes."), ("user", "Hello"))
    assert Recogniser().rank([CLASSIFY], foreign).clear is None


def test_what_a_wildcard_stands_for_does_not_count():
    long = "word " * 500
    noisy = sent(
        ("system", "Classify the query of a bank customer into exactly one single intent."),
        ("user", f"Query: {long}"),
    )
    assert Recogniser().rank([CLASSIFY], noisy).scores[0][0] > 0.9


def test_a_wildcard_in_the_system_text_may_be_long_even_when_the_text_was_changed():
    listed = stage("s", ("system", "Classify the query. Labels: {labels} Answer with one label."))
    labels = ", ".join(f"label_{i}" for i in range(80))
    text = f"Classify this query. Labels: {labels} Answer with one label."
    assert Recogniser().rank([listed], sent(("system", text))).scores[0][0] > 0.8


def test_developer_counts_as_system():
    text = CLASSIFY.messages[0].pattern.render({})
    assert Recogniser().rank([CLASSIFY], sent(("developer", text), ("user", "Query: x"))).clear


def test_turns_of_a_tool_loop_do_not_change_the_stage():
    text = CLASSIFY.messages[0].pattern.render({})
    loop = sent(
        ("system", text), ("user", "Query: x"), ("assistant", ""), ("tool", "long result " * 50),
        ("assistant", "let me see"),
    )  # fmt: skip
    assert Recogniser().rank([CLASSIFY, ANSWER], loop).clear is CLASSIFY


def test_the_text_may_follow_turns_of_the_apps_own():
    text = CLASSIFY.messages[0].pattern.render({})
    shots = sent(
        ("system", text), ("user", "an example"), ("assistant", "a label"), ("user", "Query: x")
    )
    assert Recogniser().rank([CLASSIFY], shots).scores[0][0] == 1.0


def site(body="b", *, retry=False, hint="", attempt=("roll", 1)) -> Any:
    return CallSite(attempt=attempt, body_hash=body, retry=retry, hint=hint)


TWINS = [stage("first", ("system", "Think hard.")), stage("second", ("system", "Think hard."))]
THINK = sent(("system", "Think hard."), ("user", "x"))


def test_equal_stages_take_turns_in_the_programs_order():
    finder = StageFinder()
    found = [finder.find(TWINS, THINK, site(str(i))) for i in range(3)]
    assert found == [*TWINS, None]
    assert finder.find(TWINS, THINK, site(attempt=("roll", 2))) is TWINS[0]


def test_a_repeated_call_keeps_its_turn_and_an_unseen_one_has_none():
    finder = StageFinder()
    assert finder.find(TWINS, THINK, site("a")) is TWINS[0]
    assert finder.find(TWINS, THINK, site("a", retry=True)) is TWINS[0]
    assert StageFinder().find(TWINS, THINK, site("a", retry=True)) is None


def test_the_hint_of_the_app_decides_between_equal_stages():
    assert StageFinder().find(TWINS, THINK, site(hint="second")) is TWINS[1]
    assert StageFinder().find(TWINS, THINK, site(hint="unknown")) is TWINS[0]


def test_the_hint_does_not_override_a_clear_text():
    text = CLASSIFY.messages[0].pattern.render({})
    messages = sent(("system", text), ("user", "Query: x"))
    assert StageFinder().find([CLASSIFY, ANSWER], messages, site(hint="answer")) is CLASSIFY


@given(st.integers(0, 2**32))
def test_any_text_can_be_ranked(seed):
    rng = random.Random(seed)
    words = ["Query", ":", "classify", "{x}", "intent", "é", "\n"]
    text = " ".join(rng.choice(words) for _ in range(rng.randrange(40)))
    for ratio, _ in Recogniser().rank([CLASSIFY, ANSWER], sent(("system", text))).scores:
        assert 0.0 <= ratio <= 1.0

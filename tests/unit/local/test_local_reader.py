"""The reader answers by the prompt's evidence alone: names, notes, examples and rules."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.local.demos import Turn
from burnish.local.prompt import Source, cut_query, read_prompt
from burnish.local.reader import LocalReader, Reading

LABELS = "Labels: alpha_one, beta_two, gamma_three. Reply with only the label."


def read(text, query, demos=()) -> Reading:
    turns = [Turn(role="system", text=text), *demos, Turn(role="user", text=query)]
    found, hollow = cut_query(turns)
    return LocalReader().read(b"", Source(turns=hollow), found)


def answer(text, query, demos=()) -> str:
    reading = read(text, query, demos)
    return reading.write(reading.pick(temperature=0.0, rng=random.Random(0)))


def demo(query, label, calls=()) -> list[Turn]:
    return [
        Turn(role="user", text=query),
        Turn(role="assistant", text=label, calls=calls),
    ]


WRITTEN = {
    "lines": "Message: the lid will not close\nLabel: beta_two\n\n"
    "Message: cold soup\nLabel: alpha_one",
    "questions": "Q: the lid will not close\nA: beta_two\n\nQ: cold soup\nA: alpha_one",
    "arrows": '"the lid will not close" -> beta_two\n"cold soup" -> alpha_one',
    "json": '{"input": "the lid will not close", "output": "beta_two"}\n'
    '{"input": "cold soup", "output": "alpha_one"}',
    "quotes beside the label": '- beta_two: "the lid will not close", "my lid is stuck again"\n'
    '- alpha_one: "the soup came cold", "no warm soup for us"',
    "notes": "- beta_two: a lid that does not close\n- alpha_one: cold soup",
    "prose": "Use beta_two when a lid does not close. Use alpha_one when soup is cold.",
    "condition first": "If the lid does not close, answer beta_two.\n"
    "If soup is cold, answer alpha_one.",
}


@pytest.mark.parametrize("form", WRITTEN)
def test_written_evidence_decides(form):
    text = f"{LABELS}\n\n{WRITTEN[form]}"
    assert answer(text, "my lid does not close") == "beta_two"
    assert answer(text, "the soup was cold") == "alpha_one"


def test_chat_demos_decide_and_tool_calls_count_as_answers():
    demos = [
        *demo("the lid will not close", "", calls=('{"intent": "beta_two"}',)),
        *demo("cold soup", "Alpha One"),
    ]
    assert answer(LABELS, "my lid does not close", demos) == "beta_two"
    assert answer(LABELS, "the soup was cold", demos) == "alpha_one"


def test_without_a_list_the_demos_answers_are_the_labels():
    demos = [*demo("the lid will not close", "lids"), *demo("cold soup", "soups")]
    reading = read("You sort messages.", "soup", demos)
    assert set(reading.labels) == {"lids", "soups"}
    assert answer("You sort messages.", "cold soup again", demos) == "soups"


def test_without_labels_and_demos_a_label_is_made_up_from_the_query():
    text = "Reply with only the label."
    assert answer(text, "The soup was cold today, sadly") == "soup_cold_today"


def test_contrast_rule_counts_only_against_the_label_that_would_win():
    base = "Labels:\n- lid_open: lid open\n- lid_stuck: lid jar\n- soup_cold: soup bowl\n"
    rule = 'If the message mentions "jar", choose `soup_cold` rather than `{}`.'
    query = "lid open jar"
    plain = dict(zip((r := read(base, query)).labels, r.logprobs, strict=True))
    against_winner = read(base + rule.format(r.labels[0]), query)
    against_loser = read(base + rule.format(r.labels[1]), query)
    ruled = dict(zip(against_winner.labels, against_winner.logprobs, strict=True))
    assert ruled["soup_cold"] - plain["soup_cold"] > 0.5
    assert dict(zip(against_loser.labels, against_loser.logprobs, strict=True)) == plain


def test_label_of_one_ordinary_word_is_not_seen_in_ordinary_prose():
    prompt = read_prompt(
        Source(turns=(Turn(role="system", text="Labels: food, other\nUse no other words."),))
    )
    assert len(prompt.evidence) == 2


def test_probabilities_sum_to_one_and_fall():
    reading = read(LABELS, "beta")
    assert sum(2.718281828459045**each for each in reading.logprobs) == pytest.approx(1.0)
    assert list(reading.logprobs) == sorted(reading.logprobs, reverse=True)


def test_higher_temperature_flattens_the_draws():
    reading = read(LABELS, "beta two things")
    shares = []
    for temperature in (0.3, 3.0):
        rng = random.Random(5)
        picks = [reading.pick(temperature=temperature, rng=rng) for _ in range(300)]
        shares.append(picks.count(0) / 300)
    assert shares[0] > shares[1] > 1 / 3


def test_prompts_are_kept_and_the_oldest_is_forgotten():
    reader = LocalReader(cached_prompts=1)
    source = Source(turns=(Turn(role="system", text=LABELS),))
    other = Source(turns=(Turn(role="system", text="Labels: x_one, y_two"),))
    assert reader.read(b"a", source, "beta").labels[0] == "beta_two"
    assert reader.read(b"a", other, "beta").labels[0] == "beta_two"
    reader.read(b"b", other, "x")
    assert reader.read(b"a", other, "x").labels[0] == "x_one"


@given(st.text(max_size=300), st.text(max_size=100))
def test_any_prompt_and_query_get_an_answer(text, query):
    reading = read(text, query)
    assert reading.labels
    assert reading.write(0)


REPEATED = [
    "for a, b ", "<a b ", "<message>", "<label>x", "a: ", "a_b, ", "query: x\n", '"a ', "[", '{"a',
    "- a_b\n", " ", "\n", "a", "use the ", "a_", "*", "abc -> ", "Message: a\nLabel: b\n", "\t ",
    "if x, use y ", '<a b="c" ', "one of a, ", "- ", "\n ", "a | b ", "'a", "aB",
]  # fmt: skip


@pytest.mark.parametrize("part", REPEATED)
@pytest.mark.timeout(60)
def test_repetitive_text_gets_an_answer_in_the_end(part):
    # A pattern that backtracks without bound never comes back from some of these.
    assert read(part * (20_000 // len(part)), part * (2_000 // len(part))).labels

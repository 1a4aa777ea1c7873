"""Reading of a meta-model's answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_proposer.parse import (
    EmptyAnswer,
    Parsed,
    Unparsable,
    parse_instruction,
    parse_summary,
)

WANTED = Parsed(instruction="Sort the mail.", rationale="Shorter.")
OBJECT = json.dumps({"instruction": "Sort the mail.", "rationale": "Shorter."})


@pytest.mark.parametrize(
    "answer",
    [
        OBJECT,
        f"  \n{OBJECT}\n",
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```",
        f"Here you are:\n\n```JSON\r\n{OBJECT}\n```\nGood luck!",
        f"Sure! {OBJECT} That should do.",
        f"<think>I could say {{this}} or that</think>{OBJECT}",
        f"[{OBJECT}]",
        json.dumps({"name": "propose", "arguments": OBJECT}),
        json.dumps({"name": "propose", "arguments": json.loads(OBJECT)}),
        json.dumps({"tool_calls": [{"function": {"name": "propose", "arguments": OBJECT}}]}),
        '{"instruction": ["Sort", "the mail."], "rationale": "Shorter."}',
    ],
)
def test_json_is_found_wherever_it_stands(answer):
    found = parse_instruction(answer)
    assert found.instruction.split() == WANTED.instruction.split()
    assert found.rationale == WANTED.rationale


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Sort the mail.", "Sort the mail."),
        ("Instruction: Sort the mail.", "Sort the mail."),
        ("**Proposed instruction:** Sort the mail.", "Sort the mail."),
        ("Given a mail: sort it.", "Given a mail: sort it."),
        ("I think:\n```\nSort the mail.\n```", "Sort the mail."),
        ("<instruction>\nSort the mail.\n</instruction> done", "Sort the mail."),
        ('Answer as {"label": "x"}.', 'Answer as {"label": "x"}.'),
        ("Use {query} well.", "Use {query} well."),
    ],
)
def test_plain_text_is_taken_as_the_instruction(answer, wanted):
    assert parse_instruction(answer).instruction == wanted


@pytest.mark.parametrize(
    "answer",
    ["", "  \n", '{"instruction": " "}', "<think>hm</think>", "<instruction></instruction>"],
)
def test_nothing_is_empty(answer):
    with pytest.raises(EmptyAnswer):
        parse_instruction(answer)


@pytest.mark.parametrize(
    "answer",
    [
        '{"instruction": "Sort the ma',
        '{"rationale": "none"}',
        "{}",
        "[]",
        "[" * 5_000,
        '{"a":' * 5_000,
        '```json\n{"other": 1}\n```',
    ],
)
def test_json_that_was_cut_or_holds_none_is_refused(answer):
    with pytest.raises(Unparsable):
        parse_instruction(answer)


def test_line_breaks_inside_json_strings_are_kept():
    assert parse_instruction('{"instruction": "a\nb"}').instruction == "a\nb"


def test_summary_says_whether_it_is_complete():
    assert parse_summary('{"summary": "Mails.", "complete": true}') == ("Mails.", True)
    assert parse_summary('```json\n{"summary": "Mails."}\n```') == ("Mails.", False)
    assert parse_summary("Mails.") == ("Mails.", False)


@given(st.text())
def test_any_text_gives_an_instruction_or_a_refusal(answer):
    try:
        found = parse_instruction(answer)
    except (EmptyAnswer, Unparsable):
        return
    assert found.instruction.strip()


_INSTRUCTIONS = st.text(min_size=1).filter(lambda text: text.strip() == text)


@given(instruction=_INSTRUCTIONS, rationale=st.text(), ascii_only=st.booleans())
def test_what_was_asked_for_is_read_exactly(instruction, rationale, ascii_only):
    answer = json.dumps(
        {"instruction": instruction, "rationale": rationale}, ensure_ascii=ascii_only
    )
    assert parse_instruction(answer).instruction == instruction
    assert parse_instruction(f"Here it is.\n\n{answer}\n\nBye.").instruction == instruction


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text() | st.sampled_from(["arguments", "function"]), inner)
        ),
    )
)
def test_any_json_gives_an_instruction_or_a_refusal(value):
    try:
        found = parse_instruction(json.dumps(value))
    except (EmptyAnswer, Unparsable):
        return
    assert found.instruction.strip()

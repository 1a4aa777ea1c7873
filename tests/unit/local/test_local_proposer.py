"""The proposer writes from the meta-prompt alone, keeps what must be kept, and copies no row."""

import json

import pytest

from burnish.local.chat import BadChatRequest
from burnish.local.completion import count_tokens
from burnish.local.proposer import propose

INSTRUCTION = "Sort messages of a web shop. Labels: late, lost, broken. Reply with the label only."
ROWS = [
    (f"my {what} {text} {tail}", label)
    for label, text in (
        ("late", "is overdue since monday"),
        ("lost", "has vanished without a trace"),
        ("broken", "came with cracked glass"),
    )
    for what in ("parcel", "order", "package")
    for tail in ("and I am sad", "so please help", "what now")
]


def lines(records) -> str:
    return "\n".join(json.dumps(record) for record in records)


def meta(**blocks) -> str:
    blocks = {
        "current_instruction": INSTRUCTION,
        "examples": lines({"input": text, "output": label} for text, label in ROWS),
        **blocks,
    }
    return "\n\n".join(f"<{tag}>\n{text}\n</{tag}>" for tag, text in blocks.items() if text)


def ask(*, max_tokens=None, **blocks) -> dict[str, str]:
    answer: dict[str, str] = json.loads(propose(meta(**blocks), max_tokens=max_tokens))
    assert set(answer) == {"instruction", "rationale"}
    return answer


def test_candidate_keeps_the_instruction_and_adds_a_line_for_each_label():
    text = ask()["instruction"]
    assert text.startswith(INSTRUCTION)
    guide = {line.split(":")[0]: line for line in text.splitlines() if line.startswith("- ")}
    assert set(guide) == {"- late", "- lost", "- broken"}
    assert "overdue" in guide["- late"]
    assert "vanished" in guide["- lost"]
    assert "cracked" in guide["- broken"]


def test_rationale_says_who_wrote_it_and_from_what():
    rationale = ask()["rationale"]
    assert "not a language model" in rationale
    assert "27 labelled rows" in rationale


def test_same_meta_prompt_gives_the_same_candidate():
    assert ask(variant="3") == ask(variant="3")


def test_variants_differ():
    texts = {ask(variant=str(i))["instruction"] for i in range(20)}
    assert len(texts) == 20


def test_known_candidates_are_not_proposed_again():
    first = ask(variant="0")["instruction"]
    history = lines([{"instruction": first, "reward": 0.5, "n": 40}])
    assert ask(variant="0", history=history)["instruction"] != first


@pytest.mark.parametrize("variant", range(10))
def test_no_whole_row_is_copied_before_the_last_variants(variant):
    text = ask(variant=str(variant))["instruction"]
    assert not any(row in text for row, _ in ROWS)


def test_guides_do_not_pile_up():
    first = ask(variant="0")["instruction"]
    again = ask(variant="1", current_instruction=first)["instruction"]
    assert again.count("What the messages of each label") == 1


def test_confusions_become_rules_that_name_both_labels():
    failures = lines(
        {"input": text, "expected": label, "got": "lost"} for text, label in ROWS if label == "late"
    )
    texts = [ask(variant=str(i), failures=failures)["instruction"] for i in range(4)]
    rules = {line for text in texts for line in text.splitlines() if "- If the message" in line}
    (rule,) = rules
    assert "choose `late` rather than `lost`" in rule
    assert "overdue" in rule


def test_answers_in_the_wrong_form_add_a_rule_for_the_form():
    failures = lines(
        {"input": text, "expected": label, "got": f"It seems to be about {label}."}
        for text, label in ROWS[:8]
    )
    text = ask(current_instruction="Sort messages: late, lost, broken.", failures=failures)
    assert "only the label" in text["instruction"]


def test_query_inside_the_instruction_stays_last_and_placeholders_stay():
    current = "Sort the message into late, lost or broken.\n\nMessage: {query}"
    text = ask(current_instruction=current, placeholders='["query"]')["instruction"]
    assert text.endswith("Message: {query}")
    assert "overdue" in text


@pytest.mark.parametrize("limit", [60, 100, 150, 400])
def test_answer_fits_the_token_limit(limit):
    answer = propose(meta(), max_tokens=limit)
    assert count_tokens(answer) <= limit
    assert json.loads(answer)["instruction"].startswith(INSTRUCTION)


def test_outputs_in_json_are_read_as_their_label():
    examples = lines(
        {"input": text, "output": json.dumps({"intent": label})} for text, label in ROWS
    )
    assert "- late: " in ask(examples=examples)["instruction"]


def test_tasks_without_labels_get_advice_and_no_guide():
    examples = lines({"input": f"add {i} and {i * 7}", "output": str(i * 8)} for i in range(20))
    text = ask(current_instruction="Do the sum.", examples=examples)["instruction"]
    assert text.startswith("Do the sum.")
    assert "- " not in text
    assert len(text) < 150


def test_without_examples_something_new_is_still_proposed():
    texts = {ask(examples="", variant=str(i))["instruction"] for i in range(6)}
    assert len(texts) == 6


def test_summary_counts_what_is_there():
    answer = json.loads(propose(meta(task="summary", current_instruction=""), max_tokens=None))
    assert set(answer) == {"summary"}
    assert "27 examples" in answer["summary"]
    assert "3 different outputs" in answer["summary"]


def test_meta_prompt_without_an_instruction_is_refused():
    with pytest.raises(BadChatRequest, match="current_instruction"):
        propose(meta(current_instruction=""), max_tokens=None)

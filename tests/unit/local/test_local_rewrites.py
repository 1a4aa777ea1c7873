"""The local proposer repairs an instruction by what went wrong, and joins two into one."""

import json

import pytest

from burnish.local.chat import BadChatRequest
from burnish.local.completion import count_tokens
from burnish.local.notes import notes
from burnish.local.proposer import propose

PARENT = "Sort messages of a web shop. Labels: late, lost, broken. Reply with the label only."
ROWS = [
    (f"my {what} {text} {tail}", label)
    for label, text in (("late", "is overdue since monday"), ("lost", "has vanished"))
    for what in ("parcel", "order", "package")
    for tail in ("and I am sad", "so please help", "what now")
]
FAILURES = [
    {
        "input": f"my {what} has vanished since monday",
        "expected": "lost",
        "got": "late",
        "reward": 0.0,
        "feedback": "A parcel that nobody can find is lost, however late it is. Bad.",
    }
    for what in ("box", "letter")
]
GUIDES = (
    "Sort it.\n\nWhat the messages of each label tend to say:\n- late: overdue, monday",
    "Sort it.\n\nWhat the messages of each label tend to say:\n- late: delayed\n- lost: vanished",
)


def lines(records) -> str:
    return "\n".join(json.dumps(record) for record in records)


def ask(task: str, *, max_tokens=None, **blocks) -> dict[str, str]:
    blocks = {
        "task": task,
        "current_instruction": PARENT,
        "examples": lines({"input": text, "output": label} for text, label in ROWS),
        "failures": lines(FAILURES),
        **blocks,
    }
    text = "\n".join(f"<{tag}>\n{said}\n</{tag}>" for tag, said in blocks.items() if said)
    answer: dict[str, str] = json.loads(propose(text, max_tokens=max_tokens))
    return answer


def parents(*texts: str) -> str:
    return lines({"instruction": text, "reward": 0.5, "n": 10} for text in texts)


def test_a_repair_keeps_the_instruction_and_heeds_the_feedback():
    answer = ask("reflect", variant="0")
    assert answer["instruction"].startswith(PARENT)
    assert "A parcel that nobody can find is lost, however late it is." in answer["instruction"]
    assert "Bad." not in answer["instruction"]
    assert "choose `lost` rather than `late`" in answer["instruction"]
    assert "1 notes out of the feedback" in answer["rationale"]


def test_a_repair_leaves_the_guides_of_the_parent_in_place():
    text = ask("reflect", current_instruction=GUIDES[1])["instruction"]
    assert text.startswith(GUIDES[1])


UNSAID = lines({key: one[key] for key in ("input", "expected", "got")} for one in FAILURES)


def test_where_nothing_was_said_of_mistakes_the_guide_is_made_anew():
    text = ask("reflect", current_instruction=GUIDES[1], failures=UNSAID)["instruction"]
    assert text.count("What the messages of each label tend to say") == 1
    assert "delayed" not in text
    assert "overdue" in text
    assert "choose `lost` rather than `late`" in text


def test_every_repair_by_rows_alone_has_one_guide_at_most():
    for number in range(12):
        text = ask("reflect", current_instruction=GUIDES[1], failures=UNSAID, variant=str(number))[
            "instruction"
        ]
        assert text.count("What the messages of each label tend to say") == 1
        assert text.startswith("Sort it.")


def test_repairs_do_not_pile_up():
    once = ask("reflect")["instruction"]
    twice = ask("reflect", current_instruction=once, variant="1")["instruction"]
    assert twice.count("What went wrong before") == 1


def test_every_variant_is_another_repair():
    texts = [ask("reflect", variant=str(number))["instruction"] for number in range(12)]
    assert len(set(texts)) == 12


def test_what_is_to_be_avoided_is_not_written_again():
    first = ask("reflect")["instruction"]
    assert ask("reflect", avoid=lines([{"instruction": first}]))["instruction"] != first


def test_an_instruction_is_not_repaired_by_copying_rows():
    for number in range(8):
        text = ask("reflect", variant=str(number))["instruction"]
        assert not [row for row, _ in ROWS if row in text]
        assert "my box has vanished since monday" not in text


def test_a_merge_joins_the_lists_of_both():
    text = ask("merge", parents=parents(*GUIDES))["instruction"]
    assert text == (
        "Sort it.\n\nWhat the messages of each label tend to say:\n"
        "- late: overdue, monday, delayed\n- lost: vanished"
    )


def test_a_merge_takes_over_what_only_the_other_says():
    other = "Sort it.\n\nRead the whole message, then compare it with each label in turn."
    text = ask("merge", parents=parents(GUIDES[0], other))["instruction"]
    assert text.startswith("Sort it.\n\nWhat the messages")
    assert "compare it with each label in turn" in text
    assert text.count("Sort it.") == 1


def test_every_variant_is_another_merge_and_never_a_parent():
    texts = [
        ask("merge", variant=str(number), parents=parents(*GUIDES))["instruction"]
        for number in range(8)
    ]
    assert len(set(texts)) == 8
    assert not set(texts) & set(GUIDES)


def test_a_merge_fits_the_limit():
    long = [
        "Sort it.\n\nList:\n" + "\n".join(f"- l{n}: " + ", ".join(
            f"{word}{n}x{k}" for k in range(30)) for n in range(20))
        for word in ("one", "two")
    ]  # fmt: skip
    text = propose(
        f"<task>merge</task>\n<current_instruction>\nx\n</current_instruction>\n<parents>\n{parents(*long)}\n</parents>",
        max_tokens=4_000,
    )
    assert count_tokens(text) <= 4_000


@pytest.mark.parametrize("given", ["", parents("only one")])
def test_a_merge_without_two_parents_is_refused(given):
    with pytest.raises(BadChatRequest, match="two <parents>"):
        ask("merge", parents=given)


def test_notes_are_those_said_most_first_and_each_once():
    said = ["Count the days. The date was in the second line of it.", "the date was in the second "
            "line of it!", "No.", "word " * 40]  # fmt: skip
    assert notes(said) == ("The date was in the second line of it.",)

"""What the simulated judge answers to each task of a verifier, and that it says what it is."""

import json
from typing import Any

import pytest

from burnish.local.chat import BadChatRequest
from burnish.local.judge import judge


def block(name: str, *rows: object) -> str:
    return f"<{name}>\n" + "\n".join(json.dumps(row) for row in rows) + f"\n</{name}>"


def asked(task: str, criteria: dict[str, str], *more: str) -> dict[str, Any]:
    lines = [{"id": name, "description": text} for name, text in criteria.items()]
    text = "\n".join([f"<task>{task}</task>", block("criteria", *lines), *more])
    found: dict[str, Any] = json.loads(judge(text))
    return found


def test_a_review_reads_the_answer_and_the_reference_as_json():
    wanted = block("wanted", {"label": "card_arrival"})
    for answer, score in (("card_arrival", 1.0), ("lost_card", 0.0)):
        found = asked(
            "review", {"c": "Is exactly the reference"}, block("answer", {"answer": answer}), wanted
        )
        assert found["criteria"]["c"]["score"] == score
        assert found["criteria"]["c"]["reason"].startswith("(simulated) ")


def test_a_criterion_about_the_process_is_checked_on_the_trace():
    trace = block("trace", {"event": 0, "role": "user", "text": "look it up"})
    answer = block("answer", "done")
    both = asked(
        "review", {"how": 'The trace mentions "look"', "what": 'Mentions "look"'}, trace, answer
    )
    assert {name: one["score"] for name, one in both["criteria"].items()} == {"how": 1, "what": 0}


def test_examples_pull_a_guess_towards_what_they_deserved():
    answer = block("answer", "the parcel is late")
    guess = {"c": "Comforts the reader"}
    high, low = (
        asked("review", guess, answer, block("examples", {"trace": "a parcel, late",
              "outcome_reward": reward}))["criteria"]["c"]["score"]
        for reward in (1.0, 0.0)
    )  # fmt: skip
    plain = asked("review", guess, answer)["criteria"]["c"]["score"]
    assert low < plain < high


def test_a_part_that_says_nothing_is_passed_over():
    trace = block("trace", {"event": 0, "role": "user", "text": "weather report"})
    found = asked("part", {"c": 'Mentions "refund"'}, trace)["criteria"]["c"]
    assert found["score"] is None


def test_parts_are_put_together_by_what_decides():
    rows = [{"part": 1, "id": "c", "score": 0.0}, {"part": 2, "id": "c", "score": 1.0}]
    for text, score in (
        ('Mentions "refund"', 1.0),
        ('Never mentions "refund"', 0.0),
        ("Is polite", 0.5),
    ):
        found = asked("reduce", {"c": text}, block("findings", *rows))["criteria"]["c"]
        assert found["score"] == score


def test_events_are_scored_by_their_last_message():
    rows = [{"event": 4, "role": "user", "text": "x"}, {"event": 4, "role": "a", "text": "ok"}]
    found = asked("events", {"c": "Is a single word"}, block("events", *rows))
    assert found["events"]["4"]["c"]["score"] == 1.0


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [("a refund", "no", "first"), ("no", "a refund", "second"), ("no", "nothing", "equal")],
)
def test_the_better_of_two_is_named_whatever_comes_first(first, second, better):
    sides = block("first", {"answer": first}), block("second", {"answer": second})
    found = asked("compare", {"c": 'Mentions "refund"'}, *sides)["criteria"]["c"]
    assert found["better"] == better


def test_exploring_searches_each_term_once_and_then_answers():
    overview = block("overview", {"entries": 9})
    criteria = {"c": 'Mentions "refund" and "credit"'}
    read: list[object] = []
    steps = []
    for _ in range(3):
        step = asked("explore", criteria, overview, block("read", *read))
        steps.append((step["step"], step["text"]))
        read.append({"entry": 0, "for": step["text"], "text": "a hit"})
    assert steps == [("search", "refund"), ("search", "credit"), ("answer", "")]


def test_a_conclusion_quotes_what_was_read():
    read = block("read", {"entry": 5, "text": "we paid the refund today"})
    found = asked("conclude", {"c": 'The trace mentions "refund"'}, read)
    assert found["criteria"]["c"]["score"] == 1.0
    assert found["evidence"][0]["entry"] == 5
    assert found["evidence"][0]["text"] in "we paid the refund today"


@pytest.mark.parametrize("task", ["review", "reduce", "part", "events", "compare", "explore"])
def test_what_is_missing_is_named(task):
    with pytest.raises(BadChatRequest, match="the meta-prompt lacks <criteria> and <"):
        judge(f"<task>{task}</task>")

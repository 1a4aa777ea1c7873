"""The judge checks what can be seen, and says so where it only guesses."""

import json
from typing import Any

import pytest

from burnish.local.chat import BadChatRequest
from burnish.local.judge import judge


def verdict(criterion, output, reference=None) -> dict[str, Any]:
    lines = json.dumps({"id": "c", "description": criterion, "weight": 1.0})
    text = f"<criteria>\n{lines}\n</criteria>\n<output>\n{output}\n</output>"
    if reference is not None:
        text += f"\n<reference>\n{reference}\n</reference>"
    found: dict[str, Any] = json.loads(judge(text))["criteria"]["c"]
    assert set(found) == {"score", "reason"}
    assert 0.0 <= found["score"] <= 1.0
    return found


CHECKS = [
    ('Mentions "refund"', "You get a refund.", None, 1.0),
    ('Mentions "refund"', "You get nothing.", None, 0.0),
    ('Mentions "refund" and "week"', "A refund, soon.", None, 0.5),
    ('Mentions either "refund" or "credit"', "A credit.", None, 1.0),
    ('Does not mention "refund"', "You get a refund.", None, 0.0),
    ('Never says "sorry"', "All good.", None, 1.0),
    ("At most 3 words", "one two three", None, 1.0),
    ("At most 3 words", "one two three four", None, 0.0),
    ("Has fewer than 2 sentences", "One. Two.", None, 0.0),
    ("At least 5 characters", "abcde", None, 1.0),
    ("Is valid JSON", '{"a": 1}', None, 1.0),
    ("Is valid JSON", "{a: 1}", None, 0.0),
    ("Is a single word", "late", None, 1.0),
    ("Is a single word", "too late", None, 0.0),
    ("Is written in lower case", "late", None, 1.0),
    ("Is written in lower case", "Late", None, 0.0),
    ("Is not empty", "", None, 0.0),
    ("Is exactly the reference", "late", "late", 1.0),
    ("Is exactly the reference", "Late", "late", 0.0),
    ("Agrees with the expected answer", "a b", "a c", 0.5),
    ('At most 3 words, mentions "late"', "it is late today", None, 0.0),
]


@pytest.mark.parametrize(("criterion", "output", "reference", "score"), CHECKS)
def test_visible_criterion_is_checked(criterion, output, reference, score):
    assert verdict(criterion, output, reference)["score"] == score


def test_other_criteria_are_guessed_and_said_to_be():
    near = verdict("Explains how the router is restarted", "Restart the router like this")
    far = verdict("Explains how the router is restarted", "Buy more data")
    assert "guess" in near["reason"]
    assert 0.0 < far["score"] < near["score"] < 1.0


def test_every_criterion_gets_its_own_verdict():
    criteria = [{"id": f"c{i}", "description": f"At most {i} words"} for i in range(1, 4)]
    lines = "\n".join(json.dumps(each) for each in criteria)
    text = f"<criteria>\n{lines}\n</criteria>\n<output>two words</output>"
    scores = {key: each["score"] for key, each in json.loads(judge(text))["criteria"].items()}
    assert scores == {"c1": 0.0, "c2": 1.0, "c3": 1.0}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("<output>\nx\n</output>", "<criteria>"),
        ("<criteria>\n{}\n</criteria>", "<output>"),
        ("", "and"),
    ],
)
def test_missing_blocks_are_named(text, missing):
    with pytest.raises(BadChatRequest, match=missing):
        judge(text)

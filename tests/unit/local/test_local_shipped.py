"""The shipped support messages: of the promised shape, read by the prompt, and improvable by it."""

import json
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from burnish.datasets import load_rows
from burnish.local.demos import Turn
from burnish.local.prompt import Source, cut_query
from burnish.local.proposer import propose
from burnish.local.reader import LocalReader

DATA = Path(__file__).resolve().parents[3] / "examples" / "intents" / "data" / "support.jsonl"
ROWS = load_rows(DATA)
LABELS = sorted({row.label for row in ROWS})
TRAIN = [row for row in ROWS if row.split == "train"]
TEST = [row for row in ROWS if row.split == "test"]
HEAD = "You sort messages to a provider's support.\n\nIntents:\n"
LISTED = HEAD + "\n".join(f"- {name}" for name in LABELS)


def accuracy(system, demos=(), names=None) -> float:
    reader = LocalReader()
    right = 0
    for row in TEST:
        turns = [Turn(role="system", text=system), *demos, Turn(role="user", text=row.text)]
        query, hollow = cut_query(turns)
        label = names[row.label] if names else row.label
        right += reader.read(b"", Source(turns=hollow), query).labels[0] == label
    return right / len(TEST)


def proposed(variant, instruction=LISTED, rows=TRAIN) -> str:
    lines = [json.dumps({"input": row.text, "output": row.label}) for row in rows]
    meta = (
        f"<current_instruction>\n{instruction}\n</current_instruction>\n"
        f"<examples>\n{chr(10).join(lines)}\n</examples>\n<variant>{variant}</variant>"
    )
    answer: dict[str, str] = json.loads(propose(meta, max_tokens=None))
    return answer["instruction"]


def notes() -> dict[str, str]:
    return dict(re.findall(r"^- (\w+): (.+)$", proposed(0), flags=re.MULTILINE))


def guide(texts) -> str:
    return HEAD + "\n".join(f"- {name}: {text}" for name, text in texts.items())


def shifted(values) -> dict[str, str]:
    keys = list(values)
    return {key: values[keys[(i + 1) % len(keys)]] for i, key in enumerate(keys)}


def demos_of(texts) -> list[Turn]:
    return [
        turn
        for label, text in texts.items()
        for turn in (Turn(role="user", text=text), Turn(role="assistant", text=label))
    ]


def test_every_label_has_the_same_rows_in_every_split():
    assert len(LABELS) == 15
    counts = Counter((row.label, row.split) for row in ROWS)
    sizes = {"train": 20, "validation": 8, "test": 20}
    assert counts == {(name, split): n for name in LABELS for split, n in sizes.items()}


def test_texts_are_short_and_never_repeated():
    assert len({row.text.lower() for row in ROWS}) == len(ROWS) == 720
    assert all(4 <= len(row.text.split()) <= 30 for row in ROWS)


def test_ids_are_unique():
    ids = [json.loads(line)["id"] for line in DATA.read_text().splitlines()]
    assert len(set(ids)) == 720


def test_names_alone_leave_room_to_improve():
    assert 0.40 <= accuracy(LISTED) <= 0.60


@pytest.mark.parametrize("variant", range(6))
def test_each_early_proposal_beats_names_alone(variant):
    assert accuracy(proposed(variant)) >= accuracy(LISTED) + 0.12


def test_names_beat_codes_and_descriptions_rescue_codes():
    codes = {name: f"L{i:02d}" for i, name in enumerate(LABELS)}
    bare = accuracy(HEAD + "\n".join(f"- {code}" for code in codes.values()), names=codes)
    assert accuracy(LISTED) >= bare + 0.25
    described = {codes[name]: text for name, text in notes().items()}
    assert accuracy(guide(described), names=codes) >= bare + 0.30


def test_names_beat_shifted_descriptions():
    assert accuracy(LISTED) >= accuracy(guide(shifted(notes()))) + 0.05


def test_right_demos_help_and_wrong_demos_harm():
    rng = Random(1)
    texts = {name: rng.choice([row.text for row in TRAIN if row.label == name]) for name in LABELS}
    names = accuracy(LISTED)
    assert accuracy(LISTED, demos_of(texts)) >= names
    assert names >= accuracy(LISTED, demos_of(shifted(texts))) + 0.05


def test_names_beat_every_other_label():
    half = HEAD + "\n".join(f"- {name}" for name in LABELS[::2])
    assert accuracy(LISTED) >= accuracy(half) + 0.10


def test_guide_alone_names_every_label_where_the_instruction_names_none():
    base = "You sort messages. Answer with the label only."
    assert accuracy(base) == 0.0
    assert accuracy(proposed(0, instruction=base)) >= accuracy(LISTED)

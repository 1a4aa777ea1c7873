"""The reader truly reads the prompt: changed evidence changes what it gets right.

Needs the Banking77 files beside the repository; skipped where they are absent.
"""

from pathlib import Path
from random import Random

import pytest

from burnish.datasets import Banking77Source, balanced, load_banking77
from burnish.local.demos import Turn
from burnish.local.mining import Miner, Row
from burnish.local.prompt import Source, cut_query
from burnish.local.reader import LocalReader

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "banking77"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="Banking77 is not beside the repository")

HEAD = "You sort messages of bank customers into intents.\n\nIntents:\n"


def accuracy(system, rows, demos=(), names=None) -> float:
    reader = LocalReader()
    right = 0
    for row in rows:
        turns = [Turn(role="system", text=system), *demos, Turn(role="user", text=row.text)]
        query, hollow = cut_query(turns)
        label = names[row.label] if names else row.label
        right += reader.read(b"", Source(turns=hollow), query).labels[0] == label
    return right / len(rows)


def listed(names) -> str:
    return HEAD + "\n".join(f"- {name}" for name in names)


def guided(notes) -> str:
    return HEAD + "\n".join(f"- {name}: {note}" for name, note in notes.items())


def demos_of(texts) -> list[Turn]:
    return [
        turn
        for label, text in texts.items()
        for turn in (Turn(role="user", text=text), Turn(role="assistant", text=label))
    ]


@pytest.fixture(scope="module", params=["cards12", "all"])
def case(request):
    data = load_banking77(request.param, source=Banking77Source(directory=DATA))
    test = balanced(data.test, per_label=40 if request.param == "cards12" else 13, seed=1)
    labels = data.labels
    miner = Miner([Row(text=row.text, label=row.label) for row in data.train])
    rng = Random(4)
    by_label = {name: [row.text for row in data.train if row.label == name] for name in labels}
    return {
        "test": test,
        "labels": labels,
        "notes": {name: ", ".join(miner.terms(name, 8)) for name in labels},
        "examples": {name: rng.choice(by_label[name]) for name in labels},
        "names": accuracy(listed(labels), test),
        "preset": request.param,
    }


def shifted(values) -> dict[str, str]:
    keys = list(values)
    return {key: values[keys[(i + 1) % len(keys)]] for i, key in enumerate(keys)}


def test_listed_names_alone_score_as_documented(case):
    low, high = {"cards12": (0.53, 0.58), "all": (0.41, 0.47)}[case["preset"]]
    assert low <= case["names"] <= high


def test_names_beat_codes(case):
    codes = {name: f"L{i:02d}" for i, name in enumerate(case["labels"])}
    score = accuracy(listed(codes.values()), case["test"], names=codes)
    assert case["names"] >= score + 0.25


def test_codes_with_descriptions_beat_codes(case):
    codes = {name: f"L{i:02d}" for i, name in enumerate(case["labels"])}
    bare = accuracy(listed(codes.values()), case["test"], names=codes)
    notes = {codes[name]: note for name, note in case["notes"].items()}
    assert accuracy(guided(notes), case["test"], names=codes) >= bare + 0.30


def test_names_beat_shifted_descriptions(case):
    assert case["names"] >= accuracy(guided(shifted(case["notes"])), case["test"]) + 0.05


def test_right_descriptions_beat_names(case):
    assert accuracy(guided(case["notes"]), case["test"]) >= case["names"] + 0.10


def test_names_beat_wrong_demos(case):
    demos = demos_of(shifted(case["examples"]))
    assert case["names"] >= accuracy(listed(case["labels"]), case["test"], demos) + 0.05


def test_right_demos_are_no_worse_than_names(case):
    demos = demos_of(case["examples"])
    assert accuracy(listed(case["labels"]), case["test"], demos) >= case["names"]


def test_names_beat_every_other_label(case):
    half = case["labels"][::2]
    assert case["names"] >= accuracy(listed(half), case["test"]) + 0.10


def test_without_labels_and_demos_hardly_anything_is_right(case):
    assert accuracy("You are a helpful assistant.", case["test"]) <= 0.02


def test_confusable7_scores_in_its_range_on_all_test_rows():
    data = load_banking77("confusable7", source=Banking77Source(directory=DATA))
    assert len(data.test) == 280
    assert 0.42 <= accuracy(listed(data.labels), data.test) <= 0.52

"""Labelled files are read as they are, and what is wrong with them is said with row and column."""

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.datasets import (
    BadDataset,
    Banking77Source,
    Columns,
    DatasetNotFound,
    DatasetUnavailable,
    LabelledRow,
    balanced,
    load_banking77,
    load_rows,
    shuffled,
)
from burnish.datasets import banking77 as banking77_module


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_csv_texts_keep_commas_quotes_and_line_breaks(tmp_path):
    path = write(tmp_path, "a.csv", 'text,category\r\n"one, ""two""\nthree",Late?\r\nfour,lost\r\n')
    rows = load_rows(path, columns=Columns(label="category"))
    assert rows == (
        LabelledRow(text='one, "two"\nthree', label="Late?"),
        LabelledRow(text="four", label="lost"),
    )


def test_jsonl_rows_keep_their_split(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": "x", "split": "test"}\n\n')
    assert load_rows(path) == (LabelledRow(text="a", label="x", split="test"),)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "text,category\na,b\n", ["no column `label`", "`text`, `category`"]),
        ("a.csv", "text,label\na,\n,b\nc,d\n", ["row 1", "`label`", "row 2", "`text`"]),
        ("a.csv", 'text,label\n"a,b\n', ["not valid CSV"]),
        ("a.csv", "text,label\n", ["no rows"]),
        ("a.csv", "", ["no column `text`", "no column `label`"]),
        ("a.jsonl", '{"text": "a"}\n[1]\n{', ["line 2", "line 3"]),
        ("a.jsonl", '{"text": "a"}\n', ["line 1", "`label`"]),
        ("a.jsonl", "[" * 100_000, ["line 1", "not valid JSON"]),
        ("a.jsonl", '{"text": 5, "label": "x"}\n', ["line 1", "`text`"]),
        ("a.xlsx", "x", [".xlsx", ".csv"]),
    ],
)
def test_every_problem_of_a_file_is_named(tmp_path, name, text, words):
    with pytest.raises(BadDataset) as caught:
        load_rows(write(tmp_path, name, text))
    assert all(word in caught.value.message for word in words)


def test_missing_file_and_wrong_encoding_are_named(tmp_path):
    with pytest.raises(DatasetNotFound, match="does not exist"):
        load_rows(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"text,label\n\xff,b\n")
    with pytest.raises(BadDataset, match="byte 11"):
        load_rows(tmp_path / "a.csv")


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\ufeff"), min_size=1
).filter(str.strip)
PAIRS = st.tuples(TEXTS, st.sampled_from(["late", "lost?", "Gone"]))


@given(st.lists(PAIRS, min_size=1, max_size=8))
def test_any_rows_survive_writing_and_reading(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("rows")
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([("text", "label"), *pairs])
    as_csv = write(folder, "a.csv", out.getvalue())
    lines = "\n".join(json.dumps({"text": text, "label": label}) for text, label in pairs)
    as_jsonl = write(folder, "a.jsonl", lines)
    expected = tuple(LabelledRow(text=text, label=label) for text, label in pairs)
    assert load_rows(as_jsonl) == expected
    assert load_rows(as_csv) == expected


def rows_of(counts) -> list[LabelledRow]:
    return [LabelledRow(text=f"{label} {i}", label=label) for label, n in counts for i in range(n)]


def test_shuffling_and_sampling_repeat_for_a_seed_and_differ_between_seeds():
    rows = rows_of([("a", 30), ("b", 30)])
    assert shuffled(rows, seed=0) == shuffled(rows, seed=0)
    assert shuffled(rows, seed=0) != shuffled(rows, seed=1)
    assert sorted(row.text for row in shuffled(rows, seed=0)) == sorted(row.text for row in rows)
    assert balanced(rows, per_label=5, seed=0) != balanced(rows, per_label=5, seed=1)


def test_balanced_sample_takes_as_many_of_each_label_and_all_of_a_rare_one():
    sample = balanced(rows_of([("a", 30), ("b", 3)]), per_label=10, seed=3)
    assert [sum(row.label == label for row in sample) for label in "ab"] == [10, 3]


@pytest.fixture
def small_banking77(monkeypatch):
    files = {"train.csv": b"text,category\na,age_limit\n", "test.csv": b"text,category\nb,top_up\n"}
    pins = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(banking77_module, "_BANKING77_SHA256", pins)
    monkeypatch.delenv("BURNISH_BANKING77_DIR", raising=False)
    return files


def test_banking77_is_downloaded_once_and_then_taken_from_the_cache(tmp_path, small_banking77):
    asked = []

    def download(url):
        asked.append(url)
        return small_banking77[url.rsplit("/", 1)[1]]

    source = Banking77Source(cache=tmp_path, download=download)
    assert load_banking77("all", source=source).labels == ("age_limit", "top_up")
    assert load_banking77("all", source=Banking77Source(cache=tmp_path)).labels == (
        "age_limit",
        "top_up",
    )
    assert len(asked) == 2


def test_banking77_is_taken_from_the_folder_of_the_variable(tmp_path, small_banking77, monkeypatch):
    for name, content in small_banking77.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("BURNISH_BANKING77_DIR", str(tmp_path))
    data = load_banking77("all", source=Banking77Source(cache=tmp_path / "none"))
    assert len(data.train) == 1


def test_changed_file_is_refused_with_both_checksums(tmp_path, small_banking77):
    for name in small_banking77:
        (tmp_path / name).write_bytes(b"text,category\nz,z\n")
    with pytest.raises(BadDataset, match="SHA-256") as caught:
        load_banking77("all", source=Banking77Source(directory=tmp_path))
    assert hashlib.sha256(small_banking77["train.csv"]).hexdigest() in caught.value.message


def test_changed_download_is_refused_and_not_kept(tmp_path, small_banking77):
    source = Banking77Source(cache=tmp_path, download=lambda url: b"other")
    with pytest.raises(BadDataset, match="SHA-256"):
        load_banking77("all", source=source)
    assert not list(tmp_path.rglob("*.csv"))


def test_failed_download_says_what_else_can_be_done(tmp_path, small_banking77):
    def download(url):
        raise OSError("no route")

    with pytest.raises(DatasetUnavailable, match="--data DIR") as caught:
        load_banking77("all", source=Banking77Source(cache=tmp_path, download=download))
    assert caught.value.retryable


def test_offline_without_data_says_where_it_was_looked_for(tmp_path, small_banking77):
    with pytest.raises(DatasetNotFound, match="BURNISH_BANKING77_DIR"):
        load_banking77("all", source=Banking77Source(cache=tmp_path))
    with pytest.raises(DatasetNotFound, match=r"no train.csv and no test.csv"):
        load_banking77("all", source=Banking77Source(directory=tmp_path))


def test_unknown_preset_is_refused_with_the_known_ones_named(tmp_path):
    with pytest.raises(BadDataset, match="all, confusable7, cards12"):
        load_banking77("cards", source=Banking77Source(directory=tmp_path))

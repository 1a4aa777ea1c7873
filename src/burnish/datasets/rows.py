"""Labelled rows from CSV and JSONL files, and repeatable ways to rearrange and to sample them."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from burnish.errors import InvalidArgument, NotFound

_MAX_PROBLEMS: Final = 10


class BadDataset(InvalidArgument):
    """A data file that cannot be read as labelled rows; the message names every row at fault."""

    default_reason = "BAD_DATASET"


class DatasetNotFound(NotFound):
    """A data set is neither in the given folder nor in the cache."""

    default_reason = "DATASET_NOT_FOUND"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRow:
    """One text with its label; `split` is "" where the file has no such column."""

    text: str
    label: str
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns (CSV) or keys (JSONL) to read."""

    text: str = "text"
    label: str = "label"
    split: str = "split"


def load_rows(path: Path, *, columns: Columns | None = None) -> tuple[LabelledRow, ...]:
    """Reads labelled rows; the file's ending (.csv, .tsv, .jsonl, .ndjson) tells the format.

    CSV is RFC 4180: quoted texts may hold commas, quotes and line breaks.

    Raises:
        DatasetNotFound: There is no such file.
        BadDataset: Wrong ending, not UTF-8, no such column, or rows without text or label; all rows
        are checked.
    """
    columns = columns or Columns()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DatasetNotFound(
            f"data file `{path}` does not exist; give the path of a CSV or JSONL file"
        ) from None
    except UnicodeDecodeError as error:
        raise BadDataset(
            f"data file `{path}` is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv"):
        records, problems = _csv_records(text, columns, delimiter="," if ending == ".csv" else "\t")
    elif ending in (".jsonl", ".ndjson"):
        records, problems = _jsonl_records(text)
    else:
        raise BadDataset(
            f"data file `{path}` ends in `{ending}`; use .csv, .tsv, .jsonl or .ndjson"
        )
    rows = [] if problems else [_row(place, record, columns, problems) for place, record in records]
    if problems:
        shown = "; ".join(problems[:_MAX_PROBLEMS])
        more = (
            f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
        )
        raise BadDataset(f"data file `{path}`: {shown}{more}")
    if not rows:
        raise BadDataset(f"data file `{path}` has no rows")
    return tuple(rows)


_Records = list[tuple[str, Mapping[str, object]]]


def _csv_records(text: str, columns: Columns, *, delimiter: str) -> tuple[_Records, list[str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: _Records = []
    try:
        header = reader.fieldnames or []
        missing = [name for name in (columns.text, columns.label) if name not in header]
        if missing:
            found = ", ".join(f"`{name}`" for name in header) or "none"
            return [], [f"no column `{name}`; the columns are {found}" for name in missing]
        for number, record in enumerate(reader, start=1):
            records.append((f"row {number} (line {reader.line_num})", record))
    except csv.Error as error:
        return [], [f"line {reader.line_num} is not valid CSV ({error})"]
    return records, []


def _jsonl_records(text: str) -> tuple[_Records, list[str]]:
    records: _Records = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            problems.append(f"line {number} is not valid JSON")
            continue
        if isinstance(value, dict):
            records.append((f"line {number}", value))
        else:
            problems.append(f"line {number} is not a JSON object")
    return records, problems


def _row(
    place: str, record: Mapping[str, object], columns: Columns, problems: list[str]
) -> LabelledRow:
    values = {}
    for column in (columns.text, columns.label):
        value = record.get(column)
        if not isinstance(value, str) or not value.strip():
            problems.append(f"{place}: `{column}` is missing or empty")
            value = ""
        values[column] = value
    split = record.get(columns.split)
    return LabelledRow(
        text=values[columns.text],
        label=values[columns.label].strip(),
        split=split if isinstance(split, str) else "",
    )


def shuffled(rows: Sequence[LabelledRow], *, seed: int) -> tuple[LabelledRow, ...]:
    """Returns the rows in an order that depends on the seed and the rows' order alone."""
    order = list(rows)
    Random(seed).shuffle(order)  # noqa: S311 - a repeatable order, nothing secret
    return tuple(order)


def balanced(rows: Sequence[LabelledRow], *, per_label: int, seed: int) -> tuple[LabelledRow, ...]:
    """Returns up to `per_label` rows of each label, drawn and ordered by the seed.

    A label with fewer rows gives all of them.
    """
    taken: dict[str, int] = {}
    chosen: list[LabelledRow] = []
    for row in shuffled(rows, seed=seed):
        if taken.get(row.label, 0) < per_label:
            taken[row.label] = taken.get(row.label, 0) + 1
            chosen.append(row)
    return tuple(chosen)


def with_labels(rows: Iterable[LabelledRow], labels: Iterable[str]) -> tuple[LabelledRow, ...]:
    """Returns the rows that have one of the labels, in their order."""
    wanted = frozenset(labels)
    return tuple(row for row in rows if row.label in wanted)

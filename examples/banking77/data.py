"""Finds Banking77 for a preset and lays its rows out as splits; else the shipped data, loudly.

Splits: `train` is a balanced draw from the training file, which validation rows are taken from too;
`spare` is what is left of that file, for trying things out without looking at the test; `test` is
the whole test file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from burnish.datasets import (
    BANKING77_CREDIT,
    BANKING77_DIRECTORY_VARIABLE,
    Banking77Source,
    Dataset,
    DatasetNotFound,
    DatasetUnavailable,
    balanced,
    download_over_https,
    load_banking77,
    shuffled,
)
from examples.intents.app import Data, shipped_data

_DRAW_SEED = 77


# Training rows of each label: 770, 399 and 396 in all.
ROWS_PER_LABEL = {"all": 10, "confusable7": 57, "cards12": 33}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Data to run on.

    Attributes:
        data: The rows.
        task: Id of the task.
        notes: What the user has to be told: the credit line, or that it is other data.
    """

    data: Data
    task: str
    notes: tuple[str, ...]


def find_data(preset: str, *, directory: Path | None = None, online: bool = True) -> Found:
    """Returns Banking77 from a folder, the environment's folder, the cache or a download.

    Args:
        preset: `all`, `confusable7` or `cards12`.
        directory: Folder with `train.csv` and `test.csv`; it has to be right when it is given.
        online: Whether the files may be downloaded.

    Raises:
        BadDataset: Unknown preset, or files that are not Banking77's.
        DatasetNotFound: The given folder lacks a file.
    """
    source = Banking77Source(directory=directory, download=download_over_https if online else None)
    try:
        dataset = load_banking77(preset, source=source)
    except (DatasetNotFound, DatasetUnavailable) as error:
        if directory is not None:
            raise
        return Found(data=shipped_data(), task="intents", notes=_loudly(error.message))
    return Found(
        data=lay_out(dataset, ROWS_PER_LABEL[preset]),
        task=f"banking77-{preset}",
        notes=(f"Data: {BANKING77_CREDIT}",),
    )


def lay_out(dataset: Dataset, rows_per_label: int) -> Data:
    """Returns the rows as splits; every draw is fixed, so a seed always means the same row."""
    train = balanced(dataset.train, per_label=rows_per_label, seed=_DRAW_SEED)
    drawn = Counter(train)
    spare = []
    for row in shuffled(dataset.train, seed=_DRAW_SEED):
        # The same text may occur twice; only as many are taken as were drawn.
        if drawn[row] > 0:
            drawn[row] -= 1
        else:
            spare.append(row)
    return Data.of(
        [
            ("train", train),
            ("test", shuffled(dataset.test, seed=_DRAW_SEED)),
            ("spare", spare),
        ]
    )


def _loudly(why: str) -> tuple[str, ...]:
    rule = "!" * 78
    return (
        rule,
        "!! This is NOT Banking77: the support messages that come with the project are used.",
        f"!! {why}",
        f"!! Give the data with --data DIR or {BANKING77_DIRECTORY_VARIABLE}.",
        rule,
    )

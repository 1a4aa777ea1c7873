"""Labelled data: files that users bring, and Banking77 with its presets."""

from burnish.datasets.banking77 import (
    BANKING77_CREDIT,
    BANKING77_DIRECTORY_VARIABLE,
    BANKING77_PRESETS,
    Banking77Source,
    Dataset,
    DatasetUnavailable,
    cache_directory,
    download_over_https,
    load_banking77,
)
from burnish.datasets.rows import (
    BadDataset,
    Columns,
    DatasetNotFound,
    LabelledRow,
    balanced,
    load_rows,
    shuffled,
    with_labels,
)

__all__ = [
    "BANKING77_CREDIT",
    "BANKING77_DIRECTORY_VARIABLE",
    "BANKING77_PRESETS",
    "BadDataset",
    "Banking77Source",
    "Columns",
    "Dataset",
    "DatasetNotFound",
    "DatasetUnavailable",
    "LabelledRow",
    "balanced",
    "cache_directory",
    "download_over_https",
    "load_banking77",
    "load_rows",
    "shuffled",
    "with_labels",
]

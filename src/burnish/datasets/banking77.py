"""Banking77 from a folder, from the cache or by download, checked against pinned checksums."""

import hashlib
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from burnish.datasets.rows import (
    BadDataset,
    Columns,
    DatasetNotFound,
    LabelledRow,
    load_rows,
    with_labels,
)
from burnish.errors import Unavailable

BANKING77_CREDIT: Final = (
    "Banking77 by PolyAI, from Casanueva, Temcinas, Gerz, Henderson and Vulic, *Efficient Intent "
    "Detection with Dual Sentence Encoders*, 2nd Workshop on NLP for ConvAI, ACL 2020 "
    "(arXiv 2003.04807). CC BY 4.0."
)
BANKING77_DIRECTORY_VARIABLE: Final = "BURNISH_BANKING77_DIR"
_BANKING77_URL: Final = (
    "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/"
    "57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data/"
)
_BANKING77_SHA256: Final[Mapping[str, str]] = {
    "train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
    "test.csv": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
}
# None means every label of the data.
BANKING77_PRESETS: Final[Mapping[str, tuple[str, ...] | None]] = {
    "all": None,
    "confusable7": (
        "pending_transfer",
        "failed_transfer",
        "transfer_not_received_by_recipient",
        "transfer_timing",
        "pending_top_up",
        "top_up_failed",
        "top_up_reverted",
    ),
    "cards12": (
        "card_arrival",
        "card_delivery_estimate",
        "card_linking",
        "card_not_working",
        "lost_or_stolen_card",
        "getting_spare_card",
        "declined_card_payment",
        "pending_card_payment",
        "reverted_card_payment?",
        "card_payment_not_recognised",
        "card_acceptance",
        "card_payment_wrong_exchange_rate",
    ),
}
_DOWNLOAD_SECONDS: Final = 30.0
_DOWNLOAD_LIMIT: Final = 16 * 1024 * 1024


class DatasetUnavailable(Unavailable):
    """A data set could not be downloaded; it may be retried, or given by path."""

    default_reason = "DATASET_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows to learn from and rows to test on."""

    train: tuple[LabelledRow, ...]
    test: tuple[LabelledRow, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels of the data, sorted."""
        return tuple(sorted({row.label for row in (*self.train, *self.test)}))


Download = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Banking77Source:
    """Where to look for Banking77: a folder, the variable's folder, the cache, a download.

    `download` None means offline: nothing is fetched.
    """

    directory: Path | None = None
    cache: Path | None = None
    download: Download | None = None


def load_banking77(preset: str, *, source: Banking77Source) -> Dataset:
    """Loads Banking77, limited to the labels of a preset; rows keep the order of the files.

    Raises:
        BadDataset: Unknown preset, or a file whose checksum is not the pinned one.
        DatasetNotFound: The data is nowhere, and no download is allowed.
        DatasetUnavailable: The download failed; may be retried.
    """
    if preset not in BANKING77_PRESETS:
        known = ", ".join(BANKING77_PRESETS)
        raise BadDataset(f"Banking77 has no preset `{preset}`; use one of {known}")
    folder = _banking77_folder(source)
    columns = Columns(label="category")
    train, test = (load_rows(folder / name, columns=columns) for name in _BANKING77_SHA256)
    labels = BANKING77_PRESETS[preset]
    if labels is not None:
        train, test = with_labels(train, labels), with_labels(test, labels)
    return Dataset(train=train, test=test)


def cache_directory() -> Path:
    """Returns the folder that downloaded data is kept in."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "burnish"


def _banking77_folder(source: Banking77Source) -> Path:
    given = source.directory
    if given is None and os.environ.get(BANKING77_DIRECTORY_VARIABLE):
        given = Path(os.environ[BANKING77_DIRECTORY_VARIABLE])
    if given is not None:
        missing = [name for name in _BANKING77_SHA256 if not (given / name).is_file()]
        if missing:
            raise DatasetNotFound(f"folder `{given}` has no {' and no '.join(missing)}")
        _check_folder(given)
        return given
    cache = (source.cache or cache_directory()) / "banking77"
    if all((cache / name).is_file() for name in _BANKING77_SHA256):
        _check_folder(cache)
        return cache
    if source.download is None:
        raise DatasetNotFound(
            f"Banking77 is neither given nor in the cache `{cache}`; pass --data DIR with "
            f"train.csv and test.csv, or set {BANKING77_DIRECTORY_VARIABLE}, or allow the download"
        )
    _fetch(source.download, cache)
    return cache


def _check_folder(folder: Path) -> None:
    for name, expected in _BANKING77_SHA256.items():
        _check(f"`{folder / name}`", (folder / name).read_bytes(), expected)


def _check(place: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BadDataset(
            f"{place} is not the Banking77 file that Burnish knows: SHA-256 is {found}, expected "
            f"{expected}; take the unmodified file"
        )


def _fetch(download: Download, cache: Path) -> None:
    contents: dict[str, bytes] = {}
    for name, expected in _BANKING77_SHA256.items():
        try:
            contents[name] = download(_BANKING77_URL + name)
        except OSError as error:
            raise DatasetUnavailable(
                f"could not download {_BANKING77_URL}{name} ({error}); retry, or pass --data DIR "
                f"with train.csv and test.csv"
            ) from error
        _check(f"the download of {name}", contents[name], expected)
    cache.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        partial = cache / f"{name}.{os.getpid()}.partial"
        partial.write_bytes(content)
        partial.replace(cache / name)


def download_over_https(url: str) -> bytes:
    """Fetches a small file; blocks, so call it from a thread where there is a loop.

    Raises:
        OSError: No connection, a status other than 200, a timeout, or a file over 16 MB.
    """
    if not url.startswith("https://"):
        raise OSError(f"refusing to download from `{url}`: not https")
    with urllib.request.urlopen(url, timeout=_DOWNLOAD_SECONDS) as reply:  # noqa: S310 - checked above
        content: bytes = reply.read(_DOWNLOAD_LIMIT + 1)
    if len(content) > _DOWNLOAD_LIMIT:
        raise OSError(f"`{url}` is larger than {_DOWNLOAD_LIMIT} bytes")
    return content

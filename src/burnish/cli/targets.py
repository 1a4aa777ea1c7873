"""Makes sure that what a command will write can be written, before anything is spent on it."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def prepare_file(path: Path) -> None:
    """Creates the folder of a file that will be written.

    Raises:
        OSError: The file could not be written; it names the path.
    """
    prepare_folder(path.parent)
    if path.is_dir():
        raise _refused(errno.EISDIR, path)
    if path.exists() and not os.access(path, os.W_OK):
        raise _refused(errno.EACCES, path)


def prepare_folder(path: Path) -> None:
    """Creates a folder that files will be written to.

    Raises:
        OSError: Nothing could be written there; it names the path.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        # What /proc and its like answer: there is a parent, and nothing can be made in it.
        raise _refused(errno.EACCES, path) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise _refused(errno.EACCES, path)


def _refused(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))

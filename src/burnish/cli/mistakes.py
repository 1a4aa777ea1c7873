"""What the operating system refused, in words: which option, which path, what is wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

_WORDS = {
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "is a folder, where a file is needed",
    errno.ENOTDIR: "lies in something that is a file and no folder",
    errno.EEXIST: "is a file, where a folder is needed",
    errno.EACCES: "may not be read or written by you; change its permissions, or give another path",
    errno.EPERM: "may not be changed by you; change its permissions, or give another path",
    errno.EROFS: "cannot be written: the disk is read-only",
    errno.ENAMETOOLONG: "is too long for a path",
    errno.ELOOP: "is a link that leads back to itself",
}
_DISK_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your share of the disk is used up"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is told of an error of the operating system.

    Attributes:
        message: Place, value and what is wrong.
        reason: UPPER_SNAKE_CASE.
        usage: Whether another command line would have helped.
    """

    message: str
    reason: str
    usage: bool


def explained(
    error: OSError | UnicodeDecodeError, command: Callable[..., Any], given: Mapping[str, object]
) -> Mistake:
    """Returns what to tell of an error.

    Args:
        error: What went wrong.
        command: The command that it ended; its parameters tell the names of options.
        given: What the command was given, by parameter.
    """
    if isinstance(error, UnicodeDecodeError):
        return _not_text(error, command, given)
    words = in_words(error)
    path = _path(error)
    if path is None:
        return Mistake(message=words, reason="SYSTEM_ERROR", usage=False)
    return Mistake(
        message=f"{_place(path, command, given)}: {words}",
        reason="FILE_NOT_FOUND" if error.errno == errno.ENOENT else "FILE_UNUSABLE",
        usage=error.errno in _WORDS,
    )


def in_words(error: OSError) -> str:
    """Returns what is wrong, without the path."""
    known = {**_WORDS, **_DISK_FULL}.get(error.errno or 0)
    return known or error.strerror or str(error) or type(error).__name__


def _path(error: OSError) -> str | None:
    return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None


def _not_text(
    error: UnicodeDecodeError, command: Callable[..., Any], given: Mapping[str, object]
) -> Mistake:
    # The error knows the bytes and not the file: it is one of those that the command was given.
    paths = (value for value in given.values() if isinstance(value, Path) and value.is_file())
    found = next((path for path in paths if not _is_text(path)), None)
    place = "a file" if found is None else _place(str(found), command, given)
    byte = error.object[error.start]
    message = f"{place}: is no UTF-8 text (byte {byte:#04x} at {error.start}); save it as UTF-8"
    return Mistake(message=message, reason="FILE_NOT_TEXT", usage=True)


def _is_text(path: Path) -> bool:
    try:
        path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True


def _place(path: str, command: Callable[..., Any], given: Mapping[str, object]) -> str:
    for name, value in _candidates(path, given):
        flag = _flag(command, name)
        if flag:
            same = os.path.abspath(path) == os.path.abspath(value)
            return f"{flag} `{value}`" if same else f"{flag} `{value}`: `{path}`"
    return f"`{path}`"


def _candidates(path: str, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yields the parameters that a path may come from, the likeliest first."""
    wanted = Path(os.path.abspath(path))
    values = {
        name: Path(os.path.abspath(value))
        for name, value in given.items()
        if isinstance(value, Path) or (isinstance(value, str) and value)
    }
    tests: tuple[Callable[[Path], bool], ...] = (
        lambda value: value == wanted,
        lambda value: wanted in value.parents,
        lambda value: value in wanted.parents,
    )
    for index, test in enumerate(tests):
        for name, value in values.items():
            # A word that is no path names the folder that the command runs in, or one below.
            if test(value) and (index == 0 or isinstance(given[name], Path)):
                yield name, str(given[name])


def _flag(command: Callable[..., Any], name: str) -> str:
    """Returns how a parameter is written on the command line; empty for none."""
    hint = get_type_hints(command, include_extras=True).get(name)
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, ArgumentInfo):
            return name.upper()
        if isinstance(part, OptionInfo):
            # In `Annotated`, typer takes the first name of an option for its default.
            words = (str(word) for word in (part.default, *(part.param_decls or ())))
            flags = (word for word in words if word.startswith("--"))
            return next(flags, f"--{name.replace('_', '-')}")
    return ""

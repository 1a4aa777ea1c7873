"""Reads rubric files: YAML, JSON or TOML, small, not nested deeply, and without YAML's aliases."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

from burnish.errors import MissingExtra
from burnish.json_depth import deeper_than
from burnish.rubric_forms import Form, read_rubric
from burnish.rubrics import Rubric, RubricInvalid

FileForm = Literal["yaml", "json", "toml"]
_ENDINGS: Final[dict[str, FileForm]] = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".toml": "toml",
}
_MAX_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 32
_MAX_DOTS: Final = 32


def load_rubric(path: Path, *, expect: Form | None = None) -> Rubric:
    """Reads a rubric from a file; its ending tells the form.

    Args:
        path: The file.
        expect: The only form of rubric to be taken; None takes both.

    Raises:
        RubricInvalid: It cannot be read, or has faults; the message names every one.
        MissingExtra: It is YAML, and the package that reads YAML is not installed.
    """
    return read_rubric(load_value(path), expect=expect)


def load_value(path: Path) -> Any:  # noqa: ANN401
    """Reads the value in a YAML, JSON or TOML file.

    Raises:
        RubricInvalid: There is no such file, its ending is another, or it is not of its form.
        MissingExtra: It is YAML, and the package that reads YAML is not installed.
    """
    form = _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise RubricInvalid(f"`{path.name}` ends in none of {', '.join(_ENDINGS)}; rename it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RubricInvalid(f"`{path}` cannot be read: {error.strerror}") from error
    try:
        return parse_value(data, form=form)
    except RubricInvalid as error:
        raise RubricInvalid(f"`{path.name}`: {error.message}") from error


def parse_value(data: bytes, *, form: FileForm) -> Any:  # noqa: ANN401
    """Reads one value.

    Raises:
        RubricInvalid: It is too large, nested too deeply, or not of that form.
        MissingExtra: It is YAML, and the package that reads YAML is not installed.
    """
    if len(data) > _MAX_BYTES:
        raise RubricInvalid(f"{len(data)} bytes; give at most {_MAX_BYTES}")
    try:
        text = data.decode()
        value = _READERS[form](text)
    except (ValueError, RecursionError) as error:
        raise RubricInvalid(f"it is no {form.upper()}: {_where(error)}") from None
    if deeper_than(value, _MAX_DEPTH):
        raise RubricInvalid(f"it is nested deeper than {_MAX_DEPTH}; flatten it")
    return value


def _json(text: str) -> Any:  # noqa: ANN401
    return json.loads(text, parse_constant=_refuse)


def _toml(text: str) -> Any:  # noqa: ANN401
    # A key of thousands of dots takes the parser seconds.
    if any(line.partition("=")[0].count(".") > _MAX_DOTS for line in text.splitlines()):
        raise ValueError(f"a key has more than {_MAX_DOTS} dots")
    return tomllib.loads(text)


def _yaml(text: str) -> Any:  # noqa: ANN401
    try:
        import yaml
    except ImportError:
        raise MissingExtra(package="pyyaml", extra="verifier") from None
    try:
        # A few aliases of aliases stand for gigabytes.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("aliases are not read; write the value out")
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise ValueError(f"{error.problem or 'it cannot be read'}{place}") from None
    except yaml.YAMLError:
        raise ValueError("it cannot be read") from None


_READERS: Final = {"yaml": _yaml, "json": _json, "toml": _toml}


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _where(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)

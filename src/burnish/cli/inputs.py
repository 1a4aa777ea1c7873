"""Reads what several commands are given besides the job file: values and environments."""

from __future__ import annotations

import os
from pathlib import Path

from burnish.errors import InvalidArgument


def load_env_file(path: Path) -> None:
    """Puts the NAME=VALUE lines of a file into the environment; what is set there stays.

    Raises:
        InvalidArgument: A line has another form; it is named by its number, since it may hold a
            secret.
    """
    found: dict[str, str] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        line = text.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise InvalidArgument(
                f"--env {path}: line {number} is not of the form NAME=VALUE; correct it, or begin "
                "it with `#`",
                reason="ENV_FILE_INVALID",
                metadata={"file": str(path), "line": str(number)},
            )
        found.setdefault(name.strip(), value.strip().strip("'\""))
    for name, value in found.items():
        os.environ.setdefault(name, value)


def parse_overrides(pairs: list[str]) -> dict[str, object]:
    """Returns `dotted.key=value` pairs as overrides; a value is TOML, else text.

    Raises:
        InvalidArgument: A pair has no `=`.
    """
    import tomllib

    found: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise InvalidArgument(
                f"--set {pair}: is not of the form dotted.key=value", reason="OVERRIDE_INVALID"
            )
        try:
            found[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = text
    return found

"""Tells whether judges may say something else than an earlier release: kept results hang on it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Final

# Raised whenever the same prompts and replies come to another score.
_RULES: Final = 1
_FOLDERS: Final = ("prompts", "rubrics")


@cache
def fingerprint() -> str:
    """Returns a hash of the judges' prompts, rubrics and rules, in lower-case hex."""
    digest = hashlib.sha256(f"rules {_RULES}".encode())
    home = resources.files("burnish_verifier").joinpath("judges")
    for folder in _FOLDERS:
        for file in sorted(home.joinpath(folder).iterdir(), key=lambda each: each.name):
            if file.is_file():
                digest.update(f"\n{folder}/{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()

"""Every fault of one thing at once: listed beside an error's message, and read from it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from burnish.errors import BurnishError

_PREFIX: Final = "problem_"
_MOST: Final = 50


def listing(problems: Sequence[str]) -> dict[str, str]:
    """Returns metadata that tells the first problems one by one, and how many there are."""
    shown = {f"{_PREFIX}{place:02}": text for place, text in enumerate(problems[:_MOST], 1)}
    return {"problems": str(len(problems)), **shown}


def listed(error: BurnishError) -> list[str]:
    """Returns the problems that an error tells one by one; its message when it tells none."""
    found = [error.metadata[key] for key in sorted(error.metadata) if key.startswith(_PREFIX)]
    return found or [error.message]

"""The judges' prompts: versioned text files, filled in by plain substitution.

A file opens with `version: N`; `=== role` opens each message. `{{name}}` alone on its line is
replaced by the block of that name, once, or the line is left out when there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from burnish_runtime.llm.base import ChatMessage

_VERSION: Final = re.compile(r"version: (\d+)")
_ROLE: Final = re.compile(r"=== (system|user)")
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt as its file has it.

    Attributes:
        name: Name of the file without its ending.
        version: Raised with every change of the text.
        messages: Role and lines of each message, in order.
    """

    name: str
    version: int
    messages: tuple[tuple[str, tuple[str, ...]], ...]

    def render(self, blocks: Mapping[str, str]) -> tuple[ChatMessage, ...]:
        """Fills the blocks in; one that is missing or empty leaves its line out."""
        return tuple(
            ChatMessage(role=role, content=_filled(lines, blocks)) for role, lines in self.messages
        )


@cache
def load(name: str) -> Prompt:
    """Reads a prompt that is shipped with the judges.

    Raises:
        ValueError: The file has no version, or no messages.
    """
    file = resources.files("burnish_verifier").joinpath("judges", "prompts", f"{name}.txt")
    return parse(name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Prompt:
    """Reads the text of a prompt.

    Raises:
        ValueError: It has no version, or no messages.
    """
    first, _, rest = text.partition("\n")
    version = _VERSION.fullmatch(first)
    if version is None:
        raise ValueError(f"prompt `{name}` opens with `{first}`; open it with `version: 1`")
    messages: list[tuple[str, list[str]]] = []
    for line in rest.splitlines():
        role = _ROLE.fullmatch(line)
        if role is not None:
            messages.append((role.group(1), []))
        elif messages:
            messages[-1][1].append(line)
    if not messages:
        raise ValueError(f"prompt `{name}` has no messages; open one with `=== user`")
    return Prompt(
        name=name,
        version=int(version.group(1)),
        messages=tuple((role, tuple(lines)) for role, lines in messages),
    )


def _filled(lines: tuple[str, ...], blocks: Mapping[str, str]) -> str:
    filled = []
    for line in lines:
        place = _PLACE.fullmatch(line)
        if place is None:
            filled.append(line)
        elif found := blocks.get(place.group(1), ""):
            filled.append(found)
    return "\n".join(filled)

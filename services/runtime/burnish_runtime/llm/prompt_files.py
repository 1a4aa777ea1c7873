"""Prompts as versioned text files, filled in by plain substitution.

A file opens with `version: N`; `=== role` opens each message. `{{name}}` is replaced by the value
of that name, once: what a value holds is never looked at again. A line that is nothing but a
placeholder without a value is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from burnish_runtime.llm.base import ChatMessage

_VERSION = re.compile(r"version: (\d+)")
_ROLE = re.compile(r"=== (system|user|assistant)")
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFile:
    """A prompt as its file has it.

    Attributes:
        name: Name of the file without its ending.
        version: Raised with every change of the text.
        messages: Role and text of each message, in order.
    """

    name: str
    version: int
    messages: tuple[tuple[str, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """Names of its placeholders."""
        return frozenset(name for _, text in self.messages for name in _PLACEHOLDER.findall(text))

    def render(self, values: Mapping[str, str]) -> tuple[ChatMessage, ...]:
        """Fills the placeholders in.

        Args:
            values: By name; one that is empty or missing leaves a line of its own out.

        Raises:
            KeyError: A placeholder within a line has no value.
        """
        return tuple(
            ChatMessage(role=role, content=_filled(text, values)) for role, text in self.messages
        )


@cache
def load(package: str, folder: str, name: str) -> PromptFile:
    """Reads a prompt that is shipped with a package.

    Args:
        package: Name of the package.
        folder: Folder in it, with slashes.
        name: Name of the file without its ending.

    Raises:
        ValueError: The file has no version, or no messages.
    """
    file = resources.files(package).joinpath(*folder.split("/"), f"{name}.txt")
    return parse(name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> PromptFile:
    """Reads the text of a prompt.

    Raises:
        ValueError: It has no version, no messages, or text before its first message.
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
        elif line:
            raise ValueError(f"prompt `{name}` has text before its first message: `{line}`")
    if not messages:
        raise ValueError(f"prompt `{name}` has no messages; open one with `=== user`")
    return PromptFile(
        name=name,
        version=int(version.group(1)),
        messages=tuple((role, "\n".join(lines).strip("\n")) for role, lines in messages),
    )


def _filled(text: str, values: Mapping[str, str]) -> str:
    lines = []
    for line in text.splitlines():
        alone = _PLACEHOLDER.fullmatch(line)
        if alone is not None and not values.get(alone.group(1)):
            continue
        lines.append(_PLACEHOLDER.sub(lambda match: values[match.group(1)], line))
    return "\n".join(lines)

"""Patterns with `{wildcards}`: parsed once, bound to a text by their literals, rendered back.

Grammar: `{name}` is a wildcard, `{{` and `}}` are literal braces. A text that breaks the grammar,
such as one that holds plain JSON, is read leniently: every brace that is not part of a `{name}`
stands for itself, doubled or not. Values are never parsed, so they may hold any brace.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_.\-]*)\}|[{}]")
_MAX_OPTIONAL_LINES = 4


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A hole of a pattern."""

    name: str


Part = str | Wildcard


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern: literals and wildcards in turn, no two literals side by side."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> frozenset[str]:
        """Names of its wildcards."""
        return frozenset(part.name for part in self.parts if isinstance(part, Wildcard))

    @property
    def ambiguous(self) -> bool:
        """Whether two wildcards touch, so that nothing tells where one ends."""
        return any(
            isinstance(a, Wildcard) and isinstance(b, Wildcard)
            for a, b in itertools.pairwise(self.parts)
        )

    def render(self, bindings: Mapping[str, str]) -> str:
        """Returns the text with its wildcards filled in.

        Raises:
            KeyError: A wildcard has no value.
        """
        return "".join(
            bindings[part.name] if isinstance(part, Wildcard) else part for part in self.parts
        )


def parse(text: str, *, names: Collection[str] | None = None) -> Pattern:
    """Parses a pattern.

    Args:
        text: The pattern.
        names: The only names that are wildcards, any other `{name}` being literal text; None makes
            every name one.
    """
    escaped = _follows_grammar(text)
    parts: list[Part] = []
    literal: list[str] = []
    position = 0
    for token in _TOKEN.finditer(text):
        literal.append(text[position : token.start()])
        position = token.end()
        name = token.group(1)
        if name is not None and (names is None or name in names):
            parts += [*_joined(literal), Wildcard(name)]
            literal = []
        elif escaped and token.group() in ("{{", "}}"):
            literal.append(token.group()[0])
        else:
            literal.append(token.group())
    literal.append(text[position:])
    return Pattern((*parts, *_joined(literal)))


def escape(text: str) -> str:
    """Returns the pattern that stands for exactly this text."""
    return text.replace("{", "{{").replace("}", "}}")


def bind(pattern: Pattern, text: str, *, optional: Collection[str] = ()) -> dict[str, str] | None:
    """Binds a pattern's wildcards to what stands in their place in a whole text.

    Each wildcard takes as little as it can. Space around the text does not count unless the text
    matches as it stands. A line of which every wildcard is optional may be missing.

    Returns:
        The values by name, or None when the text does not match, when a wildcard that occurs twice
        would need two values, or when two wildcards touch.
    """
    for variant in _variants(pattern, optional):
        for form, subject in ((variant, text), (_stripped(variant), text.strip())):
            found = _bind_exactly(form, subject)
            if found is not None:
                return {name: found.get(name, "") for name in pattern.names}
    return None


def lines_with(pattern: Pattern, names: Collection[str]) -> Pattern:
    """Returns only those lines of a pattern that hold one of the wildcards."""
    kept = [line for line in _lines(pattern) if line.names & frozenset(names)]
    return _join_lines(kept)


def _follows_grammar(text: str) -> bool:
    return all(token.group() not in ("{", "}") for token in _TOKEN.finditer(text))


def _joined(literal: list[str]) -> tuple[str, ...]:
    text = "".join(literal)
    return (text,) if text else ()


def _bind_exactly(pattern: Pattern, text: str) -> dict[str, str] | None:
    if pattern.ambiguous:
        return None
    found: dict[str, str] = {}
    position = 0
    open_name: str | None = None
    last = len(pattern.parts) - 1
    for index, part in enumerate(pattern.parts):
        if isinstance(part, Wildcard):
            open_name = part.name
            continue
        if open_name is None:
            start = 0 if text.startswith(part) else -1
        elif index == last:
            start = len(text) - len(part) if text.endswith(part) else -1
        else:
            start = text.find(part, position)
        if start < position:
            return None
        if (
            open_name is not None
            and found.setdefault(open_name, text[position:start]) != (text[position:start])
        ):
            return None
        open_name, position = None, start + len(part)
    if open_name is not None:
        value = text[position:]
        return found if found.setdefault(open_name, value) == value else None
    return found if position == len(text) else None


def _variants(pattern: Pattern, optional: Collection[str]) -> Iterator[Pattern]:
    """Yields the pattern, then what is left of it without some of its optional lines."""
    yield pattern
    lines = _lines(pattern)
    loose = [i for i, line in enumerate(lines) if line.names and line.names <= set(optional)]
    loose = loose[:_MAX_OPTIONAL_LINES]
    for count in range(1, len(loose) + 1):
        for dropped in itertools.combinations(loose, count):
            yield _join_lines([line for i, line in enumerate(lines) if i not in dropped])


def _lines(pattern: Pattern) -> list[Pattern]:
    lines: list[list[Part]] = [[]]
    for part in pattern.parts:
        if isinstance(part, Wildcard):
            lines[-1].append(part)
            continue
        first, *rest = part.split("\n")
        if first:
            lines[-1].append(first)
        lines += [[piece] if piece else [] for piece in rest]
    return [Pattern(tuple(line)) for line in lines]


def _join_lines(lines: list[Pattern]) -> Pattern:
    parts: list[Part] = []
    literal: list[str] = []
    for number, line in enumerate(lines):
        if number:
            literal.append("\n")
        for part in line.parts:
            if isinstance(part, Wildcard):
                parts += [*_joined(literal), part]
                literal = []
            else:
                literal.append(part)
    return Pattern((*parts, *_joined(literal)))


def _stripped(pattern: Pattern) -> Pattern:
    parts = list(pattern.parts)
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return Pattern(tuple(part for part in parts if part != ""))

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
_Form = tuple[str, tuple[tuple[str, str], ...], bool]


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


class Binder:
    """A pattern made ready to be bound to many texts.

    Each wildcard takes as little as it can, so that a text is read once from its start to its end.
    Space around the text does not count unless the text matches as it stands. A line of which every
    wildcard is optional may be missing.
    """

    __slots__ = ("_first", "_names", "_optional", "_others", "pattern")

    def __init__(self, pattern: Pattern, *, optional: Collection[str] = ()) -> None:
        """Takes the pattern, and the names of those wildcards that may be absent."""
        self.pattern = pattern
        self._names = pattern.names
        self._optional = frozenset(optional)
        self._first = _form(pattern)
        self._others: tuple[_Form, ...] | None = None

    def bind(self, text: str) -> dict[str, str] | None:
        """Returns the values by name.

        None when the text does not match, when a wildcard that occurs twice would need two values,
        or when two wildcards touch.
        """
        found = _fit(self._first, text)
        if found is not None:
            return found
        return self._bind_loosely(text)

    def _bind_loosely(self, text: str) -> dict[str, str] | None:
        if self._others is None:
            variants = list(_variants(self.pattern, self._optional))
            forms = [_form(form) for one in variants for form in (one, _stripped(one))]
            self._others = tuple(forms[1:])
        bare = text.strip()
        for place, form in enumerate(self._others):
            found = _fit(form, text if place % 2 else bare)
            if found is not None:
                return {name: found.get(name, "") for name in self._names}
        return None


def bind(pattern: Pattern, text: str, *, optional: Collection[str] = ()) -> dict[str, str] | None:
    """Binds a pattern's wildcards to what stands in their place in a whole text, as `Binder`."""
    return Binder(pattern, optional=optional).bind(text)


def lines_with(pattern: Pattern, names: Collection[str]) -> Pattern:
    """Returns only those lines of a pattern that hold one of the wildcards."""
    kept = [line for line in _lines(pattern) if line.names & frozenset(names)]
    return _join_lines(kept)


def _follows_grammar(text: str) -> bool:
    return all(token.group() not in ("{", "}") for token in _TOKEN.finditer(text))


def _joined(literal: list[str]) -> tuple[str, ...]:
    text = "".join(literal)
    return (text,) if text else ()


def _form(pattern: Pattern) -> _Form:
    """Returns a pattern as its first literal, then each wildcard with the literal after it."""
    parts = list(pattern.parts)
    prefix = str(parts.pop(0)) if parts and isinstance(parts[0], str) else ""
    holes: list[tuple[str, str]] = []
    for index, part in enumerate(parts):
        if isinstance(part, Wildcard):
            after = parts[index + 1] if index + 1 < len(parts) else ""
            holes.append((part.name, after if isinstance(after, str) else ""))
    return prefix, tuple(holes), pattern.ambiguous


def _fit(form: _Form, text: str) -> dict[str, str] | None:
    prefix, holes, ambiguous = form
    if not holes:
        return {} if text == prefix else None
    if ambiguous or not text.startswith(prefix):
        return None
    found: dict[str, str] = {}
    position = len(prefix)
    for name, literal in holes[:-1]:
        at = text.find(literal, position)
        if at < 0:
            return None
        value = text[position:at]
        if found.setdefault(name, value) != value:
            return None
        position = at + len(literal)
    name, suffix = holes[-1]
    end = len(text) - len(suffix)
    if end < position or not text.endswith(suffix):
        return None
    value = text[position:end]
    return found if found.setdefault(name, value) == value else None


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

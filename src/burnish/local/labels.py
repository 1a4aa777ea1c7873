"""Finds label lists written in plain text, in every form that prompts use.

Numbered, bulleted, back-ticked, bold, comma list, JSON array, one per line, "name: text", "name -
text", XML tags, prose ("Use X when ...") and, as the last resort, tokens that look like
identifiers. Nothing here knows any label.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from burnish.local.label_markup import json_lists, xml_lists
from burnish.local.label_names import (
    BULLET,
    HEADING,
    NOT_LABELS,
    LabelList,
    is_identifier,
    is_name,
    make_list,
    split_inline,
    split_item,
)

_VERB: Final = re.compile(
    r"\b(?:choose|select|pick|classify|one of|from|between|among|following|into)\b", re.IGNORECASE
)
_LOOSE_IDENTIFIER: Final = re.compile(
    r"(?<![\w/.@-])(?:[A-Za-z]\w*(?:_\w+)+\??|[A-Z]{1,4}-?\d{1,4}|[a-z]+(?:[A-Z][a-z]+)+)(?![\w@/])"
)
_INLINE: Final = re.compile(r"^([^\n:(\[]{0,120}?)[ \t]*[:(][ \t]*(?=\S)", re.MULTILINE)
_WRAPPED: Final = re.compile(r"(?:[^\n]*,[ \t]*\n)*[^\n]+")
_WORD: Final = r"(?!(?:and|or)\b)[\w/-]+"
_ENUMERATION: Final = re.compile(
    r"\b(?:one of|either|between|among|as|into|are|is it|is this|is)\s+"
    rf"((?:{_WORD}(?: {_WORD}){{0,2}}, ){{0,150}}{_WORD}(?: {_WORD})?,? "
    rf"(?:and|or) {_WORD}(?: {_WORD})?)",
    re.IGNORECASE,
)
_SAY: Final = (
    r"(?:use|choose|pick|select|answer|return|assign|reply|label|output|say|respond|go for|"
    r"classify|"
    r"tag|write|give|emit|prefer|it is|it's|this is)(?:\s+(?:with|as|it as|it|this as|for))?"
)
_NAME: Final = (
    r"(?:`([^`]+)`|\"([^\"]+)\"|'([^']+)'|\*\*([^*]+)\*\*|([\w/&-]+\??(?: [\w/&-]+){0,3}?))"
)
_USE_WHEN: Final = re.compile(
    rf"\b{_SAY}\s+{_NAME}\s+(?:only\s+)?(?:when|if|for|where|whenever|in case)\b", re.IGNORECASE
)
_WHEN_USE: Final = re.compile(
    rf"\b(?:if|when|whenever|for)\b[^.;\n]{{0,160}}?,\s*(?:then\s+)?{_SAY}\s+{_NAME}\s*(?=[.;\n]|$)",
    re.IGNORECASE,
)
_MEANS: Final = re.compile(
    rf"^[ \t]{{0,12}}{_NAME}\s+"
    r"(?:means|covers|is for|is when|is used|applies|refers to|describes|includes)\b",
    re.IGNORECASE | re.MULTILINE,
)


def find_label_lists(text: str) -> list[LabelList]:
    """Returns every plausible label list of a text, best first."""
    found = [*_lines(text), *_inline(text), *json_lists(text), *xml_lists(text), *_prose(text)]
    if not found:
        found = [*_enumerations(text), *_identifiers(text)]
    return sorted(found, key=lambda each: (-each.score, -len(each.names)))


def _lines(text: str) -> Iterator[LabelList]:
    """Yields runs of lines of one kind; blank lines do not end a run of bullets or of notes."""
    run: list[tuple[str, str]] = []
    raw: list[str] = []
    kind, heading, before, depth = "", "", "", 0
    for line in text.splitlines():
        bullet = BULLET.match(line)
        item = _item(line) if bullet is None else bullet[1]
        pair = split_item(item)
        here = _line_kind(line, pair, is_bullet=bullet is not None)
        if not line.strip() and kind in ("bullet", "described"):
            continue
        if kind and bullet is None and line.strip() and _indent(line) > depth:
            # A deeper line without a bullet goes on with the item above it.
            continue
        if here != kind:
            yield from _run(run, raw, kind, heading)
            run, raw, kind, heading, depth = [], [], here, before, _indent(line)
        if here:
            run.append(pair)
            raw.append(item)
        if line.strip():
            before = line.strip()
    yield from _run(run, raw, kind, heading)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _item(line: str) -> str:
    """Returns a line as a list item; of a table's row the first two cells."""
    if not line.lstrip().startswith("|"):
        return line.strip()
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return ": ".join(cells[:2])


def _ends(line: str) -> bool:
    return line.rstrip().endswith(":")


def _line_kind(line: str, pair: tuple[str, str], *, is_bullet: bool) -> str:
    if is_bullet:
        return "bullet"
    if not line.strip() or _ends(line) or line.lstrip().startswith(("#", "<", "{", "[")):
        return ""
    if line.lstrip().startswith("|"):
        # The rule under a table's head ends the run that the head would begin.
        return "" if set(line) <= set("|-: \t") else "table"
    name, note = pair
    if not is_name(name) or name.lower() in NOT_LABELS:
        return ""
    return "described" if note else "bare"


def _run(
    run: Sequence[tuple[str, str]], raw: Sequence[str], kind: str, heading: str
) -> Iterator[LabelList]:
    if len(run) < 2:
        return
    names = [name for name, _ in run]
    if len(set(names)) < len(names) and len(set(raw)) == len(raw):
        # "Billing - refund" and "Billing - charge": the dash belongs to the labels.
        run = [(item, "") for item in raw]
    titled = 3.0 if HEADING.search(heading) else 0.0
    if kind == "bare" and not titled and heading and not _is_heading(heading):
        # Short lines under a line of prose are a list only if they look like codes.
        run = [(name, note) for name, note in run if is_identifier(name)]
    floor = {"bullet": 1.5, "described": 2.2, "table": 1.5}.get(kind, 1.9)
    bonus = titled + (1.0 if kind in ("bullet", "table") else 0.0)
    yield from make_list(run, kind=kind, bonus=bonus, floor=floor)


def _is_heading(line: str) -> bool:
    return line.endswith(":") or line.startswith("#")


def _inline(text: str) -> Iterator[LabelList]:
    for match in _INLINE.finditer(text):
        head = match[1]
        titled = HEADING.search(head) is not None
        if not titled and _VERB.search(head) is None:
            continue
        value = _WRAPPED.match(text, match.end())
        if value is None:
            continue
        pairs = [(item, "") for item in split_inline(value[0])]
        yield from make_list(pairs, kind="inline", bonus=3.0 if titled else 2.0, floor=2.0)


def _prose(text: str) -> Iterator[LabelList]:
    names: list[tuple[str, str]] = []
    for pattern in (_USE_WHEN, _WHEN_USE, _MEANS):
        for match in pattern.finditer(text):
            quoted = next((group for group in match.groups()[:4] if group is not None), None)
            name = (quoted or match[5] or "").strip()
            bare_ok = " " not in name or is_identifier(name) or name[:1].isupper()
            if name and name.lower() not in NOT_LABELS and (quoted is not None or bare_ok):
                names.append((name, ""))
    unique = list(dict.fromkeys(names))
    yield from make_list(unique, kind="prose", bonus=2.0, floor=2.0)


def _enumerations(text: str) -> Iterator[LabelList]:
    text = re.sub(r"<(\w+)>", r"\1", re.sub(r"\s*\([^()\n]*\)", "", text))
    for match in _ENUMERATION.finditer(text):
        pairs = [(item, "") for item in split_inline(match[1])]
        yield from make_list(pairs, kind="enumeration", bonus=1.0, floor=1.0)


def _identifiers(text: str) -> Iterator[LabelList]:
    counts: dict[str, int] = {}
    for match in _LOOSE_IDENTIFIER.finditer(text):
        counts[match[0].rstrip("?") if counts.get(match[0].rstrip("?")) else match[0]] = 1
    pairs = [(name, "") for name in counts]
    yield from make_list(pairs, kind="identifiers", bonus=0.0, floor=1.0)

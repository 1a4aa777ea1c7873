"""Finds, inside a user message, the text that is to be classified, and what surrounds it.

Task apps wrap the text in many ways: a tag, a field ("Customer Query: ..."), a request ("Classify
this message: ...") or not at all. The surroundings may hold the label list, so they are returned as
well.
"""

import re
from dataclasses import dataclass
from typing import Final

from burnish.local.labels import find_label_lists
from burnish.local.markup import elements

# Stands in the surroundings where the query was; cannot occur in a chat message that means
# anything.
HOLE: Final = "\x00"

FIELD_WORDS: Final = (
    "query|message|text|input|utterance|question|ticket|request|e-?mail|review|sentence|complaint|"
    "comment|tweet|post|headline|document|statement|transcript|passage|article|paragraph|title|"
    "content|snippet|q"
)
_QUALIFIERS: Final = (
    "customer|customer's|user|user's|client|client's|input|new|the|this|that|next|current|incoming|"
    "inbound|support|following|given|target|test|final|chat|search|raw|original|text|sms|news|"
    "product|movie|now|here|is|caller|caller's|member|guest|patient|student|employee"
)
_QUERY_TAG: Final = re.compile(rf"(?:[a-z]+[_-])?(?:{FIELD_WORDS})", re.IGNORECASE)
_FIELD: Final = re.compile(
    rf"^[ \t>#*_-]*+(?:(?:{_QUALIFIERS})[ \t]+){{0,3}}(?:{FIELD_WORDS})(?:[ \t]*\([^)\n]*\))?"
    r"[*_ \t]{0,8}:[*_ \t]{0,8}",
    re.IGNORECASE | re.MULTILINE,
)
_REQUEST: Final = re.compile(
    r"^[ \t]{0,12}(?:please[ \t]+|now[ \t]+)?(?:classify|label|categori[sz]e|tag|read|here is|"
    r"here's|given|route|identify|determine|what|which|assign|sort|decide|predict|find|analy[sz]e|consider)\b"
    rf"[^\n:]{{0,100}}\b(?:{FIELD_WORDS}|this|following)[*_ \t]*+:[*_ \t]*+",
    re.IGNORECASE | re.MULTILINE,
)
_END: Final = re.compile(
    r"\n[ \t]*(?:"
    r"[#*]*[A-Z][^\n:.?!]{0,50}:[*_]*[ \t]*(?:\n|\Z)"
    r"|[#*]*(?:the[ \t]+)?(?:(?:available|possible|candidate|allowed|valid|known|correct|your|"
    r"all)[ \t]+)*(?:labels?|intents?|categor(?:y|ies)|class(?:es)?|options?|topics?|tags?|"
    r"answer|output|response|"
    r"choices|prediction|sentiment|department|queues?)(?:[ \t]*\([^)\n]*\))?[*_]*[ \t]*:"
    r"|</?[a-z][\w-]*>"
    r"|(?:---|===|###|```)"
    r"|\n[ \t]*(?:please[ \t]+)?(?:classify|choose|reply|answer|return|select|pick|respond|output|"
    r"determine|identify|label|categori[sz]e|use the|call the|assign)\b"
    r")",
    re.IGNORECASE,
)
_IMPERATIVE: Final = re.compile(
    r"\s{0,20}(?:please\s+)?(?:classify|choose|reply|answer|return|select|pick|respond|output|determine|"
    r"identify|label|categori[sz]e|use the|call the|assign|which of)\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"[\"\u201c]([^\"\u201c\u201d\n]{4,})[\"\u201d]")
_QUOTES: Final = (('"""', '"""'), ("```", "```"), ('"', '"'), ("\u201c", "\u201d"), ("`", "`"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMessage:
    """A user message taken apart: the query, and the rest with `HOLE` in the query's place."""

    query: str
    rest: str


def split_query(text: str) -> SplitMessage:
    """Takes a user message apart; with no recognisable wrapping the whole message is the query."""
    tagged = [each for each in elements(text) if _QUERY_TAG.fullmatch(each.tag)]
    if tagged:
        return _cut(text, tagged[-1].start, tagged[-1].end)
    # The last field wins: earlier ones belong to worked examples written into the same message.
    found = [match for match in (_last(_FIELD, text), _last(_REQUEST, text)) if match is not None]
    if found:
        start = max(match.end() for match in found)
        end = _END.search(text, _skip_blank(text, start))
        return _cut(text, start, len(text) if end is None else end.start())
    return _unwrapped(text)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last


def _skip_blank(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _cut(text: str, start: int, end: int) -> SplitMessage:
    query = text[start:end].strip()
    for left, right in _QUOTES:
        if len(query) > len(left) + len(right) and query.startswith(left) and query.endswith(right):
            query = query[len(left) : -len(right)].strip()
            break
    return SplitMessage(query=query, rest=f"{text[:start]}{HOLE}{text[end:]}")


def _unwrapped(text: str) -> SplitMessage:
    if _IMPERATIVE.match(text):
        quoted = _last(_QUOTED, text)
        if quoted is not None:
            return _cut(text, quoted.start(1), quoted.end(1))
    blocks = re.split(r"\n[ \t]*\n", text)
    if len(blocks) == 1 and "\n" not in text.strip():
        return SplitMessage(query=text.strip(), rest=HOLE)
    around = [block for block in blocks if _IMPERATIVE.match(block) or find_label_lists(block)]
    query = "\n\n".join(block for block in blocks if block not in around).strip()
    if not query:
        return SplitMessage(query=text.strip(), rest=HOLE)
    return SplitMessage(query=query, rest="\n\n".join([*around, HOLE]))

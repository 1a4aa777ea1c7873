"""What a label list is made of: names, the text beside them, and how text splits into them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_HEAD_WORDS: Final = (
    r"labels?|intents?|categor(?:y|ies)|class(?:es)?|options?|topics?|choices?|queues?|tags?|types?|"
    r"departments?|priorit(?:y|ies)|severit(?:y|ies)|levels?|statuse?s?|ratings?|sentiments?|emotions?|genres?|languages?|buckets?|routes?|teams?|codes?|targets?|"
    r"kinds?|domains?|groups?|sections?|values|answers?|names?|outcomes?|classifications?"
)
HEADING: Final = re.compile(rf"\b(?:{_HEAD_WORDS})\b", re.IGNORECASE)
BULLET: Final = re.compile(r"^\s*(?:[-*\u2022+\u2013]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+(\S.*)$")
_MARKED: Final = re.compile(
    r"^(?:`([^`]+)`|\*\*([^*]+?)\s*:?\*\*|\"([^\"]+)\"|'([^']+)'|__([^_]+)__|\[([^\]]+)\])"
    r"\s*(?:[:=\u2013\u2014-]+>?\s*(.*)|(\S.*)|)$"
)
_NAMED: Final = re.compile(
    r"^(.{1,60}?)(?:\s*:\s+|\s+[-\u2013\u2014]{1,2}\s+|\s*[=-]>\s*|\s*\u2192\s*|\s+=\s+|\t+)(\S.*)$"
)
_NAME_KEY: Final = re.compile(r"^(?:name|label|id|intent|category|class|value):\s+(?=\S+$)")
_ENUMERATOR: Final = re.compile(r"^\(?\w{1,2}[).]\s+")
_BRACKETED: Final = re.compile(r"^(\S+)\s+\((.+)\)\.?$")
_IDENTIFIER: Final = re.compile(
    r"^(?=.*[A-Za-z])(?:[\w.&/-]*(?:_|\d|[a-z][A-Z]|-|/)[\w.&/?!-]*|[A-Z]{2,})$"
)
# Names that head a field of a prompt, an answer or a worked example, never a label.
NOT_LABELS: Final = frozenset(
    re.findall(
        r"\w+",
        "label labels intent intents category categories class answer output input message query "
        "text example examples note notes expected confidence reason reasoning explanation "
        "response question customer user assistant system task rules rule instructions "
        "instruction format important context warning tip tips role goal steps step it the this "
        "that one them none both predicted sentence tweet review ticket",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelList:
    """Labels found together, in order, with the text beside each ("" when there is none).

    A higher `score` says that the form and the heading make it likelier to be the label list.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...]
    kind: str
    score: float


def is_identifier(name: str) -> bool:
    """Tells whether a name looks like a code or variable name rather than like ordinary words."""
    return _IDENTIFIER.match(name) is not None


def make_list(
    pairs: Iterable[tuple[str, str]], *, kind: str, bonus: float, floor: float
) -> Iterator[LabelList]:
    """Yields the list that the (name, text) pairs make, or nothing when they hardly look like one.

    The score is `bonus` and what the names look like; below `floor` there is no list.
    """
    kept: dict[str, str] = {}
    total = 0
    for name, note in pairs:
        total += 1
        if is_name(name) and name not in kept:
            kept[name] = note
    if len(kept) < 2 or len(kept) < 0.6 * total:
        return
    identifiers = sum(is_identifier(name) for name in kept) / len(kept)
    score = bonus + 2.0 * identifiers + (0.5 if all(kept.values()) else 0.0)
    if score >= floor:
        yield LabelList(names=tuple(kept), notes=tuple(kept.values()), kind=kind, score=score)


def is_name(name: str) -> bool:
    """Tells whether a text may be a label: short, and not the end of a sentence."""
    if not 0 < len(name) <= 60 or len(name.split()) > 6:
        return False
    if name[-1] in ".:;,!" or not any(char.isalnum() for char in name):
        return False
    return not any(mark in name for mark in ("{", "}", "<", ">", '"', "\x00"))


def split_item(item: str) -> tuple[str, str]:
    """Splits one list item into the name and the text beside it."""
    item = _NAME_KEY.sub("", item.strip())
    marked = _MARKED.match(item.rstrip(","))
    if marked is not None:
        name = next(group for group in marked.groups()[:6] if group is not None)
        return name.strip().strip("`"), (marked[7] or marked[8] or "").strip()
    named = _NAMED.match(item)
    if named is not None and len(named[1].split()) <= 6:
        return named[1].strip().strip("`*\"'"), named[2].strip()
    bracketed = _BRACKETED.match(item)
    if bracketed is not None:
        return bracketed[1], bracketed[2]
    bare = item.rstrip(",;").strip("`*\"'")
    return (bare.rstrip(".") if " " not in bare else bare), ""


def split_inline(value: str) -> list[str]:
    """Splits "a, b and c", "a | b | c" or "a or b" into names, up to the end of the sentence."""
    value = re.split(r"\.(?=\s|$)|\n\s*\n", value, maxsplit=1)[0].strip().strip("[](){}")
    value = value.split(")")[0] if "(" not in value else value
    for separator in ("|", ";", ",", " / "):
        if separator in value:
            items = value.split(separator)
            break
    else:
        items = re.split(r"\s+or\s+", value)
    last = re.sub(r"^\s*(?:and|or)\s+", "", items[-1])
    pair = re.split(r"\s+(?:and|or)\s+", last.strip())
    if last == items[-1] and len(pair) == 2 and _short_as(items[:-1], pair):
        items = [*items[:-1], *pair]
    else:
        items = [*items[:-1], last]
    bare = (_ENUMERATOR.sub("", item.strip()) for item in items)
    return [item.strip("`*\"'").strip() for item in bare if item.strip()]


def _short_as(others: Sequence[str], pair: Sequence[str]) -> bool:
    """Tells whether both ends of "b and c" are no longer than the names before them."""
    longest = max((len(item.split()) for item in others), default=0)
    return all(len(item.split()) <= longest for item in pair)

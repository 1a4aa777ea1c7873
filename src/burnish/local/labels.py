"""Finds label lists written in plain text, in every form that prompts use.

Numbered, bulleted, back-ticked, bold, comma list, JSON array, one per line, "name: text", "name -
text", XML tags, prose ("Use X when ...") and, as the last resort, tokens that look like
identifiers. Nothing here knows any label.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_HEAD_WORDS: Final = (
    r"labels?|intents?|categor(?:y|ies)|class(?:es)?|options?|topics?|choices?|queues?|tags?|types?|"
    r"departments?|sentiments?|emotions?|genres?|languages?|buckets?|routes?|teams?|codes?|targets?|"
    r"kinds?|domains?|groups?|sections?|values|answers?|names?|outcomes?|classifications?"
)
HEADING: Final = re.compile(rf"\b(?:{_HEAD_WORDS})\b", re.IGNORECASE)
_VERB: Final = re.compile(
    r"\b(?:choose|select|pick|classify|one of|from|between|among|following|into)\b", re.IGNORECASE
)
_BULLET: Final = re.compile(r"^\s*(?:[-*\u2022+\u2013]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+(\S.*)$")
_MARKED: Final = re.compile(
    r"^(?:`([^`]+)`|\*\*([^*]+?)\s*:?\*\*|\"([^\"]+)\"|'([^']+)'|__([^_]+)__|\[([^\]]+)\])"
    r"\s*(?:[:=\u2013\u2014-]+>?\s*(.*)|(\S.*)|)$"
)
_NAMED: Final = re.compile(
    r"^(.{1,60}?)(?:\s*:\s+|\s+[-\u2013\u2014]{1,2}\s+|\s*[=-]>\s*|\s*\u2192\s*|\s+=\s+|\t+)(\S.*)$"
)
_BRACKETED: Final = re.compile(r"^(\S+)\s+\((.+)\)\.?$")
_IDENTIFIER: Final = re.compile(
    r"^(?=.*[A-Za-z])(?:[\w.&/-]*(?:_|\d|[a-z][A-Z]|-|/)[\w.&/?!-]*|[A-Z]{2,})$"
)
_LOOSE_IDENTIFIER: Final = re.compile(
    r"(?<![\w/.@-])(?:[A-Za-z]\w*(?:_\w+)+\??|[A-Z]{1,4}-?\d{1,4}|[a-z]+(?:[A-Z][a-z]+)+)(?![\w@/])"
)
_INLINE: Final = re.compile(r"^([^\n:(\[]{0,120}?)[ \t]*[:(][ \t]*(?=\S)", re.MULTILINE)
_WRAPPED: Final = re.compile(r"(?:[^\n]*,[ \t]*\n)*[^\n]+")
_WORD: Final = r"(?!(?:and|or)\b)[\w/-]+"
_ENUMERATION: Final = re.compile(
    r"\b(?:one of|either|between|among|as|into|are)\s+"
    rf"((?:{_WORD}(?: {_WORD}){{0,2}}, )*{_WORD}(?: {_WORD})?,? (?:and|or) {_WORD}(?: {_WORD})?)",
    re.IGNORECASE,
)
_ARRAY: Final = re.compile(r"\[[^\[\]{}]{3,}\]")
_OBJECT: Final = re.compile(r"\{[^{}]{3,}\}")
_ELEMENT: Final = re.compile(
    r"<([A-Za-z][\w.-]*)((?:\s+[\w-]+=\"[^\"]*\")*)\s*(?:/>|>((?:(?!<\1[\s>]).)*?)</\1>)", re.DOTALL
)
_ATTRIBUTE: Final = re.compile(r"\b(?:name|id|label|value|key|code)=\"([^\"]+)\"", re.IGNORECASE)
_CHILD: Final = re.compile(
    r"<(name|id|label|value|code|title)>(.*?)</\1>", re.DOTALL | re.IGNORECASE
)
_MARKUP: Final = re.compile(r"</?[A-Za-z][^<>]*>")
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
    rf"\b(?:if|when|whenever|for)\b[^.;\n]*?,\s*(?:then\s+)?{_SAY}\s+{_NAME}\s*(?=[.;\n]|$)",
    re.IGNORECASE,
)
_MEANS: Final = re.compile(
    rf"^\s*{_NAME}\s+(?:means|covers|is for|is when|is used|applies|refers to|describes|includes)"
    r"\b",
    re.IGNORECASE | re.MULTILINE,
)
# Names that head a field of a prompt, an answer or a worked example, never a label.
_NOT_LABELS: Final = frozenset(
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


def find_label_lists(text: str) -> list[LabelList]:
    """Returns every plausible label list of a text, best first."""
    found = [*_lines(text), *_inline(text), *_json(text), *_xml(text), *_prose(text)]
    if not found:
        found = [*_enumerations(text), *_identifiers(text)]
    return sorted(found, key=lambda each: (-each.score, -len(each.names)))


def _make(
    pairs: Iterable[tuple[str, str]], *, kind: str, bonus: float, floor: float
) -> Iterator[LabelList]:
    kept: dict[str, str] = {}
    total = 0
    for name, note in pairs:
        total += 1
        if _is_name(name) and name not in kept:
            kept[name] = note
    if len(kept) < 2 or len(kept) < 0.6 * total:
        return
    identifiers = sum(is_identifier(name) for name in kept) / len(kept)
    score = bonus + 2.0 * identifiers + (0.5 if all(kept.values()) else 0.0)
    if score >= floor:
        yield LabelList(names=tuple(kept), notes=tuple(kept.values()), kind=kind, score=score)


def _is_name(name: str) -> bool:
    if not 0 < len(name) <= 60 or len(name.split()) > 6:
        return False
    if name[-1] in ".:;,!" or not any(char.isalnum() for char in name):
        return False
    return not any(mark in name for mark in ("{", "}", "<", ">", "\x00"))


def split_item(item: str) -> tuple[str, str]:
    """Splits one list item into the name and the text beside it."""
    item = item.strip()
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


def _lines(text: str) -> Iterator[LabelList]:
    run: list[tuple[str, str]] = []
    raw: list[str] = []
    kind, heading, before = "", "", ""
    for line in [*text.splitlines(), ""]:
        bullet = _BULLET.match(line)
        item = line.strip() if bullet is None else bullet[1]
        pair = split_item(item)
        here = _line_kind(line, pair, is_bullet=bullet is not None)
        if not line.strip() and kind in ("bullet", "described"):
            continue
        if here != kind or (kind == "bullet" and _indent(line) == 0 and _ends(line)):
            yield from _run(run, raw, kind, heading)
            run, raw, kind = [], [], here
            heading = before
        if here:
            run.append(pair)
            raw.append(item)
        if line.strip():
            before = line.strip()
    yield from _run(run, raw, kind, heading)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _ends(line: str) -> bool:
    return line.rstrip().endswith(":")


def _line_kind(line: str, pair: tuple[str, str], *, is_bullet: bool) -> str:
    if is_bullet:
        return "bullet"
    if not line.strip() or _ends(line) or line.lstrip().startswith(("#", "<", "|", "{", "[")):
        return ""
    name, note = pair
    if not _is_name(name) or name.lower() in _NOT_LABELS:
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
        run = [(name, note) for name, note in run if is_identifier(name)]
    floor = {"bullet": 1.6, "described": 2.2}.get(kind, 1.9)
    pairs = run
    if kind == "bare" and titled == 0.0 and len(heading.split()) == 1 and is_identifier(heading):
        pairs = [(heading, ""), *run]
    bonus = titled + (1.0 if kind == "bullet" else 0.0)
    yield from _make(pairs, kind=kind, bonus=bonus, floor=floor)


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
        pairs = [(item, "") for item in _split_inline(value[0])]
        yield from _make(pairs, kind="inline", bonus=3.0 if titled else 2.0, floor=2.0)


def _split_inline(value: str) -> list[str]:
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
    return [item.strip().strip("`*\"'").strip() for item in items if item.strip()]


def _short_as(others: Sequence[str], pair: Sequence[str]) -> bool:
    """Tells whether both ends of "b and c" are no longer than the names before them."""
    longest = max((len(item.split()) for item in others), default=0)
    return all(len(item.split()) <= longest for item in pair)


def _json(text: str) -> Iterator[LabelList]:
    for match in _ARRAY.finditer(text):
        value = _literal(match[0])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            titled = HEADING.search(text[max(0, match.start() - 80) : match.start()])
            pairs = [(item.strip(), "") for item in value]
            yield from _make(pairs, kind="json", bonus=3.5 if titled else 2.0, floor=2.0)
    for match in _OBJECT.finditer(text):
        value = _literal(match[0])
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            pairs = [
                (str(key).strip(), str(note))
                for key, note in value.items()
                if str(key).lower() not in _NOT_LABELS
            ]
            yield from _make(pairs, kind="json", bonus=2.0, floor=2.0)


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _xml(text: str) -> Iterator[LabelList]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for match in _ELEMENT.finditer(text):
        tag, attributes, body = match[1], match[2] or "", match[3] or ""
        if HEADING.fullmatch(tag.replace("_", " ").split(" ")[-1]) and "<" in body:
            groups.setdefault(f"in {tag}", []).extend(_children(body))
        elif HEADING.fullmatch(tag.replace("_", " ").split(" ")[-1]) and tag.endswith("s"):
            yield from _container(body)
        else:
            groups.setdefault(tag, []).append(_element(attributes, body))
    for tag, pairs in groups.items():
        titled = HEADING.search(tag.replace("_", " ")) is not None
        yield from _make(pairs, kind="xml", bonus=3.5 if titled else 0.5, floor=2.5)


def _container(body: str) -> Iterator[LabelList]:
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    if len(lines) == 1:
        pairs = [(item, "") for item in _split_inline(lines[0])]
    else:
        items = (_BULLET.match(line) for line in lines)
        pairs = [
            split_item(line if item is None else item[1])
            for line, item in zip(lines, items, strict=True)
        ]
    yield from _make(pairs, kind="xml", bonus=4.0, floor=2.5)


def _children(body: str) -> Iterator[tuple[str, str]]:
    for match in _ELEMENT.finditer(body):
        if HEADING.fullmatch(match[1]) or _ATTRIBUTE.search(match[2] or ""):
            yield _element(match[2] or "", match[3] or "")
        elif match[1].lower() in ("item", "entry", "li"):
            yield _element("", match[3] or "")
        else:
            yield match[1], _MARKUP.sub(" ", match[3] or "").strip()


def _element(attributes: str, body: str) -> tuple[str, str]:
    named = _ATTRIBUTE.search(attributes)
    if named is not None:
        return named[1].strip(), _MARKUP.sub(" ", body).strip()
    child = _CHILD.search(body)
    if child is not None:
        rest = body[: child.start()] + body[child.end() :]
        return child[2].strip(), " ".join(_MARKUP.sub(" ", rest).split())
    return split_item(body)


def _prose(text: str) -> Iterator[LabelList]:
    names: list[tuple[str, str]] = []
    for pattern in (_USE_WHEN, _WHEN_USE, _MEANS):
        for match in pattern.finditer(text):
            quoted = next((group for group in match.groups()[:4] if group is not None), None)
            name = (quoted or match[5] or "").strip()
            bare_ok = " " not in name or is_identifier(name) or name[:1].isupper()
            if name and name.lower() not in _NOT_LABELS and (quoted is not None or bare_ok):
                names.append((name, ""))
    unique = list(dict.fromkeys(names))
    yield from _make(unique, kind="prose", bonus=2.0, floor=2.0)


def _enumerations(text: str) -> Iterator[LabelList]:
    for match in _ENUMERATION.finditer(text):
        pairs = [(item, "") for item in _split_inline(match[1])]
        yield from _make(pairs, kind="enumeration", bonus=1.0, floor=1.0)


def _identifiers(text: str) -> Iterator[LabelList]:
    counts: dict[str, int] = {}
    for match in _LOOSE_IDENTIFIER.finditer(text):
        counts[match[0].rstrip("?") if counts.get(match[0].rstrip("?")) else match[0]] = 1
    pairs = [(name, "") for name in counts]
    yield from _make(pairs, kind="identifiers", bonus=0.0, floor=1.0)

"""Combines two instructions without a language model: line by line, list by list.

Paragraphs that only one of the two has are taken over. Where both have a list under the same
heading, its items are joined, so that a guide of phrases per label keeps the phrases of both.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from burnish.local.chat import BadChatRequest
from burnish.local.completion import count_tokens
from burnish.local.meta import records, text_of
from burnish.local.text import words

_ITEM: Final = re.compile(r"(- [^:\n]{1,80}:)[ \t]*(.*)")
_PARAGRAPHS: Final = re.compile(r"\n[ \t]*\n")
_SHARES: Final = (1.0, 0.5, 0.25, 0.1)
_ALIKE: Final = 0.8


def merge(
    parts: Mapping[str, str], *, max_tokens: int | None, variant: int, extras: Sequence[str]
) -> str:
    """Returns the JSON answer to a request for a merge, another one for each variant.

    Args:
        parts: The blocks of the meta-prompt.
        max_tokens: The answer is made to fit; None leaves it free.
        variant: Number of the answer, from 0.
        extras: Sentences that may be added to tell later combinations apart.

    Raises:
        BadChatRequest: There are not two parents.
    """
    parents = [text_of(record, "instruction") for record in records(parts.get("parents", ""))]
    if len(parents) != 2:
        raise BadChatRequest("a merge needs two <parents>, one a line", param="messages")
    known = {text.strip() for text in parents}
    known |= {text_of(one, "instruction").strip() for one in records(parts.get("history", ""))}
    found = []
    for text in merges(parents[0], parents[1], extras=extras):
        answer = _answer(text, "the parts of both instructions, joined")
        if text in known or (max_tokens is not None and count_tokens(answer) > max_tokens):
            continue
        known.add(text)
        found.append(answer)
        if len(found) > variant:
            break
    return found[-1] if found else _answer(parents[0], "nothing new fits")


def _answer(text: str, how: str) -> str:
    rationale = f"local-proposer (not a language model): {how}"
    return json.dumps({"instruction": text, "rationale": rationale}, ensure_ascii=False)


def merges(first: str, second: str, *, extras: Sequence[str]) -> Iterator[str]:
    """Yields combinations, the fullest first; they may repeat each other.

    Args:
        first: The better instruction.
        second: The other one.
        extras: Sentences that may be added to tell later combinations apart.
    """
    for extra, share in product(("", *extras), _SHARES):
        for base, other in ((first, second), (second, first)):
            text = _joined(base, other, share)
            yield f"{text}\n\n{extra}" if extra else text


def _joined(base: str, other: str, share: float) -> str:
    parts = _PARAGRAPHS.split(base.strip())
    heads = {_head(part): place for place, part in enumerate(parts) if _items(part)}
    for part in _PARAGRAPHS.split(other.strip()):
        place = heads.get(_head(part))
        if place is not None and _items(part):
            parts[place] = _with_items(parts[place], part, share)
        elif not any(_alike(part, known) for known in parts):
            parts.append(part)
    return "\n\n".join(parts)


def _with_items(part: str, other: str, share: float) -> str:
    found = _items(other)
    lines = []
    for line in part.splitlines():
        match = _ITEM.match(line)
        new = found.pop(match[1], []) if match else []
        if match and new:
            known = _split(match[2])
            fresh = [item for item in new if item not in known]
            kept = fresh[: max(1, round(share * len(fresh)))]
            line = f"{match[1]} {', '.join([*known, *kept])}"
        lines.append(line)
    lines.extend(f"{label} {', '.join(items)}" for label, items in found.items())
    return "\n".join(lines)


def _items(part: str) -> dict[str, list[str]]:
    matches = (_ITEM.match(line) for line in part.splitlines())
    return {match[1]: _split(match[2]) for match in matches if match}


def _split(text: str) -> list[str]:
    return [item for item in (one.strip() for one in text.split(",")) if item]


def _head(part: str) -> str:
    return part.partition("\n")[0].strip()


def _alike(one: str, other: str) -> bool:
    mine, theirs = set(words(one)), set(words(other))
    if not mine:
        return True
    return len(mine & theirs) / len(mine) >= _ALIKE

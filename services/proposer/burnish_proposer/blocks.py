r"""The tagged blocks of a meta-prompt, written so that what they hold cannot close them.

Rows are strangers' text. They are JSON lines in which every `<` is written `\u003c`, so that a row
can neither close its block nor open another, and still reads back unchanged. Prose keeps its
brackets but for those of our own tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

NAMES = (
    "task",
    "variant",
    "stage",
    "program",
    "specification",
    "dataset_summary",
    "examples",
    "demos",
    "failures",
    "history",
    "references",
    "parents",
    "avoid",
    "guidance",
    "placeholders",
    "protected",
    "tip",
    "refused",
    "current_instruction",
)
_OWN_TAG = re.compile(rf"<(?=\s*/?\s*(?:{'|'.join(NAMES)})\b)", re.IGNORECASE)
_CUT = " […]"


def json_line(value: object) -> str:
    """Returns a value as one line of JSON without a `<`."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    # JSON leaves these as they are, while some readers take them for the end of a line.
    for separator in ("\u2028", "\u2029", "\x85"):
        text = text.replace(separator, f"\\u{ord(separator):04x}")
    return text.replace("<", "\\u003c")


def json_block(name: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Returns a block of JSON lines, or an empty text for no rows."""
    return _block(name, "\n".join(json_line(row) for row in rows)) if rows else ""


def prose_block(name: str, text: str) -> str:
    """Returns a block of prose, or an empty text for none."""
    return _block(name, _OWN_TAG.sub("&lt;", text)) if text.strip() else ""


def word_block(name: str, word: str) -> str:
    """Returns a block on one line, for text of our own."""
    return f"<{name}>{word}</{name}>"


def cut(text: str, *, max_chars: int) -> str:
    """Returns a text no longer than `max_chars`, with a mark where it was cut."""
    return text if len(text) <= max_chars else text[: max_chars - len(_CUT)] + _CUT


def tokens(text: str) -> int:
    """Returns an estimate of the tokens of a text: four bytes each, rounded up."""
    return -(-len(text.encode()) // 4)


def _block(name: str, content: str) -> str:
    return f"<{name}>\n{content}\n</{name}>"

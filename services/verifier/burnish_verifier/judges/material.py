r"""What strangers wrote, made safe to be shown to a judge.

A rollout's output and its trace are data that may try to be instructions. They are shown as JSON
lines inside of tagged blocks: every `<` in them is written `\u003c`, so that no text can close its
block or open another, and characters that a reader cannot see are taken out. What is shown is the
same on every try, so that a judgement that was paid for is found again.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# What no reader sees: controls, marks of direction, fillers, selectors of variants of what stands
# before, halves of characters, and tags. Format characters that are seen, as Arabic has, are kept.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb"
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# They shape letters of some scripts, and make one picture of several; elsewhere they only hide.
_JOINER: Final = re.compile("[\u200c\u200d]")
_BREAKS: Final = ("\u2028", "\u2029", "\x85")
_PLAIN: Final = re.compile(r"[\t\n\r -~]*")
_WORD: Final = re.compile(r"[^\W\d_]+")
# Letters of other scripts that look like Latin ones.
_LOOKALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
    "\u03bf\u03b1\u03bd\u03c1\u03b9\u03ba\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d"
    "\u039f\u03a1\u03a4\u03a5\u03a7",
    "aeopcyxijshdqwABEKMHOPCTYXIJSoavpikABEZHIKMNOPTYX",
)
_POSING: Final = re.compile(f"[{''.join(map(chr, _LOOKALIKES))}]")
_LATIN: Final = re.compile(r"[A-Za-z]")
CUT: Final = " [\u2026]"


@dataclass(slots=True)
class Cleaner:
    """Takes out what cannot be seen, and counts it.

    Attributes:
        hidden: Characters that were taken out.
    """

    hidden: int = 0

    def text(self, text: str) -> str:
        """Returns a text without hidden characters.

        Letters that only look Latin become Latin where they stand in a word with Latin letters:
        words that are whole in their own script stay as they are.
        """
        if _PLAIN.fullmatch(text) is not None:
            return text
        seen = _JOINER.sub(_joined, _HIDDEN.sub("", text))
        self.hidden += len(text) - len(seen)
        return _WORD.sub(_unmasked, seen) if _POSING.search(seen) is not None else seen

    def value(self, value: Any) -> Any:  # noqa: ANN401
        """Returns a JSON value with every text in it cleaned."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return value


def json_line(value: object) -> str:
    """Returns a value as one line of JSON without a `<`."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    for mark in _BREAKS:
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.replace("<", "\\u003c")


def block(name: str, rows: Iterable[object]) -> str:
    """Returns a block of JSON lines, or an empty text for no rows."""
    lines = "\n".join(json_line(row) for row in rows)
    return f"<{name}>\n{lines}\n</{name}>" if lines else ""


def word_block(name: str, word: str) -> str:
    """Returns a block on one line, for words of our own."""
    return f"<{name}>{word}</{name}>"


def cut(text: str, *, max_tokens: int) -> str:
    """Returns a text of at most so many tokens, with a mark where it was cut."""
    data = text.encode()
    limit = max_tokens * 4
    if len(data) <= limit:
        return text
    return data[: max(limit - len(CUT.encode()), 0)].decode(errors="ignore") + CUT


def tokens(text: str) -> int:
    """Returns an estimate of the tokens of a text: four bytes each, rounded up."""
    return -(-len(text.encode()) // 4)


def as_text(value: object) -> str:
    """Returns a JSON value as text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def hidden_note(count: int) -> Mapping[str, int] | None:
    """Returns what a judge is told of hidden characters; None when there were none."""
    return {"invisible_characters_removed": count} if count else None


def _joined(match: re.Match[str]) -> str:
    text, place = match.string, match.start()
    around = text[max(place - 1, 0) : place] + text[place + 1 : place + 2]
    return match.group() if len(around) == 2 and all(map(_shapes, around)) else ""


def _shapes(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMS" and not char.isascii()


def _unmasked(match: re.Match[str]) -> str:
    word = match.group()
    return word.translate(_LOOKALIKES) if _LATIN.search(word) is not None else word

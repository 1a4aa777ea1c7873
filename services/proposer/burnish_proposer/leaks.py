"""Finds rows of the data in a text: whole ones, and long runs of words out of one.

An instruction that quotes its training rows scores well on them and says nothing of others, and it
hands people's texts on to whoever sees the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# A Chinese or Japanese character counts as a word, since nothing parts the words there.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_PIECE = re.compile(rf"{_WORD.pattern}|[^\w\s]")
_SIGN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_MARK = re.compile(r"[^\w\s]")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
_ROW_WORDS = 6
RUN_WORDS = 10

# Beyond this much text not every run is kept: of very long rows a leak has to be a little longer to
# be found, and the memory of the guard stays within some tens of megabytes.
_MOST_INDEXED_CHARS = 4_000_000

_Run = tuple[str, ...]


class RowIndex:
    """Finds rows in a text by their first words, and parts of them by runs of words."""

    def __init__(self, rows: Iterable[str], *, exempt: Iterable[str] = ()) -> None:
        """Reads the rows.

        Args:
            rows: Texts that no instruction may copy; those of less than six words are left out.
            exempt: Texts whose quotations may be quoted on, such as the program's own prompt.
        """
        self._rows: dict[_Run, set[_Run]] = {}
        self._runs: set[int] = set()
        texts = list(rows)
        stride = 1 + sum(map(len, texts)) // _MOST_INDEXED_CHARS
        for row in texts:
            pieces = _pieces(row)
            if sum(_MARK.fullmatch(piece) is None for piece in pieces) >= _ROW_WORDS:
                self._rows.setdefault(pieces[:_ROW_WORDS], set()).add(pieces)
                self._runs.update(_runs(row, stride))
        for text in exempt:
            for pieces in self._found(text):
                self._rows[pieces[:_ROW_WORDS]].discard(pieces)
            self._runs.difference_update(_runs(text))

    def copied(self, text: str) -> tuple[int, int]:
        """Returns how many different rows stand in a text whole, and how many runs of words do.

        Overlapping runs count as one.
        """
        found, last = 0, -RUN_WORDS
        for place, run in enumerate(_runs(text)):
            if run in self._runs:
                found += place >= last + RUN_WORDS
                last = place
        return len(self._found(text)), found

    def _found(self, text: str) -> set[_Run]:
        pieces = _pieces(text)
        found = set()
        for start in range(len(pieces) - _ROW_WORDS + 1):
            for row in self._rows.get(pieces[start : start + _ROW_WORDS], ()):
                if pieces[start : start + len(row)] == row:
                    found.add(row)
        return found


def _runs(text: str, stride: int = 1) -> list[int]:
    # Words alone: a mark that is changed or left out does not make a copy another text.
    words = _WORD.findall(text.casefold())
    found = []
    for start in range(0, len(words) - RUN_WORDS + 1, stride):
        run = tuple(words[start : start + RUN_WORDS])
        if all(_SIGN.fullmatch(word) for word in run):
            # Where each sign counts as a word, ten of them are no more than a turn of phrase.
            run = tuple(words[start : start + 2 * RUN_WORDS])
            if len(run) < 2 * RUN_WORDS:
                break
        found.append(hash(run))
    return found


def _pieces(text: str) -> _Run:
    # Marks count, so that a list of short phrases is not taken for a row that has the same words;
    # those at either end do not, since a quotation often drops them.
    pieces = _PIECE.findall(text.translate(_QUOTES).casefold())
    start, end = 0, len(pieces)
    while start < end and _MARK.fullmatch(pieces[start]):
        start += 1
    while end > start and _MARK.fullmatch(pieces[end - 1]):
        end -= 1
    return tuple(pieces[start:end])

"""The tools that a reading judge has: list, read and search the entries of a trace.

Searching is word by word, never by pattern, so no text that a judge asks for makes it slow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from burnish_verifier.judges.material import json_line
from burnish_verifier.judges.replies import Step
from burnish_verifier.judges.trace import Entry

_OPENING: Final = 80
_AROUND: Final = 120
_LONGEST_SEARCH: Final = 200
_MOST_LISTED: Final = 100
_MOST_HITS: Final = 20

Row = Mapping[str, Any]


class Library:
    """A trace to be read through tools. What a tool returns never exceeds a number of bytes."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def overview(self) -> Row:
        """Returns how long the trace is."""
        return {
            "entries": len(self._entries),
            "events": len({entry.event for entry in self._entries}),
            "characters": sum(len(entry.text) for entry in self._entries),
        }

    def do(self, step: Step, *, max_bytes: int) -> list[Row]:
        """Takes a step.

        Args:
            step: What to list, read or search.
            max_bytes: Most bytes that the rows take as lines of JSON.

        Returns:
            The rows, each with what was asked; at least one, unless not even that fits.
        """
        if step.kind == "list":
            found = self._list(step.entry)
        elif step.kind == "search":
            found = self._search(step.text[:_LONGEST_SEARCH], step.entry)
        else:
            found = [self._read(step, max_bytes=max_bytes)]
        return fitting(found, max_bytes=max_bytes)

    def holds(self, number: int, text: str) -> bool:
        """Returns whether an entry has a text, apart from white space."""
        if number >= len(self._entries) or not text.strip():
            return False
        return " ".join(text.split()) in " ".join(self._entries[number].text.split())

    def _list(self, start: int) -> list[Row]:
        chosen = list(enumerate(self._entries))[start : start + _MOST_LISTED]
        return [
            {
                "entry": number,
                "event": entry.event,
                "role": entry.role,
                "characters": len(entry.text),
                "opening": entry.text[:_OPENING],
            }
            for number, entry in chosen
        ] or [_nothing("list", start)]

    def _read(self, step: Step, *, max_bytes: int) -> Row:
        if step.entry >= len(self._entries):
            return _nothing("read", step.entry)
        entry = self._entries[step.entry]
        row = {
            "entry": step.entry,
            "role": entry.role,
            "start": step.start,
            "of": len(entry.text),
            "text": "",
        }
        room = max_bytes - _bytes(row)
        text = entry.text[step.start : step.start + max(room, 0)]
        while text and _bytes({"text": text}) - _bytes({"text": ""}) > room:
            text = text[: len(text) * 3 // 4]
        return {**row, "text": text}

    def _search(self, text: str, start: int) -> list[Row]:
        if not text:
            return [_nothing("search", start)]
        wanted = re.compile(re.escape(text), re.IGNORECASE)
        hits: list[Row] = []
        for number, entry in enumerate(self._entries):
            if number < start:
                continue
            for match in wanted.finditer(entry.text):
                around = slice(max(match.start() - _AROUND, 0), match.end() + _AROUND)
                hits.append({"entry": number, "start": around.start, "text": entry.text[around]})
                if len(hits) == _MOST_HITS:
                    return hits
        return hits or [_nothing("search", start)]


def fitting(rows: Sequence[Row], *, max_bytes: int) -> list[Row]:
    """Returns the first rows that take at most so many bytes as lines of JSON."""
    kept: list[Row] = []
    room = max_bytes
    for row in rows:
        room -= _bytes(row)
        if room < 0:
            break
        kept.append(row)
    return kept


def _bytes(row: Row) -> int:
    return len(json_line(row).encode()) + 1


def _nothing(kind: str, start: int) -> Row:
    return {"asked": kind, "entry": start, "found": 0}

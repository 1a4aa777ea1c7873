"""Events that differ in their text alone: how one was shown says how the next ones are.

The events of an answer are the same but for a few words each. Once one of them was taken apart, the
others are told by the bytes before and behind their text, and need no parsing.
"""

from __future__ import annotations

import re

# Characters that stand for themselves in JSON, so that such a text can neither end its string nor
# say anything but itself. The others are left to a parser.
_is_plain = re.compile(rb"[ !#-\[\]-~]*").fullmatch


class Alike:
    """How events that are like one are shown."""

    __slots__ = ("_after", "_before", "_head", "_least", "_size", "_tail")

    def __init__(self, around: tuple[bytes, bytes], shown: tuple[bytes, bytes]) -> None:
        """Takes the one event.

        Args:
            around: Its bytes as the provider sent them up to its text, and those behind it.
            shown: The same as the app was shown them.
        """
        self._before, self._after = around
        self._head, self._tail = shown
        self._size = len(self._before)
        self._least = self._size + len(self._after)

    def shown(self, event: bytes) -> bytes | None:
        """Returns what the app is shown of an event; None when it is not like the one."""
        if not event.startswith(self._before) or not event.endswith(self._after):
            return None
        size = len(event)
        # Before the text is cut out, because compiled such a slice is an error and not empty.
        if size < self._least:
            return None
        text = event[self._size : size - len(self._after)]
        if not _is_plain(text):
            return None
        return self._head + text + self._tail

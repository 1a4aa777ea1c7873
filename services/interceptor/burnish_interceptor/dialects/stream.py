"""Turns a provider's event stream into the app's, and keeps its end back until it is journaled.

Events go out as they come, until the answer is over; what follows waits. So an app that has seen
the end of an answer has an answer that will never be paid for again.
"""

from __future__ import annotations

import abc

from burnish_interceptor.app_error import AppError
from burnish_interceptor.dialects import sse
from burnish_interceptor.dialects.alike import Alike
from burnish_interceptor.dialects.allow import NotAnAnswer


class AnswerStream(abc.ABC):
    """One answer on its way through. Pure: bytes in, bytes out.

    Attributes:
        usage: Tokens in and out, once the provider has said.
        failed: Whether the provider reported an error or sent what is no event of an answer, before
            the answer was over.
    """

    def __init__(self) -> None:
        self._parser = sse.Parser()
        self._held: list[bytes] = []
        self._over = False
        self._done = False
        self._like: Alike | None = None
        # The same, while the next piece may well be such an event and nothing else.
        self._next: Alike | None = None
        self.usage: tuple[int, int] | None = None
        self.failed = False

    @property
    def complete(self) -> bool:
        """Whether the provider's answer came to its end."""
        return not self.failed and (self._done or self._over)

    def feed(self, piece: bytes) -> bytes:
        """Takes a piece of the provider's stream; returns what may go to the app now."""
        if self._next is not None and (alike := self._next.shown(piece)) is not None:
            return alike
        if self.failed or self._done:
            return b""
        out: list[bytes] = []
        found: list[bytes] = []
        try:
            found = self._parser.feed(piece)
        except sse.EventTooLong:
            self._done, self.failed = self._over, not self._over
        for data in found:
            if self._done:
                break
            try:
                shown = self._event(data)
            except NotAnAnswer:
                shown = self._again(data)
                if self.failed:
                    break
            if shown is not None:
                (self._held if self._over else out).append(shown)
        going_on = self._parser.between and not (self._over or self._done or self.failed)
        self._next = self._like if going_on else None
        return b"".join(out)

    def finish(self) -> None:
        """Takes the end of a whole reply, whose last event may lack its empty line.

        Only what ends an answer is of use there. So a text is left out, and an event that was cut
        is as if it had not begun.
        """
        if not self.failed:
            self.feed(b"\n\n")
            self.failed = False

    def rest(self) -> bytes:
        """Returns what was kept back, with the end of the stream."""
        return b"".join(self._held)

    def error(self, error: AppError, request_id: str) -> bytes:
        """Returns the event that tells the app of an error after the stream has begun."""
        return sse.encode(error.body(request_id), name=b"error")

    def _again(self, data: bytes) -> bytes | None:
        """Takes an event that was no part of an answer once more, without white space around it.

        One of nothing else is none. Any other is the answer's failure, unless it is over already.
        """
        bare = data.strip()
        if not bare:
            return None
        try:
            return self._event(bare)
        except NotAnAnswer:
            self.failed = not self._over
            return None

    @abc.abstractmethod
    def _event(self, data: bytes) -> bytes | None:
        """Returns what the app is shown of an event, encoded, or None.

        Sets `_over` when the event ends the answer, so that it is held back itself, and may set
        `_like` to how events like it are shown.

        Raises:
            NotAnAnswer: It is an error, or no event of this API.
        """

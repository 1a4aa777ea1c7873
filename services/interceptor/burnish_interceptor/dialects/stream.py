"""Turns a provider's event stream into the app's, and keeps its end back until it is journaled.

Events go out as they come, until all choices are finished; what follows, `[DONE]` included, waits.
So an app that has seen the end of an answer has an answer that will never be paid for again.
"""

from __future__ import annotations

from burnish_interceptor.dialects import rebuild, sse


class AnswerStream:
    """One answer on its way through. Pure: bytes in, bytes out.

    Attributes:
        usage: Tokens in and out, once the provider has said.
        failed: Whether the provider reported an error or sent what is no event of an answer.
    """

    def __init__(self, *, model: str, choices: int, include_usage: bool) -> None:
        """Starts an answer.

        Args:
            model: Model to report to the app.
            choices: How many answers were asked for.
            include_usage: Whether the app asked for usage.
        """
        self._parser = sse.Parser()
        self._model = model
        self._choices = choices
        self._include_usage = include_usage
        self._finished: set[int] = set()
        self._held: list[bytes] = []
        self._done = False
        self.usage: tuple[int, int] | None = None
        self.failed = False

    @property
    def complete(self) -> bool:
        """Whether the provider's answer came to its end."""
        return not self.failed and (self._done or len(self._finished) >= self._choices)

    def feed(self, piece: bytes) -> bytes:
        """Takes a piece of the provider's stream; returns what may go to the app now."""
        out = []
        try:
            for event in self._parser.feed(piece):
                shown = self._event(event)
                if shown is None:
                    continue
                if len(self._finished) >= self._choices:
                    self._held.append(shown)
                else:
                    out.append(shown)
        except (sse.EventTooLong, rebuild.NotAnAnswer):
            self.failed = True
        return b"".join(out)

    def rest(self) -> bytes:
        """Returns what was kept back, with the end of the stream."""
        return b"".join(self._held) + sse.encode(sse.DONE)

    def _event(self, data: bytes) -> bytes | None:
        if self._done or self.failed:
            return None
        if data == sse.DONE:
            self._done = True
            return None
        if rebuild.is_error(data):
            self.failed = True
            return None
        self.usage = rebuild.usage_of(data) or self.usage
        shown, finished = rebuild.chunk(data, model=self._model, usage=self._include_usage)
        self._finished.update(finished)
        return None if shown is None else sse.encode(shown)

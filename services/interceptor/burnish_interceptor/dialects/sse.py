"""Server-sent events: the data of each event out of a byte stream, wherever it is cut."""

from __future__ import annotations

DONE = b"[DONE]"
MAX_EVENT_BYTES = 10 * 1024 * 1024


class EventTooLong(Exception):
    """An event has no end within the limit."""


class Parser:
    """Takes chunks, gives the data of each finished event; drops comments and other fields."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Returns the data of the events that the chunk ends, in order.

        Raises:
            EventTooLong: One event is over `MAX_EVENT_BYTES`.
        """
        text = self._rest + chunk
        # A carriage return at the end may be half of a line break: it waits for the next chunk.
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, tail = lines.split(b"\n")
        self._rest = tail + held
        found = []
        for line in whole:
            event = self._line(line)
            if event is not None:
                found.append(event)
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLong
        return found

    def _line(self, line: bytes) -> bytes | None:
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
        return None


def parse(stream: bytes) -> list[bytes]:
    """Returns the data of every event of a whole stream; the last may lack its empty line."""
    return Parser().feed(stream + b"\n\n")


def encode(data: bytes) -> bytes:
    """Returns an event with one line of data."""
    return b"data: " + data + b"\n\n"

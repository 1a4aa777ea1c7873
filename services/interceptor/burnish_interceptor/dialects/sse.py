"""Server-sent events: the data of each event out of a byte stream, wherever it is cut."""

from __future__ import annotations

DONE = b"[DONE]"
MAX_EVENT_BYTES = 10 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "
_NEW_LINE, _RETURN = b"\n\r"


class EventTooLong(Exception):
    """An event has no end within the limit."""


class Parser:
    """Takes chunks, gives the data of each finished event; drops comments and other fields."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._returns = False
        self._usual = False

    @property
    def between(self) -> bool:
        """Whether the next chunk begins an event, in a stream of the usual form."""
        return self._usual and not self._rest

    def feed(self, chunk: bytes) -> list[bytes]:
        """Returns the data of the events that the chunk ends, in order.

        Raises:
            EventTooLong: One event is over `MAX_EVENT_BYTES`.
        """
        if self._usual and not self._rest and chunk.startswith(_DATA):
            # Exactly one event of one line, as most chunks are. By number, as bytes are found in
            # half the time.
            end = chunk.find(_NEW_LINE)
            if end == len(chunk) - 2 and chunk[end + 1] == _NEW_LINE and _RETURN not in chunk:
                return [chunk[6:end]]
        rest = self._rest + chunk if self._rest else chunk
        if not self._started:
            if _BOM.startswith(rest):
                self._rest = rest
                return []
            self._started = self._usual = True
            rest = rest.removeprefix(_BOM)
        held = b""
        if self._returns or b"\r" in chunk:
            self._returns, self._usual = True, False
            if rest.endswith(b"\r"):
                # It may be half of a line break: it waits for the next chunk.
                held, rest = b"\r", rest[:-1]
            rest = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, tail = rest.split(b"\n\n")
        self._rest = tail + held
        # Behind other events it is too long only at the next chunk, so that they are not lost.
        if len(self._rest) > MAX_EVENT_BYTES and not blocks:
            raise EventTooLong
        found = []
        for block in blocks:
            if block.startswith(_DATA) and b"\n" not in block:
                found.append(block[6:])
            elif (data := _data(block)) is not None:
                found.append(data)
        return found


def parse(stream: bytes) -> list[bytes]:
    """Returns the data of every event of a whole stream; the last may lack its empty line."""
    return Parser().feed(stream + b"\n\n")


def encode(data: bytes, *, name: bytes = b"") -> bytes:
    """Returns an event with one line of data, and perhaps a name."""
    if name:
        return b"event: " + name + b"\ndata: " + data + b"\n\n"
    return _DATA + data + b"\n\n"


def _data(block: bytes) -> bytes | None:
    lines = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None

"""A request as a fake provider heard it, and the line to answer it on, byte by byte."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from burnish.testing.providers.formats import format_of
from burnish.testing.providers.formats.base import Asked, WireFormat, event
from burnish.testing.providers.replies import FakeReply

_PAUSE = 0.02


@dataclass(slots=True, kw_only=True)
class Heard:
    """A request as the provider heard it, and the line to break the answer on.

    Attributes:
        method: HTTP method.
        target: Path and query.
        headers: By lower-case name.
        body: All of it.
        writer: The connection.
        reply: What a good answer says, its tokens counted.
    """

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)
    reply: FakeReply = field(default_factory=FakeReply)

    @property
    def asked(self) -> Asked:
        """What a format reads of it."""
        return Asked(target=self.target, body=self.body)

    @property
    def format(self) -> WireFormat:
        """The wire format that was called."""
        return format_of(self.target)

    @property
    def model(self) -> str:
        """The model that was asked."""
        return self.format.model(self.asked)

    @property
    def stream(self) -> bool:
        """Whether events were asked for."""
        return self.format.streams(self.asked)

    @property
    def fields(self) -> dict[str, Any]:
        """The body's JSON object; empty when it is none."""
        return self.asked.fields

    @property
    def content_type(self) -> str:
        """What a good answer is."""
        return "text/event-stream" if self.stream else "application/json"

    def good(self, reply: FakeReply | None = None) -> bytes:
        """Returns a good answer, perhaps with another reply."""
        said = (self.reply if reply is None else reply).counted(self.body)
        if self.stream:
            return self.format.events(said, self.model)
        return json.dumps(self.format.whole(said, self.model)).encode()

    def silent(self) -> bytes:
        """Returns an answer in which the model does not even begin to speak."""
        said = self.format.without_choices(self.reply.counted(self.body), self.model)
        if not self.stream:
            return json.dumps(said).encode()
        return event(said) + b"data: [DONE]\n\n"

    def head(self, status: int = 200, **headers: str) -> None:
        """Writes a head; names are written with dashes for underscores."""
        given = {"content_type": self.content_type, **headers}
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items()]
        self.writer.write(f"HTTP/1.1 {status} Said\r\n{''.join(lines)}\r\n".encode("latin-1"))

    def answer(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        """Writes a whole answer."""
        self.head(status, **{"content_length": str(len(body)), **headers})
        self.writer.write(body)

    def refuse(self, status: int, *, message: str, code: str = "said", **headers: str) -> None:
        """Writes an error in the words of the format."""
        body = json.dumps(self.format.error(status, message, code)).encode()
        self.answer(body, status=status, **{"content_type": "application/json", **headers})

    def chunk(self, data: bytes) -> None:
        """Writes a chunk of a body without a length."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def reset(self) -> None:
        """Ends the connection with a reset, as a crashed host does."""
        end = self.writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()

    async def sent(self) -> None:
        """Waits until what was written is on its way, so that the break comes behind it."""
        await self.writer.drain()
        await asyncio.sleep(_PAUSE)


Play = Callable[[Heard], Awaitable[None]]

"""A provider that breaks on purpose, byte by byte: every fault that an app has to survive."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from burnish_interceptor.testing.provider import completion, events

Json = Any
_PIECE = 64 * 1024
_HUGE = 50 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Heard:
    """A request as the provider heard it, and the line to break the answer on.

    Attributes:
        target: Path and query.
        headers: By lower-case name.
        body: All of it.
        writer: The connection.
    """

    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    @property
    def gemini(self) -> bool:
        """Whether Google's own API was called."""
        return "enerateContent" in self.target

    @property
    def stream(self) -> bool:
        """Whether events were asked for."""
        return "streamGenerate" in self.target or b'"stream":true' in self.body.replace(b" ", b"")

    @property
    def content_type(self) -> str:
        """What a good answer is."""
        return "text/event-stream" if self.stream else "application/json"

    def good(self, *, usage: Json = None, choices: Json = None) -> bytes:
        """Returns a good answer, perhaps with another usage or other choices."""
        if self.gemini:
            return self._gemini(usage, choices)
        if not self.stream:
            more = {"usage": usage, "choices": choices}
            return completion(**{name: value for name, value in more.items() if value is not None})
        whole = events()
        if choices is not None:
            whole = _event({"choices": choices, "usage": None}) + b"data: [DONE]\n\n"
        if usage is not None:
            old = json.dumps({"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14})
            whole = whole.replace(old.encode(), json.dumps(usage).encode())
        return whole

    def head(self, status: int = 200, **headers: str) -> None:
        """Writes a head; names are written with dashes for underscores."""
        given = {"content_type": self.content_type, **headers}
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items()]
        self.writer.write(f"HTTP/1.1 {status} Said\r\n{''.join(lines)}\r\n".encode("latin-1"))

    def answer(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        """Writes a whole answer."""
        self.head(status, **{"content_length": str(len(body)), **headers})
        self.writer.write(body)

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
        await asyncio.sleep(0.02)

    def _gemini(self, usage: Json, choices: Json) -> bytes:
        content = {"role": "model", "parts": [{"text": "card_arrival"}]}
        used = usage or {"prompt_tokens": 11, "completion_tokens": 3}
        last = [{"content": content, "finishReason": "STOP"}] if choices is None else choices
        piece = {
            "candidates": last,
            "usageMetadata": {
                "promptTokenCount": used["prompt_tokens"],
                "candidatesTokenCount": used["completion_tokens"],
            },
        }
        if not self.stream:
            return json.dumps(piece).encode()
        first = _event({"candidates": [{"content": content}]}) if choices is None else b""
        return first + _event(piece)


Play = Callable[[Heard], Awaitable[None]]


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def status(code: int, **headers: str) -> Play:
    """Returns a refusal whose body and headers repeat the prompt."""

    async def play(heard: Heard) -> None:
        said = {"error": {"message": heard.body.decode(), "code": "said", "type": "said"}}
        echo = heard.body.decode("latin-1").replace("\r", " ").replace("\n", " ")[:2000]
        heard.answer(
            json.dumps(said).encode(),
            status=code,
            content_type="application/json",
            x_echo=echo,
            set_cookie="a=b",
            **headers,
        )

    return play


def replaced(*, usage: Json = None, choices: Json = None) -> Play:
    """Returns a whole answer with another usage or other choices."""

    async def play(heard: Heard) -> None:
        heard.answer(heard.good(usage=usage, choices=choices))

    return play


async def hang(heard: Heard) -> None:
    """Never answers."""
    await asyncio.sleep(60)


async def drip(heard: Heard) -> None:
    """Sends a byte now and then, so that no pause is ever long."""
    body = heard.good()
    heard.head(content_length=str(len(body)))
    for byte in body:
        heard.writer.write(bytes([byte]))
        await heard.writer.drain()
        await asyncio.sleep(0.05)


async def reset(heard: Heard) -> None:
    """Resets the connection in the middle of the body."""
    body = heard.good()
    heard.head(content_length=str(len(body)))
    heard.writer.write(body[: len(body) // 2])
    await heard.sent()
    heard.reset()


async def cut(heard: Heard) -> None:
    """Ends the connection in the middle of an event, or of a body whose end is the close."""
    body = heard.good()
    heard.head(connection="close")
    heard.writer.write(body[: len(body) // 2 + 1])
    await heard.sent()
    heard.writer.close()


fine = replaced()


async def unended(heard: Heard) -> None:
    """Leaves out the mark at the end of the stream."""
    heard.answer(heard.good().replace(b"data: [DONE]\n\n", b""))


async def invalid(heard: Heard) -> None:
    """Sends what is no JSON."""
    heard.answer(b'data: {"choices": oops\n\n' if heard.stream else b'{"choices": oops')


async def html(heard: Heard) -> None:
    """Sends the page of a gateway that stands before the provider, with the prompt in it."""
    heard.answer(b"<html><body>%b</body></html>" % heard.body, content_type="text/html")


async def long_length(heard: Heard) -> None:
    """Promises more than it sends."""
    body = heard.good()
    heard.answer(body, content_length=str(len(body) + 100))
    await heard.sent()
    heard.writer.close()


async def short_length(heard: Heard) -> None:
    """Sends more than it promised."""
    heard.answer(heard.good(), content_length=str(len(heard.good()) // 2))


async def huge(heard: Heard) -> None:
    """Sends 50 MB."""
    heard.head(transfer_encoding="chunked")
    piece = _event({"choices": [{"index": 0, "delta": {"content": "x" * _PIECE}}]})
    if heard.gemini:
        content = {"role": "model", "parts": [{"text": "x" * _PIECE}]}
        piece = _event({"candidates": [{"content": content}]})
    for _ in range(_HUGE // _PIECE):
        heard.chunk(piece)
        await heard.writer.drain()


async def bomb(heard: Heard) -> None:
    """Sends 20 KB that would be 20 MB, though nobody said that compression is understood."""
    heard.answer(_compressed(heard.good()), content_encoding="gzip")


@lru_cache
def _compressed(body: bytes) -> bytes:
    return gzip.compress(b" " * 20_000_000 + body)


async def duplicated(heard: Heard) -> None:
    """Sends one event twice."""
    body = heard.good()
    if heard.stream:
        first, rest = body.split(b"\n\n", 1)
        body = first + b"\n\n" + first + b"\n\n" + rest
    heard.answer(body)


async def role_only(heard: Heard) -> None:
    """Says who speaks, and nothing more."""
    role = {"role": "assistant"}
    choice = {"index": 0, "delta": role, "finish_reason": "stop"}
    if not heard.stream:
        choice = {"index": 0, "message": role, "finish_reason": "stop"}
    if heard.gemini:
        choice = {"content": {"role": "model"}, "finishReason": "STOP"}
    heard.answer(heard.good(choices=[choice]))


async def nan_usage(heard: Heard) -> None:
    """Counts tokens in what is no number."""
    body = heard.good(usage={"prompt_tokens": 11, "completion_tokens": 333_333})
    heard.answer(body.replace(b"333333", b"NaN"))


FAULTS: dict[str, Play] = {
    **{str(code): status(code) for code in (400, 401, 403, 404, 408, 429, 500, 502, 503, 529)},
    "302": status(302, location="http://127.0.0.1:9/elsewhere"),
    "429 with a wait": status(429, retry_after="7"),
    "hang": hang,
    "drip": drip,
    "reset": reset,
    "cut": cut,
    "no end mark": unended,
    "invalid JSON": invalid,
    "HTML": html,
    "too long a length": long_length,
    "too short a length": short_length,
    "50 MB": huge,
    "gzip bomb": bomb,
    "duplicated chunk": duplicated,
    "role only": role_only,
    "no choices": replaced(choices=[]),
    "NaN usage": nan_usage,
    "negative usage": replaced(usage={"prompt_tokens": -1_000_000, "completion_tokens": -5}),
    "endless usage": replaced(usage={"prompt_tokens": 2**64 - 1, "completion_tokens": 2**63}),
}
"""What can go wrong at a provider that was reached."""


class FaultyProvider:
    """A provider that plays a fault on every request.

    Attributes:
        play: The fault.
        heard: What it was sent.
        open: Connections that stand.
        root: Base URL without a path.
    """

    def __init__(self, play: Play) -> None:
        self.play = play
        self.heard: list[Heard] = []
        self.open = 0
        self.root = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection; whoever hangs up ends the fault."""
        self.open += 1
        playing: asyncio.Future[None] | None = None
        try:
            while not writer.is_closing():
                heard = await _heard(reader, writer)
                self.heard.append(heard)
                playing = asyncio.ensure_future(self.play(heard))
                gone = asyncio.ensure_future(_gone(reader))
                await asyncio.wait([playing, gone], return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not playing.done():
                    return
                await playing
        except (OSError, asyncio.IncompleteReadError):
            return  # The interceptor hung up, which is its way to end a fault.
        finally:
            self.open -= 1
            if playing is not None:
                playing.cancel()
                await asyncio.wait([playing])
            writer.transport.abort()


async def _gone(reader: asyncio.StreamReader) -> None:
    """Returns when the other side has hung up."""
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)


async def _heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")[:-2]
    pairs = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(target=first.split(" ")[1], headers=headers, body=body, writer=writer)


@asynccontextmanager
async def faulty(play: Play) -> AsyncIterator[FaultyProvider]:
    """Runs a provider with a fault."""
    running = FaultyProvider(play)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    running.root = f"http://{host}:{port}"
    try:
        yield running
    finally:
        server.close()

"""The ways in which a provider that was reached can fail, byte by byte, in every wire format."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from burnish.testing.providers.formats import CHAT, GEMINI
from burnish.testing.providers.formats.base import event
from burnish.testing.providers.heard import Heard, Play

_PIECE = 64 * 1024
_HUGE = 50 * 1024 * 1024
# A number that stands nowhere else in an answer, to be replaced by what is no number.
_MARK = 333_333


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A way to fail.

    Attributes:
        play: What is written on the line instead of a good answer.
        billed: Whether the provider charges for the work all the same.
        told: Whether a whole answer says what was charged.
    """

    play: Play
    billed: bool = True
    told: bool = False


def status(code: int, **headers: str) -> Play:
    """Returns a refusal whose body and headers repeat the prompt.

    Args:
        code: HTTP status.
        headers: Further headers, underscores for dashes.
    """

    async def play(heard: Heard) -> None:
        echo = heard.body.decode("latin-1").replace("\r", " ").replace("\n", " ")[:2000]
        said = {"x_echo": echo, "set_cookie": "a=b", **headers}
        heard.refuse(code, message=heard.body.decode("utf-8", "replace"), **said)

    return play


async def fine(heard: Heard) -> None:
    """Answers as a good provider does."""
    heard.answer(heard.good())


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


async def reset_early(heard: Heard) -> None:
    """Resets the connection before a byte of the answer, the request read."""
    heard.reset()


async def cut(heard: Heard) -> None:
    """Ends the connection in the middle of an event, or of a body whose end is the close."""
    body = heard.good()
    heard.head(connection="close")
    heard.writer.write(body[: len(body) // 2 + 1])
    await heard.sent()
    heard.writer.close()


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
    body = heard.good()
    heard.answer(body, content_length=str(len(body) // 2))


async def huge(heard: Heard) -> None:
    """Sends 50 MB; what is not a stream is a good answer behind 50 MB of blanks."""
    heard.head(transfer_encoding="chunked")
    piece = b" " * _PIECE
    if heard.stream and heard.format is CHAT:
        piece = event({"choices": [{"index": 0, "delta": {"content": "x" * _PIECE}}]})
    elif heard.stream and heard.format is GEMINI:
        content = {"role": "model", "parts": [{"text": "x" * _PIECE}]}
        piece = event({"candidates": [{"content": content}]})
    for _ in range(_HUGE // _PIECE):
        heard.chunk(piece)
        await heard.writer.drain()
    heard.chunk(heard.good())
    heard.chunk(b"")


async def bomb(heard: Heard) -> None:
    """Sends 20 KB that would be 20 MB, though nobody said that compression is understood."""
    heard.answer(_compressed(heard.good()), content_encoding="gzip")


async def duplicated(heard: Heard) -> None:
    """Sends one event twice."""
    body = heard.good()
    if heard.stream:
        first, rest = body.split(b"\n\n", 1)
        body = first + b"\n\n" + first + b"\n\n" + rest
    heard.answer(body)


async def role_only(heard: Heard) -> None:
    """Says who speaks, and nothing more."""
    heard.answer(heard.good(replace(heard.reply, text="", tool_calls=())))


async def no_choices(heard: Heard) -> None:
    """Lets the model not even begin to speak."""
    heard.answer(heard.silent())


async def nan_usage(heard: Heard) -> None:
    """Counts tokens in what is no number."""
    body = heard.good(replace(heard.reply, output_tokens=_MARK))
    heard.answer(body.replace(str(_MARK).encode(), b"NaN"))


async def negative_usage(heard: Heard) -> None:
    """Counts fewer tokens than none."""
    heard.answer(heard.good(replace(heard.reply, input_tokens=-1_000_000, output_tokens=-5)))


async def endless_usage(heard: Heard) -> None:
    """Counts more tokens than a ledger can hold."""
    heard.answer(heard.good(replace(heard.reply, input_tokens=2**64 - 1, output_tokens=2**63)))


@lru_cache
def _compressed(body: bytes) -> bytes:
    return gzip.compress(b" " * 20_000_000 + body)


_UNBILLED = (400, 401, 403, 404, 429, 503, 529)
_BILLED = (408, 500, 502)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        **{str(code): Fault(play=status(code), billed=False) for code in _UNBILLED},
        **{str(code): Fault(play=status(code)) for code in _BILLED},
        "302": Fault(play=status(302, location="http://127.0.0.1:9/elsewhere")),
        "429 with a wait": Fault(play=status(429, retry_after="7"), billed=False),
        "hang": Fault(play=hang),
        "drip": Fault(play=drip),
        "reset": Fault(play=reset),
        "early reset": Fault(play=reset_early),
        "cut": Fault(play=cut),
        "no end mark": Fault(play=unended, told=True),
        "invalid JSON": Fault(play=invalid),
        "HTML": Fault(play=html),
        "too long a length": Fault(play=long_length),
        "too short a length": Fault(play=short_length),
        "50 MB": Fault(play=huge),
        "gzip bomb": Fault(play=bomb),
        "duplicated chunk": Fault(play=duplicated, told=True),
        "role only": Fault(play=role_only, told=True),
        "no choices": Fault(play=no_choices),
        "NaN usage": Fault(play=nan_usage),
        "negative usage": Fault(play=negative_usage),
        "endless usage": Fault(play=endless_usage),
    }
)
"""What can go wrong at a provider that was reached, by name."""

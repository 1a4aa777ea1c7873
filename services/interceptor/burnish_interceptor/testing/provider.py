"""A scripted provider over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from burnish_interceptor.transport.exchange import Exchange, Request
from burnish_interceptor.transport.server import Server


@dataclass(slots=True, kw_only=True)
class Script:
    """What the provider answers.

    Attributes:
        status: HTTP status.
        body: Body, or for a stream its bytes.
        content_type: Of the body.
        headers: Further headers.
        cut: Size of the pieces that the body is sent in; 0 sends it whole.
        truncated: Whether the connection breaks before the end of the body.
        gate: Waited for before the answer's last piece.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    truncated: bool = False
    gate: asyncio.Event | None = None


def completion(text: str = "card_arrival", **more: object) -> bytes:
    """Returns a chat completion as a provider would send it."""
    body = {
        "id": "chatcmpl-provider",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "provider-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        **more,
    }
    return json.dumps(body).encode()


def events(words: Sequence[str] = ("card", "_", "arrival")) -> bytes:
    """Returns a whole event stream as a provider would send it."""

    def chunk(choices: list[dict[str, Any]], **more: object) -> str:
        body = {
            "id": "chatcmpl-provider",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "provider-model",
            "choices": choices,
            **more,
        }
        return f"data: {json.dumps(body)}\n\n"

    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    lines = [chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    lines.append(chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    lines.append(chunk([], usage=usage))
    return ("".join(lines) + "data: [DONE]\n\n").encode()


Answer = Callable[[Request], Script]


class ScriptedProvider:
    """A provider over a real socket.

    Attributes:
        requests: What it was sent.
        base_url: Ends in `/v1`.
    """

    def __init__(self, answer: Answer) -> None:
        """Takes what decides on each answer."""
        self._answer = answer
        self._server = Server(self._serve)
        self.requests: list[Request] = []
        self.base_url = ""

    @property
    def bodies(self) -> list[Any]:
        """Parsed bodies of the requests."""
        return [json.loads(request.body) for request in self.requests]

    async def start(self) -> None:
        """Listens on a free port."""
        host, port = await self._server.listen("127.0.0.1", 0)
        self.base_url = f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        """Ends every connection."""
        await self._server.stop()

    async def _serve(self, request: Request, exchange: Exchange) -> None:
        self.requests.append(request)
        script = self._answer(request)
        headers = {"content-type": script.content_type, **script.headers}
        exchange.start(script.status, headers)
        size = script.cut or max(1, len(script.body))
        pieces = [script.body[i : i + size] for i in range(0, len(script.body), size)]
        for piece in pieces[:-1]:
            exchange.write(piece)
            await asyncio.sleep(0)
        if script.gate is not None:
            await script.gate.wait()
        if script.truncated:
            await asyncio.sleep(0.02)
            exchange.abort()
            return
        exchange.write(b"".join(pieces[-1:]))
        exchange.end()


@asynccontextmanager
async def provider(answer: Answer) -> AsyncIterator[ScriptedProvider]:
    """Runs a scripted provider."""
    running = ScriptedProvider(answer)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()

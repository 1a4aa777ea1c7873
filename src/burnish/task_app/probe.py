"""A model that answers anything at once, for checking a task app without a real one.

It speaks just enough of the chat completions API: text, or a call of the first tool that was
offered with arguments made up from the tool's schema.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from burnish.task_app.jsonwire import parse_object, section

_MAX_DEPTH = 8


@dataclass(slots=True)
class ProbeModel:
    """The model, being served.

    Attributes:
        base_url: Where it listens; any path under it that ends in `/chat/completions` is answered.
        text: What it says when no tool is offered.
        status: Status that it answers with.
        latency_seconds: How long it thinks.
        calls: Path of each call that came, in order.
        bodies: Body of each call that came, in order.
        headers: Headers of each call that came, in order.
    """

    base_url: str = ""
    text: str = "probe"
    status: int = 200
    latency_seconds: float = 0.0
    calls: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Starts listening on a free port of this machine."""
        application = web.Application()
        application.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if not request.path.endswith("/chat/completions"):
            return web.json_response({"error": {"message": "unknown path"}}, status=404)
        body = parse_object(await request.read(), what="chat request")
        self.calls.append(request.path)
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        await asyncio.sleep(self.latency_seconds)
        if self.status != 200:
            error = {"message": "the probe fails on purpose", "type": "probe", "code": "probe"}
            return web.json_response({"error": error}, status=self.status)
        return web.json_response(_completion(body, text=self.text))


def _completion(body: Mapping[str, Any], *, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    tools = body.get("tools")
    offered = tools[0] if isinstance(tools, list) and tools else None
    if isinstance(offered, Mapping):
        function = section(offered, "function")
        arguments = _made_up(section(function, "parameters"), text=text, depth=0)
        call = {"name": function.get("name"), "arguments": json.dumps(arguments)}
        message["content"] = None
        message["tool_calls"] = [{"id": "call_probe", "type": "function", "function": call}]
    return {
        "id": "chatcmpl-probe",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model") or "probe",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "stop" if offered is None else "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _made_up(schema: Mapping[str, Any], *, text: str, depth: int) -> object:
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    kind = schema.get("type")
    if kind == "object" and depth < _MAX_DEPTH:
        return {
            name: _made_up(section(schema, "properties", name), text=text, depth=depth + 1)
            for name in section(schema, "properties")
        }
    if kind == "array" and depth < _MAX_DEPTH:
        return [_made_up(section(schema, "items"), text=text, depth=depth + 1)]
    plain: dict[object, object] = {"integer": 0, "number": 0, "boolean": False, "null": None}
    return plain.get(kind, text)

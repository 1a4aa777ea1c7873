"""What tests of real clients share: an interceptor, what a provider answers, and a tap on the wire.

A client talks to the tap, which passes every byte on and keeps it: so that nothing of a candidate
reaches an app can be seen in the bytes, whatever the client makes of them.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from burnish_interceptor import testing
from burnish_interceptor.testing import (
    BASELINE,
    CANDIDATE,
    InterceptorSuite,
    Script,
    completion,
    replies,
)
from burnish_interceptor.testing.canaries import Canaries
from burnish_interceptor.testing.suite import PROVIDER_KEY
from burnish_interceptor.transport.exchange import Request

CANARY = "quokka"
INSTRUCTION = (
    f"Give the {CANARY} intent of what the customer of this bank writes to it, in lower case alone."
)
QUERY = "Query: Where is my card?"
MESSAGES: Any = [{"role": "system", "content": BASELINE}, {"role": "user", "content": QUERY}]
KEY = "the app's own key"
ANSWER = "card_arrival"
ARGUMENTS = '{"intent":"card_arrival"}'
PROPERTIES = {"intent": {"type": "string"}}
SCHEMA = {
    "type": "object",
    "properties": PROPERTIES,
    "required": ["intent"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "classify", "parameters": SCHEMA}}
SECRETS = Canaries(CANARY, INSTRUCTION, CANDIDATE, PROVIDER_KEY)
EVENT_STREAM = "text/event-stream"


class Tap:
    """Passes bytes between clients and a server, and keeps them.

    Attributes:
        asked: What clients sent.
        told: What they were sent.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked = bytearray()
        self.told = bytearray()

    @property
    def call_count(self) -> int:
        """Calls that clients made, their own retries among them."""
        return self.asked.count(b"POST /")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        up = asyncio.create_task(_pass(reader, upstream_writer, self.asked))
        down = asyncio.create_task(_pass(upstream_reader, writer, self.told))
        self._tasks |= {up, down}
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([up, down])

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
) -> None:
    with contextlib.suppress(ConnectionError):
        try:
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@dataclass(kw_only=True)
class World:
    """A running interceptor with a tap before it.

    Attributes:
        suite: The interceptor, its controller and its provider.
        tap: Sees every byte between clients and interceptor.
        root: Base URL of the tap.
    """

    suite: InterceptorSuite
    tap: Tap
    root: str
    base: str = field(init=False)

    def __post_init__(self) -> None:
        self.base = f"{self.root}/r/{self.suite.token()}/v1"

    @property
    def sent(self) -> list[Any]:
        """Bodies that reached the provider."""
        return self.suite.provider.bodies

    def check_swapped(self, *, calls: int = 1) -> None:
        """The provider got the candidate's prompt, and the app not a word of it."""
        prompts = [prompt_of(body) for body in self.sent if "encoding_format" not in body]
        assert prompts == [INSTRUCTION] * calls
        keys = {one.head.headers["authorization"] for one in self.suite.provider.requests}
        assert keys == {f"Bearer {PROVIDER_KEY}"}
        self.check_unleaked()

    def check_unleaked(self) -> None:
        """Nothing of the candidate, and no key, is in what the app was sent."""
        told = bytes(self.tap.told)
        assert told.startswith(b"HTTP/1.1 ")
        assert SECRETS.leaks(told) == []


def prompt_of(body: Mapping[str, Any]) -> str:
    """Returns the instructions of a call: a member of the Responses API, or the first message."""
    if "instructions" in body:
        return str(body["instructions"])
    first = (body.get("messages") or body["input"])[0]
    assert first["role"] in ("system", "developer")
    return str(first["content"])


@asynccontextmanager
async def world(answer: Callable[[Request], Script] | None = None) -> AsyncIterator[World]:
    """Runs an interceptor for clients.

    Args:
        answer: What the provider answers; the usual when not given.
    """
    async with testing.suite(answer or usual, instruction=INSTRUCTION) as suite:
        host, _, port = suite.root.removeprefix("http://").rpartition(":")
        tap = Tap(host, int(port))
        server = await asyncio.start_server(tap.serve, "127.0.0.1", 0)
        own = server.sockets[0].getsockname()[1]
        try:
            yield World(suite=suite, tap=tap, root=f"http://127.0.0.1:{own}")
        finally:
            server.close()
            await tap.close()


def usual(request: Request) -> Script:
    """Answers any call: text, or a tool call or JSON when the request has a form for it."""
    if not request.head.target.endswith("/chat/completions"):
        return _other(request)
    asked = json.loads(request.body)
    stream = asked.get("stream") is True
    if asked.get("tools"):
        message = _tool_message(stream=stream)
        finish = "tool_calls"
    else:
        text = ARGUMENTS if "response_format" in asked else ANSWER
        message, finish = {"role": "assistant", "content": text}, "stop"
    if stream:
        return Script(body=_chunks(message, finish), content_type=EVENT_STREAM)
    choices = [
        {"index": index, "message": message, "finish_reason": finish, "logprobs": None}
        for index in range(asked.get("n") or 1)
    ]
    return Script(body=completion(choices=choices))


def _tool_message(*, stream: bool) -> dict[str, Any]:
    function = {"name": "classify", "arguments": ARGUMENTS}
    call = {"id": "call_1", "type": "function", "function": function}
    calls = [{"index": 0, **call}] if stream else [call]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _chunks(message: Mapping[str, Any], finish: str) -> bytes:
    """The events of a message: its text or its arguments in two pieces."""
    content = message["content"]
    if content is not None:
        deltas = [{"role": "assistant", "content": content[:4]}, {"content": content[4:]}]
    else:
        call = message["tool_calls"][0]
        first = {**call, "function": {**call["function"], "arguments": ARGUMENTS[:9]}}
        rest = {"index": 0, "function": {"arguments": ARGUMENTS[9:]}}
        deltas = [
            {"role": "assistant", "content": None, "tool_calls": [first]},
            {"tool_calls": [rest]},
        ]
    head: dict[str, Any] = {
        "id": "chatcmpl-provider",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "provider-model",
    }
    choices: list[Any] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    bodies = [{**head, "choices": [one]} for one in choices]
    bodies.append({**head, "choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in bodies) + (
        b"data: [DONE]\n\n"
    )


def _other(request: Request) -> Script:
    """Answers a call of another API than chat completions."""
    asked = json.loads(request.body)
    if asked.get("tools") and not asked.get("stream"):
        call = {
            "id": "fc_1",
            "type": "function_call",
            "call_id": "call_1",
            "name": "classify",
            "arguments": ARGUMENTS,
            "status": "completed",
        }
        return Script(body=json.dumps(replies.response(output=[call])).encode())
    if request.head.target.endswith("/responses") and "text" in asked:
        return Script(body=json.dumps(replies.response(ARGUMENTS)).encode())
    return replies.usual(request)


def failing(
    status: int, headers: Mapping[str, str] | None = None, *, times: int = 99
) -> Callable[[Request], Script]:
    """Returns what answers so many calls with an error that quotes the prompt, then as usual."""
    left = [times]

    def answer(request: Request) -> Script:
        left[0] -= 1
        if left[0] < 0:
            return usual(request)
        error = {"message": f"you said {request.body.decode()}", "type": "x", "code": None}
        body = json.dumps({"error": error}).encode()
        return Script(status=status, body=body, headers=dict(headers or {}))

    return answer

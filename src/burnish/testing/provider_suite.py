"""What every adapter of a model provider has to hold to, as tests to inherit.

A plug-in's tests subclass `ProviderSuite` and say how the provider is opened, how its replies look,
and how a request is made. Everything runs over a real socket, against a server on loopback that
answers by script.
"""

from __future__ import annotations

import asyncio
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

_KEY = "sk-canary-0123456789"
_DRIP_SECONDS = 0.05
_ENDLESS = 16 * 1024 * 1024
_PROMPT = "canary prompt: which colour has the sky"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """One answer of the scripted server.

    Attributes:
        status: HTTP status.
        body: The body, as bytes or as a JSON value.
        headers: Further headers.
        drop: Whether the connection is cut instead.
        hang: Whether no answer comes at all.
        drip: Whether the body comes byte by byte, with a pause after each.
    """

    status: int = 200
    body: object = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False
    drip: bool = False


class ScriptedServer:
    """An HTTP server that answers each request with the next line of its script.

    Attributes:
        url: Where it listens, without a path.
        requests: The requests it got: method, path, headers in lower case, and body.
    """

    def __init__(self, script: list[Scripted]) -> None:
        """Takes the script; its last line is repeated for ever."""
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self._script = list(script)
        self._gone = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        text = await request.text()
        headers = {key.lower(): value for key, value in request.headers.items()}
        body = json.loads(text) if text else None
        self.requests.append((request.method, request.path, headers, body))
        line = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if line.hang:
            await self._gone.wait()
        if line.drop or line.hang:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        sent = line.body if isinstance(line.body, bytes) else json.dumps(line.body).encode()
        if line.drip:
            return await self._drip(request, sent)
        return web.Response(
            status=line.status,
            body=sent,
            content_type="application/json",
            headers=dict(line.headers),
        )

    async def _drip(self, request: web.Request, body: bytes) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"content-type": "application/json"})
        reply.content_length = len(body)
        await reply.prepare(request)
        try:
            for byte in body:
                await reply.write(bytes([byte]))
                await asyncio.sleep(_DRIP_SECONDS)
        except ConnectionError:
            return reply  # The adapter hung up, as it has to.
        return reply

    def release(self) -> None:
        """Lets answers that hang go."""
        self._gone.set()


@asynccontextmanager
async def scripted_server(*script: Scripted) -> AsyncIterator[ScriptedServer]:
    """Serves a script on a free loopback port.

    Args:
        script: Answers in order, at least one; the last is repeated for ever.
    """
    server = ScriptedServer(list(script))
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        server.release()
        await runner.cleanup()


class ProviderSuite(ABC):
    """The contract of an adapter. Subclasses are collected by pytest when named `Test...`."""

    @abstractmethod
    def open_provider(self, *, base_url: str, api_key: str) -> Any:  # noqa: ANN401
        """Opens the adapter against a server whose root is `base_url`."""

    @abstractmethod
    def make_request(self, text: str, *, timeout_seconds: float) -> Any:  # noqa: ANN401
        """Returns a request with one user message."""

    @abstractmethod
    def reply(self, text: str, *, input_tokens: int, output_tokens: int) -> object:
        """Returns the provider's JSON for a reply."""

    def tool_reply(self, name: str, arguments: Mapping[str, Any]) -> object | None:
        """Returns the provider's JSON for a call of a tool, or None where there are no tools."""
        return None

    @asynccontextmanager
    async def opened(self, *script: Scripted) -> AsyncIterator[tuple[Any, ScriptedServer]]:
        """Opens the adapter against a script."""
        async with scripted_server(*script) as server:
            provider = self.open_provider(base_url=server.url, api_key=_KEY)
            try:
                yield provider, server
            finally:
                await provider.close()

    async def failure(self, line: Scripted, *, seconds: float = 20.0) -> Any:  # noqa: ANN401
        """Returns the error that a script leads to, after checking that it was tried once."""
        async with self.opened(line) as (provider, server):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - its fields are checked
                await provider.complete(self.make_request(_PROMPT, timeout_seconds=seconds))
            assert len(server.requests) == 1, "an adapter tries once"
        error: Any = caught.value
        said = f"{error!s} {error.message} {error.metadata} {error.reason}"
        assert _KEY not in said, "an error names no key"
        assert _PROMPT not in said, "an error quotes no prompt"
        return error

    async def test_reply_has_text_and_usage(self) -> None:
        """A reply is read whole."""
        body = self.reply("blue", input_tokens=12, output_tokens=3)
        async with self.opened(Scripted(body=body)) as (provider, server):
            completion = await provider.complete(self.make_request(_PROMPT, timeout_seconds=20.0))
        assert completion.text == "blue"
        assert completion.usage.input_tokens == 12
        assert completion.usage.output_tokens == 3
        assert _PROMPT in json.dumps(server.requests[0][3])

    async def test_call_of_a_tool_is_read_as_one(self) -> None:
        """A model asks for a tool, and says nothing."""
        arguments = {"colour": "blue", "shades": [1, 2]}
        body = self.tool_reply("paint", arguments)
        if body is None:
            pytest.skip("no tools")
        async with self.opened(Scripted(body=body)) as (provider, _):
            completion = await provider.complete(self.make_request(_PROMPT, timeout_seconds=20.0))
            assert provider.read(completion.body) == completion
        (call,) = completion.tool_calls
        assert (call.name, json.loads(call.arguments)) == ("paint", arguments)
        assert completion.text == call.arguments

    async def test_kept_body_reads_as_the_reply_did(self) -> None:
        """A reply kept in the ledger gives the same completion."""
        body = self.reply("blue", input_tokens=12, output_tokens=3)
        async with self.opened(Scripted(body=body)) as (provider, _):
            completion = await provider.complete(self.make_request(_PROMPT, timeout_seconds=20.0))
            assert provider.read(completion.body) == completion

    async def test_equal_requests_have_equal_bodies(self) -> None:
        """The body that is hashed depends on what is sent alone."""
        async with self.opened(Scripted()) as (provider, server):
            one, same, other = (
                provider.request_body(self.make_request(text, timeout_seconds=seconds))
                for text, seconds in ((_PROMPT, 20.0), (_PROMPT, 30.0), (_PROMPT + "?", 20.0))
            )
            assert one == same
            assert one != other
            assert not server.requests

    @pytest.mark.parametrize("status", [503, 529])
    async def test_overloaded_provider_may_be_retried_and_is_unpaid(self, status: int) -> None:
        """The provider did not begin."""
        error = await self.failure(Scripted(status=status, body={"error": {"message": _PROMPT}}))
        assert (error.can_retry, error.not_sent, error.status) == (True, True, status)

    @pytest.mark.parametrize("status", [500, 502, 504])
    async def test_server_error_may_be_retried_and_may_be_paid(self, status: int) -> None:
        """A 5xx may have been paid."""
        error = await self.failure(Scripted(status=status, body={"error": {"message": _PROMPT}}))
        assert (error.can_retry, error.not_sent, error.status) == (True, False, status)

    async def test_rate_limit_tells_the_wait_and_is_unpaid(self) -> None:
        """A 429 with Retry-After."""
        body = {"error": {"message": _KEY}}
        error = await self.failure(Scripted(status=429, body=body, headers={"Retry-After": "7"}))
        assert (error.can_retry, error.not_sent, error.retry_after) == (True, True, 7.0)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
    async def test_bad_request_is_final_and_unpaid(self, status: int) -> None:
        """A 4xx is not tried again."""
        error = await self.failure(Scripted(status=status, body={"error": {"message": _PROMPT}}))
        assert (error.can_retry, error.not_sent, error.status) == (False, True, status)

    async def test_lost_connection_may_be_retried_and_may_be_paid(self) -> None:
        """The request was read, and the connection cut."""
        error = await self.failure(Scripted(drop=True))
        assert (error.can_retry, error.not_sent) == (True, False)

    async def test_silence_is_a_timeout_and_may_be_paid(self) -> None:
        """No answer comes."""
        error = await self.failure(Scripted(hang=True), seconds=2.0)
        assert (error.can_retry, error.not_sent) == (True, False)

    async def test_drip_ends_at_the_deadline(self) -> None:
        """No pause is ever long, yet the whole takes too long."""
        body = self.reply("blue " * 100, input_tokens=12, output_tokens=3)
        error = await self.failure(Scripted(body=body, drip=True), seconds=2.0)
        assert (error.can_retry, error.not_sent) == (True, False)

    async def test_redirect_is_not_followed(self) -> None:
        """The key and the prompt go nowhere else."""
        error = await self.failure(Scripted(status=307, headers={"Location": "/elsewhere"}))
        assert (error.can_retry, error.status) == (False, 307)

    async def test_endless_reply_is_not_read_to_its_end(self) -> None:
        """A good reply behind more blanks than a reply can have bytes."""
        body = json.dumps(self.reply("blue", input_tokens=12, output_tokens=3)).encode()
        error = await self.failure(Scripted(body=b" " * _ENDLESS + body))
        assert (error.can_retry, error.not_sent) == (False, False)

    async def test_half_a_reply_may_be_retried(self) -> None:
        """The connection ended early, where HTTP could not tell."""
        body = json.dumps(self.reply("blue", input_tokens=12, output_tokens=3)).encode()
        error = await self.failure(Scripted(body=body[: len(body) // 2]))
        assert (error.can_retry, error.not_sent) == (True, False)

    @pytest.mark.parametrize("count", [-1_000_000, 2**63])
    async def test_usage_that_cannot_be_is_not_believed(self, count: int) -> None:
        """A ledger could not hold it."""
        body = self.reply("blue", input_tokens=count, output_tokens=3)
        async with self.opened(Scripted(body=body)) as (provider, _):
            completion = await provider.complete(self.make_request(_PROMPT, timeout_seconds=20.0))
        assert completion.text == "blue"
        assert completion.usage is None

    async def test_refused_connection_is_unpaid(self) -> None:
        """Nothing listens."""
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{held.getsockname()[1]}"
            provider = self.open_provider(base_url=url, api_key=_KEY)
            try:
                with pytest.raises(Exception) as caught:  # noqa: PT011 - its fields are checked
                    await provider.complete(self.make_request(_PROMPT, timeout_seconds=20.0))
            finally:
                await provider.close()
        error: Any = caught.value
        assert (error.can_retry, error.not_sent) == (True, True)

    @pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b'{"choices": 3}', b"[1]"])
    async def test_something_else_than_a_reply_is_final(self, body: bytes) -> None:
        """A 200 with another body was perhaps paid, and another try would give the same."""
        error = await self.failure(Scripted(body=body))
        assert (error.can_retry, error.not_sent) == (False, False)

"""What the providers' packages see of aiohttp underneath: answers and errors as of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import httpx
import openai
import pytest
from aiohttp import web

from burnish_runtime.llm.base import ProviderAccess
from burnish_runtime.llm.fast_http import fast_transport
from burnish_runtime.llm.sdk_http import SdkClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[SimpleNamespace]:
    """A server, the connections that it was called over, and a client through the transport."""
    connections: list[object] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        connections.append(request.transport)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/v1/x".format(*runner.addresses[0][:2])
    try:
        async with httpx.AsyncClient(transport=fast_transport(httpx, trust_env=False)) as client:
            yield SimpleNamespace(client=client, url=url, connections=connections)
    finally:
        await runner.cleanup()


async def echo(request: web.Request) -> web.StreamResponse:
    return web.json_response(
        {
            "method": request.method,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "body": (await request.read()).decode(),
        },
        headers={"x-one": "1"},
    )


async def test_a_request_arrives_as_it_was_made_and_nothing_is_added():
    async with serving(echo) as running:
        headers = {"authorization": "Bearer key", "content-type": "application/json"}
        reply = await running.client.post(running.url, content=b'{"a": 1}', headers=headers)
        sent = dict(reply.json()["headers"])
        async with httpx.AsyncClient(trust_env=False) as other:
            plain = await other.post(running.url, content=b'{"a": 1}', headers=headers)
    assert reply.status_code == 200
    assert reply.headers["x-one"] == "1"
    assert reply.json()["body"] == '{"a": 1}'
    assert sent == dict(plain.json()["headers"])


async def test_answers_that_are_read_leave_their_connection_to_the_next():
    async with serving(echo) as running:
        for _ in range(3):
            await running.client.post(running.url, content=b"{}")
    assert len(set(running.connections)) == 1


async def test_an_answer_that_is_not_read_spoils_its_connection():
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 1024)
                await asyncio.sleep(0.001)
        return response

    async with serving(endless) as running:
        for _ in range(2):
            async with running.client.stream("POST", running.url) as reply:
                assert await anext(reply.aiter_raw())
    assert len(set(running.connections)) == 2


async def test_a_redirect_is_an_answer_like_any_other():
    async def moved(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:1/elsewhere")

    async with serving(moved) as running:
        reply = await running.client.post(running.url)
    assert reply.status_code == 302


async def test_a_server_that_is_not_there_is_an_error_of_connecting():
    async with serving(echo) as running:
        with pytest.raises(httpx.ConnectError):
            await running.client.post("http://127.0.0.1:1/v1")


async def test_a_server_that_hangs_up_is_an_error_of_the_protocol():
    async def hang_up(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    async with serving(hang_up) as running:
        with pytest.raises(httpx.RemoteProtocolError):
            await running.client.post(running.url)


async def test_a_server_that_is_silent_is_a_timeout_of_reading():
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async with serving(silent) as running:
        with pytest.raises(httpx.ReadTimeout):
            await running.client.post(running.url, timeout=httpx.Timeout(20, read=0.05))


async def test_a_body_that_breaks_off_is_an_error_of_the_protocol():
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        if request.transport is not None:
            request.transport.close()
        return response

    async with serving(broken) as running:
        with pytest.raises(httpx.RemoteProtocolError):
            await running.client.post(running.url)


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
def test_where_the_environment_names_a_proxy_the_packages_own_transport_stays(monkeypatch, proxy):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    access = ProviderAccess(api_key="key")
    client = SdkClient(openai, openai.AsyncOpenAI, access, name="openai", own_url="https://x/v1")
    transport = type(client.client._client._transport)
    assert transport.__module__.startswith("burnish_runtime") == (not proxy)

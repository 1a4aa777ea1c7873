"""Clients that do not keep up: nothing piles up, the slow are served, the stuck are ended."""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from typing import Any

import pytest

from burnish_interceptor.asked import Asked
from burnish_interceptor.dialects import PARSERS, Shown, UsageMode
from burnish_interceptor.routes import Tail
from burnish_interceptor.testing import serving, until
from burnish_interceptor.transport.call import Call
from burnish_interceptor.transport.exchange import Exchange, Head
from burnish_interceptor.transport.origin import Origin
from burnish_interceptor.transport.server import Server
from burnish_interceptor.upstream import _Awaited

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%b"
BIG = b"x" * 200_000
MANY = 300


@asynccontextmanager
async def deaf(address: Any) -> Any:
    """A client of which the kernel takes little, and that reads what it is asked to read."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.setblocking(False)
        await loop.sock_connect(client, address)
        yield client


async def send(client: socket.socket, data: bytes) -> None:
    await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(client, data), 10)


async def read_all(client: socket.socket, pause: float = 0.0) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while piece := await asyncio.wait_for(loop.sock_recv(client, 1 << 18), 10):
        data += piece
        if pause:
            await asyncio.sleep(pause)
    return bytes(data)


def only(server: Server) -> Any:
    (connection,) = server._connections
    return connection


def held_back(server: Server) -> bool:
    return bool(server.connections) and only(server)._paused is not None


class Big:
    """Answers each request with much, its number before it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: Any, exchange: Any) -> None:
        self.count += 1
        exchange.send(200, {}, b"<%d>" % self.count + BIG)


def numbers(reply: bytes) -> list[int]:
    return [int(part.partition(b">")[0]) for part in reply.split(b"<")[1:]]


async def test_pipelined_requests_wait_while_their_client_reads_nothing_and_are_answered_later():
    big = Big()
    async with serving(big) as (server, address), deaf(address) as client:
        await send(client, GET * MANY)
        await until(lambda: held_back(server))
        await asyncio.sleep(0.1)
        assert big.count < MANY / 2
        assert only(server)._transport.get_write_buffer_size() < 4 * len(BIG)
        client.shutdown(socket.SHUT_WR)
        assert numbers(await read_all(client)) == list(range(1, MANY + 1))
        await until(lambda: server.connections == 0)


async def test_requests_that_repeat_a_head_wait_just_as_well():
    big = Big()
    async with serving(big) as (server, address), deaf(address) as client:
        for _ in range(MANY):
            await send(client, POST % (2, b"hi"))
            await asyncio.sleep(0.001)
        assert held_back(server)
        assert big.count < MANY / 2
        assert only(server)._transport.get_write_buffer_size() < 4 * len(BIG)
        client.shutdown(socket.SHUT_WR)
        assert numbers(await read_all(client)) == list(range(1, MANY + 1))


async def test_a_client_that_asks_on_and_on_and_reads_nothing_is_ended():
    small = Big()
    most = 0

    async def ask(client: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.get_running_loop().sock_sendall(client, GET * 500)

    async with serving(small, write=0.4) as (server, address), deaf(address) as client:
        asking = asyncio.ensure_future(ask(client))
        await until(lambda: server.connections == 1)
        async with asyncio.timeout(10):
            while server.connections:
                most = max(most, only(server)._transport.get_write_buffer_size())
                await asyncio.sleep(0.01)
        assert most < 4 * len(BIG)
        asking.cancel()
        await asyncio.wait([asking])


async def test_a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer():
    async with (
        serving(lambda r, e: e.send(200, {}, BIG * 60), write=1.5, idle=0.2, silence=0.1) as (
            server,
            address,
        ),
        deaf(address) as client,
    ):
        await send(client, b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        began = asyncio.get_running_loop().time()
        reply = await read_all(client, pause=0.02)
        assert len(reply.partition(b"\r\n\r\n")[2]) == 60 * len(BIG)
        assert asyncio.get_running_loop().time() - began > 1.5
        await until(lambda: server.connections == 0)


async def test_a_client_is_not_ended_while_the_kernel_alone_still_has_something_to_send():
    """The kernel takes more of a transport's bytes only when a good part of its own are gone."""
    loop = asyncio.get_running_loop()
    async with (
        serving(lambda r, e: e.send(200, {}, BIG * 60), write=1.5) as (
            server,
            address,
        ),
        deaf(address) as client,
    ):
        await send(client, GET)
        await until(lambda: held_back(server))
        began = loop.time()
        while loop.time() - began < 2.5:
            await loop.sock_recv(client, 16_384)
            await asyncio.sleep(0.05)
        assert held_back(server)
        await until(lambda: server.connections == 0)


async def test_a_kept_connection_is_not_idle_while_its_client_still_reads():
    async with (
        serving(lambda r, e: e.send(200, {}, BIG * 60), write=5.0, idle=0.1) as (
            server,
            address,
        ),
        deaf(address) as client,
    ):
        await send(client, GET)
        await until(lambda: held_back(server))
        await asyncio.sleep(0.3)
        assert not only(server)._transport.is_closing()
        reply = await read_all(client)
        assert len(reply.partition(b"\r\n\r\n")[2]) == 60 * len(BIG)


async def test_a_connection_that_closes_does_not_wait_for_ever_for_a_client_that_reads_no_more():
    gate = asyncio.Event()

    async def little_by_little(request: Any, exchange: Any) -> None:
        exchange.start(200, {})
        connection = exchange._connection
        while connection._transport.get_write_buffer_size() < 20_000:
            exchange.write(b"x" * 10_000)
            await asyncio.sleep(0)
        exchange.end()
        gate.set()

    async with (
        serving(little_by_little, write=0.4, idle=0.1) as (server, address),
        deaf(address) as client,
    ):
        await send(client, GET)
        await asyncio.wait_for(gate.wait(), 10)
        assert not held_back(server)
        await until(lambda: server.connections == 0)


async def test_a_request_to_be_refused_waits_its_turn_and_its_refusal_is_read():
    big = Big()
    async with serving(big, linger=0.2) as (server, address), deaf(address) as client:
        await send(client, GET * 60 + b"nonsense\r\n\r\n")
        await until(lambda: held_back(server))
        await asyncio.sleep(0.5)
        reply = await read_all(client)
        assert numbers(reply) == list(range(1, 61))
        assert reply.rpartition(b"HTTP/1.1 ")[2].startswith(b"400")
        await until(lambda: server.connections == 0)


async def test_a_connection_that_drains_while_held_back_says_so_and_closes():
    big = Big()
    async with serving(big) as (server, address), deaf(address) as client:
        await send(client, GET * MANY)
        await until(lambda: held_back(server))
        await asyncio.wait_for(server.drain(), 5)
        before = big.count
        reply = await read_all(client)
        assert numbers(reply) == list(range(1, before + 2))
        assert reply.count(b"connection: close") == 1
        await until(lambda: server.connections == 0)


async def test_who_waits_until_the_client_has_caught_up_is_woken_and_the_next_is_handed_over():
    caught_up = []

    async def wait(request: Any, exchange: Any) -> None:
        exchange.start(200, {})
        exchange.write(BIG * 60)
        await exchange.drained()
        caught_up.append(exchange)
        exchange.end()

    async with serving(wait) as (server, address), deaf(address) as client:
        await send(client, GET * 3)
        await until(lambda: held_back(server))
        client.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.05)
        assert caught_up == []
        reply = await read_all(client)
        assert (len(caught_up), reply.count(b"HTTP/1.1 200")) == (3, 3)
        await until(lambda: server.connections == 0)


async def test_a_client_that_leaves_while_requests_wait_leaves_nothing_behind():
    big = Big()
    async with serving(big) as (server, address):
        async with deaf(address) as client:
            await send(client, GET * MANY)
            await until(lambda: held_back(server))
        await until(lambda: server.connections == 0)
        assert (server.inflight, big.count < MANY) == (0, True)


async def test_nothing_is_said_into_the_silence_of_a_client_that_does_not_read():
    told = []

    def flood(request: Any, exchange: Any) -> None:
        exchange.start(200, {}, BIG * 60)

        def silent() -> None:
            told.append(exchange)
            exchange.write(b": keep-alive\n\n")

        exchange.on_silence = silent

    async with (
        serving(flood, write=0.5, silence=0.05) as (server, address),
        deaf(address) as client,
    ):
        await send(client, GET)
        await until(lambda: held_back(server))
        await until(lambda: server.connections == 0)
        assert told == []


class Wire:
    """A connection that notes what is written."""

    lost = ending = False

    def __init__(self, *, paused: bool = False) -> None:
        self.paused = paused
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    async def drained(self) -> None:
        pass

    def answered(self, *, keep_alive: bool) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("paused", [True, False])
async def test_a_stream_that_begins_while_its_client_does_not_keep_up_is_held_back_at_once(paused):
    asked = Asked("req", b'{"model": "m", "messages": [], "stream": true}', "")
    asked.request = PARSERS[Tail.CHAT](
        b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}'
    )
    asked.shown = Shown(model="m", usage=UsageMode.EXACT)
    passing = _Awaited(asked, Exchange(Wire(paused=paused), Head()))
    call = passing._call = Call(Origin("h", 80, False), b"", passing)
    passing.head(200, {"content-type": "text/event-stream"})
    assert call.paused is paused


@pytest.mark.parametrize("how", ["send", "start"])
def test_a_head_that_cannot_be_written_breaks_the_connection_and_nothing_follows_it(how):
    wire = Wire()
    exchange = Exchange(wire, Head())
    with pytest.raises(UnicodeEncodeError):
        getattr(exchange, how)(200, {"x": "\u2713"}, b"body")
    assert not exchange.started
    exchange.write(b"more")
    exchange.end()
    assert (wire.written, wire.aborted, exchange.ended) == (b"", True, True)


async def test_a_hook_that_breaks_ends_its_connection_and_not_the_timer():
    def handler(request: Any, exchange: Any) -> None:
        if request.head.target == "/bad":
            exchange.on_silence = lambda: exchange.start(200, {"x": "\u2713"})
        else:
            exchange.on_silence = lambda: exchange.send(200, {}, b"late")

    async with serving(handler, silence=0.1) as (server, address):
        for target, wanted in ((b"/bad", b""), (b"/", b"late")):
            async with deaf(address) as client:
                await send(
                    client, b"GET %b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n" % target
                )
                reply = b""
                with contextlib.suppress(ConnectionError):
                    reply = await read_all(client)
                assert reply.endswith(wanted)
        await until(lambda: server.inflight == 0)

"""The data plane's HTTP server, byte by byte over real sockets."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from burnish_interceptor import testing
from burnish_interceptor.transport.limits import MAX_BODY_BYTES, MAX_HEAD_BYTES

POST = b"POST /x HTTP/1.1\r\nhost: h\r\n"


async def echo(request: Any, exchange: Any) -> None:
    headers = {"content-type": "text/plain", "x-target": request.head.target}
    exchange.send(200, headers, request.head.method.encode() + b":" + request.body)


def serving(handler: Any = echo, **limits: Any) -> Any:
    return testing.serving(handler, **limits)


@asynccontextmanager
async def connected(address: Any) -> Any:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


async def talk(address: Any, *pieces: bytes) -> bytes:
    """Sends pieces, half-closes, and returns everything that comes back."""
    async with connected(address) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if writer.can_write_eof():
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)


def statuses(reply: bytes) -> list[int]:
    return [int(part[:3]) for part in reply.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "message",
    [
        POST + b"content-length: 5\r\n\r\nhello",
        POST + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_a_request_is_the_same_wherever_it_is_cut(message):
    async with serving() as (_, address):
        for cut in range(1, len(message)):
            async with connected(address) as (reader, writer):
                writer.write(message[:cut])
                await writer.drain()
                await asyncio.sleep(0.001)
                writer.write(message[cut:])
                reply = await asyncio.wait_for(reader.readuntil(b"POST:hello"), 5)
            assert statuses(reply) == [200], cut


async def test_a_request_may_come_byte_by_byte():
    message = POST + b"content-length: 5\r\n\r\nhello"
    async with serving() as (_, address):
        reply = await talk(address, *(message[i : i + 1] for i in range(len(message))))
    assert reply.endswith(b"POST:hello")


async def test_pipelined_requests_are_answered_in_order_one_at_a_time():
    running = most = 0

    async def slow_first(request: Any, exchange: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05 if request.head.target == "/1" else 0)
        running -= 1
        exchange.send(200, {}, request.head.target.encode())

    requests = b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % i for i in range(1, 21))
    async with serving(slow_first) as (_, address):
        reply = await talk(address, requests)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in reply.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"/%d" % i for i in range(1, 21)]
    assert most == 1


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n", 400),
        (POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
        (POST + b"content-length: -1\r\n\r\n", 400),
        (POST + b"content-length: +3\r\n\r\nabc", 400),
        (POST + b"content-length: 3, 3\r\n\r\nabc", 400),
        (POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
        (POST + b"content-length : 3\r\n\r\nabc", 400),
        (POST + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n", 400),
        (POST + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", 415),
        (POST + b"expect: miracles\r\n\r\n", 417),
        (POST + b"content-length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (POST + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY_BYTES + 1)
         + b"a" * (MAX_BODY_BYTES + 1), 413),
        (POST + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * (2 * MAX_HEAD_BYTES), 431),
        (POST + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_a_message_that_could_be_read_in_two_ways_or_is_too_large_is_refused(message, status):
    seen = []

    async def note(request: Any, exchange: Any) -> None:
        seen.append(request)
        exchange.send(200, {}, b"")

    async with serving(note) as (_, address), connected(address) as (reader, writer):
        writer.write(message)
        reply = await asyncio.wait_for(reader.read(), 10)
    if seen:
        pytest.fail(f"the request was accepted as {seen}")
    assert statuses(reply) == [status]
    assert b"connection: close" in reply


async def test_a_body_of_exactly_the_limit_is_taken():
    async with serving() as (_, address):
        head = POST + b"content-length: %d\r\n\r\n" % MAX_BODY_BYTES
        reply = await talk(address, head, b"a" * MAX_BODY_BYTES)
    assert statuses(reply) == [200]


async def test_a_client_that_expects_it_is_told_to_go_on():
    async with serving() as (_, address), connected(address) as (reader, writer):
        writer.write(POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.readuntil(b"POST:hello")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("cut", [40, 120, 133, 136])
async def test_an_offer_of_another_protocol_is_not_taken_up(cut):
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAA\r\n"
    message = POST + offer + b"content-length: 5\r\n\r\nhello"
    async with serving() as (_, address), connected(address) as (reader, writer):
        for _ in range(2):
            writer.write(message[:cut])
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(message[cut:])
            assert (await reader.readuntil(b"POST:hello")).startswith(b"HTTP/1.1 200")


async def test_connect_is_refused():
    async with serving() as (_, address):
        reply = await talk(address, b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert statuses(reply) == [405]


async def test_connections_are_kept_or_closed_as_the_client_says():
    async with serving() as (_, address):
        async with connected(address) as (reader, writer):
            for _ in range(3):
                writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                await reader.readuntil(b"GET:")
            writer.write(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            assert b"connection: close" in await reader.read()
        async with connected(address) as (reader, writer):
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"GET:")


async def test_a_head_request_has_no_body():
    async with serving() as (_, address):
        reply = await talk(address, b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n")
    assert reply.endswith(b"content-length: 5\r\n\r\n")


async def streaming(request: Any, exchange: Any) -> None:
    exchange.start(200, {"content-type": "text/event-stream"})
    for piece in (b"one", b"", b"two"):
        exchange.write(piece)
    exchange.end()


async def test_a_stream_is_chunked_and_for_old_clients_ends_with_the_connection():
    async with serving(streaming) as (_, address):
        reply = await talk(address, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        assert reply.partition(b"\r\n\r\n")[2] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        reply = await talk(address, b"GET / HTTP/1.0\r\n\r\n")
        assert reply.partition(b"\r\n\r\n")[2] == b"onetwo"


async def test_a_client_that_does_not_read_holds_the_writer_back():
    written = 0

    async def flood(request: Any, exchange: Any) -> None:
        nonlocal written
        exchange.start(200, {})
        for _ in range(500):
            exchange.write(b"a" * 100_000)
            written += 1
            await exchange.drained()
        exchange.end()

    async with serving(flood) as (_, address), connected(address) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await reader.readexactly(10)
        await asyncio.sleep(0.2)
        assert written < 400
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
            if data.endswith(b"0\r\n\r\n"):
                break
        assert total > 50_000_000


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (b"", b"408"),
        (b"POST /x HT", b"408"),
        (POST + b"content-length: 5\r\n\r\nhe", b"408"),
        (b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", b"200"),
    ],
)
async def test_slow_and_idle_connections_are_ended(sent, reply):
    whole = reply == b"200"
    patience = 20.0 if whole else 0.1
    limits = dict.fromkeys(("first", "head"), patience) | {
        "body": 0.1,
        "body_idle": 0.1,
        "idle": 0.1,
    }
    async with serving(**limits) as (_, address), connected(address) as (reader, writer):
        writer.write(sent)
        got = await asyncio.wait_for(reader.read(), 10)
    assert got.split()[1] == reply


async def test_draining_finishes_what_is_in_flight_and_takes_nothing_new():
    started, gate = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, exchange: Any) -> None:
        started.set()
        await gate.wait()
        exchange.send(200, {}, b"done")

    async with (
        serving(wait) as (server, address),
        connected(address) as (reader, writer),
        connected(address) as (idle, _),
    ):
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await started.wait()
        drain = asyncio.ensure_future(server.drain())
        assert await asyncio.wait_for(idle.read(), 5) == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)
        assert server.inflight == 1
        gate.set()
        await drain
        assert (await reader.read()).endswith(b"done")

"""Clients that send slowly, never, or do not read: healthy traffic goes on, and they are ended."""

import asyncio
from typing import Any

import pytest

from burnish_interceptor.testing import serving, until

POST = b"POST / HTTP/1.1\r\nhost: h\r\n"
HALF_OPEN = 500


def echo(request: Any, exchange: Any) -> None:
    exchange.send(200, {}, request.body)


@pytest.mark.parametrize(
    "begun",
    [b"", b"PO", POST, POST + b"content-length: 9\r\n\r\nhalf",
     POST + b"transfer-encoding: chunked\r\n\r\n9\r\nhalf"],
)  # fmt: skip
async def test_half_open_connections_keep_nobody_else_from_being_served_and_are_ended(begun):
    limits = dict.fromkeys(("first", "head", "body_idle"), 1.0)
    async with serving(echo, **limits, linger=0.2) as (server, address):
        half_open = [await asyncio.open_connection(*address) for _ in range(HALF_OPEN)]
        for _, writer in half_open:
            writer.write(begun)
        await until(lambda: server.connections == HALF_OPEN)
        reader, writer = await asyncio.open_connection(*address)
        for number in range(50):
            body = b"%d" % number
            writer.write(POST + b"content-length: %d\r\n\r\n%b" % (len(body), body))
            reply = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n" + body), 5)
            assert reply.startswith(b"HTTP/1.1 200")
        writer.close()
        await until(lambda: server.connections == 0)
        replies = [await reader.read() for reader, _ in half_open]
        assert all(reply.startswith(b"HTTP/1.1 408") for reply in replies)
        for _, writer in half_open:
            writer.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("head", [POST, POST + b"content-length: 1000\r\n\r\n"])
async def test_a_byte_now_and_then_does_not_keep_a_connection_open_for_ever(head):
    async with serving(echo, first=0.4, head=0.4, body=0.4, linger=0.1) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head)

        async def drip() -> None:
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        reply = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert reply.startswith(b"HTTP/1.1 408")
        await until(lambda: server.connections == 0)
        dripping.cancel()
        writer.transport.abort()
        await asyncio.sleep(0.01)


async def test_a_client_that_never_reads_is_ended_and_its_answer_not_piled_up():
    written = 0

    def flood(request: Any, exchange: Any) -> None:
        nonlocal written
        exchange.start(200, {})

        def more() -> None:
            nonlocal written
            while not held and not exchange.ended and written < 200_000_000:
                exchange.write(b"a" * 65_536)
                written += 65_536

        def hold() -> None:
            held.append(True)

        def go_on() -> None:
            held.clear()
            more()

        held: list[bool] = []
        exchange.on_pause, exchange.on_resume = hold, go_on
        exchange.on_gone = exchange.abort
        more()

    async with serving(flood, write=0.4) as (server, address):
        _, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await until(lambda: written > 0)
        await until(lambda: server.connections == 0)
        assert written < 50_000_000
        assert server.inflight == 0
        writer.transport.abort()
        await asyncio.sleep(0.01)


async def test_a_client_that_goes_on_sending_after_it_was_refused_still_reads_why():
    async with serving(echo, linger=0.3) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST + b"content-length: 99999999\r\n\r\n" + b"a" * 500_000)
        reply = await asyncio.wait_for(reader.read(), 10)
        assert reply.startswith(b"HTTP/1.1 413")
        await until(lambda: server.connections == 0)
        writer.transport.abort()
        await asyncio.sleep(0.01)

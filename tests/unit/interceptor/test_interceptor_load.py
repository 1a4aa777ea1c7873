"""Thousands of calls leave nothing behind: no socket, no task, no object that counts."""

import asyncio
import gc
import os
from typing import Any

from burnish_interceptor.transport.client import Client, request_head
from burnish_interceptor.transport.origin import Origin
from burnish_interceptor.transport.server import Server

CALLS = 5_000
AT_ONCE = 50


class Relay:
    """Passes an answer on, as the data plane does."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.status = 0
        self.body = b""

    def head(self, status: int, headers: Any) -> None:
        self.status = status

    def data(self, data: bytes) -> None:
        self.body += data

    def end(self) -> None:
        self.exchange.send(self.status, {}, self.body)

    def failure(self, failure: Any) -> None:
        self.exchange.abort()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_five_thousand_calls_leave_sockets_tasks_and_memory_as_they_were():
    provider = Server(lambda r, e: e.send(200, {}, r.body))
    address = await provider.listen("127.0.0.1", 0)
    upstream = Origin(host=address[0], port=address[1], tls=False)
    client = Client()

    def relay(request: Any, exchange: Any) -> None:
        head = request_head(upstream, "/", {})
        data = head + b"%d\r\n\r\n%b" % (len(request.body), request.body)
        call = client.send(upstream, data, Relay(exchange))

        def gone() -> None:
            call.abort()
            exchange.abort()

        exchange.on_gone = gone

    server = Server(relay)
    host, port = await server.listen("127.0.0.1", 0)

    async def app(count: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        body = b"x" * 700
        for number in range(count):
            leaves = number % 50 == 49
            writer.write(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 700\r\n\r\n" + body)
            if leaves:
                writer.close()
                reader, writer = await asyncio.open_connection(host, port)
            else:
                await asyncio.wait_for(reader.readuntil(body), 20)
        writer.close()

    async def load(calls: int) -> tuple[int, int, int]:
        await asyncio.gather(*(app(calls // AT_ONCE) for _ in range(AT_ONCE)))
        async with asyncio.timeout(20):
            while server.connections or server.inflight:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        gc.collect()
        return descriptors(), len(asyncio.all_tasks()), resident()

    before = await load(1_000)
    after = await load(CALLS)
    assert after[0] <= before[0] + 2
    assert after[1] == before[1]
    assert after[2] - before[2] < 10 * 1024 * 1024
    client.close()
    await server.stop()
    await provider.stop()

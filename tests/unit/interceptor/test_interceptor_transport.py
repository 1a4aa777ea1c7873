"""Callbacks of both ends: who is told what when a client leaves, waits, or an upstream moves."""

import asyncio
import contextlib
import http.client
import io
import socket
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_interceptor.transport.addresses import Addresses, refused
from burnish_interceptor.transport.call import Call
from burnish_interceptor.transport.client import Client, request_head
from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.origin import BROKE, Origin, Timeouts, UpstreamFailure
from burnish_interceptor.transport.outbox import Outbox
from burnish_interceptor.transport.server import Server
from burnish_interceptor.transport.upstream_connection import UpstreamConnection

ANYBODY = str(IPv4Address(0))
GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - polls whatever a test asks for
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(handler: Any, **limits: Any) -> Any:
    server = Server(handler, limits=Limits(**limits))
    host, port = await server.listen("127.0.0.1", 0)
    try:
        yield server, Origin(host=host, port=port, tls=False)
    finally:
        await server.stop()


class Told:
    """Notes what a sink is told."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ends: list[Any] = []
        self.headers: Any = {}

    def head(self, status: int, headers: Any) -> None:
        self.status, self.headers = status, headers

    def data(self, data: bytes) -> None:
        self.body += data

    def end(self) -> None:
        self.ends.append("end")

    def failure(self, failure: UpstreamFailure) -> None:
        self.ends.append(failure.reason)

    async def over(self) -> Any:
        await until(lambda: self.ends)
        return self.ends


def post(origin: Origin, body: bytes = b"{}", path: str = "/") -> bytes:
    return request_head(origin, path, {}) + b"%d\r\n\r\n%b" % (len(body), body)


async def test_a_client_that_leaves_while_it_waits_is_told_at_once_and_not_waited_for():
    exchanges: list[Any] = []
    gone = asyncio.Event()

    def hold(request: Any, exchange: Any) -> None:
        exchange.on_gone = gone.set
        exchanges.append(exchange)

    async with serving(hold) as (server, origin):
        _, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        await until(lambda: server.inflight == 1)
        writer.close()
        await asyncio.wait_for(gone.wait(), 5)
        exchanges[0].abort()
        await until(lambda: server.inflight == 0 and server.connections == 0)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_is_told():
    gone = asyncio.Event()

    def stream(request: Any, exchange: Any) -> None:
        exchange.on_gone = gone.set
        exchange.start(200, {})
        exchange.write(b"first")

    async with serving(stream) as (_, origin):
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        await reader.readuntil(b"first")
        writer.close()
        await asyncio.wait_for(gone.wait(), 5)


async def test_without_a_hook_a_client_that_closed_its_side_is_still_answered():
    async def late(request: Any, exchange: Any) -> None:
        await asyncio.sleep(0.05)
        exchange.send(200, {}, b"late")

    async with serving(late) as (_, origin):
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        writer.write_eof()
        assert (await reader.read()).endswith(b"late")
        writer.close()


async def test_thousands_of_pipelined_requests_answered_at_once_do_not_grow_the_stack():
    def echo(request: Any, exchange: Any) -> None:
        exchange.send(200, {}, request.head.target.encode())

    async with serving(echo) as (_, origin):
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        targets = [b"/%d" % i for i in range(5000)]
        writer.write(b"".join(b"GET %b HTTP/1.1\r\nhost: h\r\n\r\n" % target for target in targets))
        for target in targets:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n" + target), 10)
        writer.close()


async def test_a_handler_that_breaks_breaks_its_connection_and_nothing_else():
    def handler(request: Any, exchange: Any) -> None:
        if request.head.target == "/bad":
            raise ValueError("a bug")
        exchange.send(200, {}, b"fine")

    async with serving(handler) as (server, origin):
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(b"GET /bad HTTP/1.1\r\nhost: h\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        await reader.readuntil(b"fine")
        assert server.inflight == 0
        writer.close()


async def test_silence_is_told_again_and_again_until_the_hook_is_taken_off():
    told = 0

    def handler(request: Any, exchange: Any) -> None:
        def silent() -> None:
            nonlocal told
            told += 1
            if told == 1:
                exchange.start(200, {"content-type": "text/event-stream"})
            exchange.write(b": keep-alive\n\n")
            if told == 3:
                exchange.on_silence = None
                exchange.end(b"data: x\n\n")

        exchange.on_silence = silent

    async with serving(handler, silence=0.05) as (_, origin):
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        reply = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        assert reply.count(b": keep-alive\n\n") == 3
        writer.close()


async def test_connections_over_a_cap_are_told_so_and_closed():
    async with serving(lambda r, e: e.send(200, {}, b""), connections_per_peer=2) as (
        server,
        origin,
    ):
        held = [await asyncio.open_connection(origin.host, origin.port) for _ in range(2)]
        await until(lambda: server.connections == 2)
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 503")
        writer.close()
        held[0][1].close()
        await until(lambda: server.connections == 1)
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        held[1][1].close()


async def test_draining_waits_for_streams_and_breaks_none():
    exchanges: list[Any] = []

    def stream(request: Any, exchange: Any) -> None:
        exchange.start(200, {})
        exchange.write(b"one")
        exchanges.append(exchange)

    async with serving(stream) as (server, origin):
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        writer.write(GET)
        await reader.readuntil(b"one")
        drain = asyncio.ensure_future(server.drain())
        await asyncio.sleep(0.05)
        assert not drain.done()
        exchanges[0].write(b"two")
        exchanges[0].end()
        await asyncio.wait_for(drain, 5)
        assert (await reader.read()).endswith(b"two\r\n0\r\n\r\n")
        writer.close()


async def test_a_call_tells_its_sink_everything_and_its_connection_is_used_again():
    def echo(request: Any, exchange: Any) -> None:
        exchange.send(200, {"Retry-After": "7", "x-nobody": "reads"}, request.body)

    async with serving(echo) as (server, origin):
        client = Client()
        for body in (b"one", b"two", b""):
            told = Told()
            client.send(origin, post(origin, body), told)
            assert await told.over() == ["end"]
            assert (told.status, told.body) == (200, body)
            assert told.headers == {"retry-after": "7", "content-length": str(len(body))}
        assert server.connections == 1
        client.close()


async def test_an_aborted_call_ends_the_upstream_and_tells_nothing_more():
    gone = asyncio.Event()
    seen = ""

    def handler(request: Any, exchange: Any) -> None:
        nonlocal seen
        seen = request.head.target
        exchange.on_gone = gone.set
        if request.head.target == "/stream":
            exchange.start(200, {})
            exchange.write(b"first")

    async with serving(handler) as (_, origin):
        client = Client()
        for path in ("/wait", "/stream"):
            gone.clear()
            told = Told()
            call = client.send(origin, post(origin, path=path), told)
            await until(lambda path=path: seen == path)
            if path == "/stream":
                await until(lambda told=told: told.body)
            call.abort()
            await asyncio.wait_for(gone.wait(), 5)
            assert told.ends == []
        client.close()


async def test_a_call_aborted_before_its_connection_stands_is_never_sent():
    seen: list[Any] = []

    def note(request: Any, exchange: Any) -> None:
        seen.append(request)
        exchange.send(200, {}, b"")

    async with serving(note) as (server, origin):
        client = Client()
        told = Told()
        client.send(origin, post(origin), told).abort()
        other = Told()
        client.send(origin, post(origin), other)
        await other.over()
        assert (len(seen), told.ends) == (1, [])
        client.close()
        await until(lambda: server.connections == 0)


async def test_a_sink_that_pauses_holds_the_provider_back():
    def flood(request: Any, exchange: Any) -> None:
        left, paused = 110, False

        def more() -> None:
            nonlocal left
            while left and not paused:
                exchange.write(b"a" * 100_000)
                left -= 1
            if not left:
                exchange.end()

        def pause() -> None:
            nonlocal paused
            paused = True

        def resume() -> None:
            nonlocal paused
            paused = False
            asyncio.get_running_loop().call_soon(more)

        exchange.on_pause, exchange.on_resume = pause, resume
        exchange.start(200, {})
        more()

    async with serving(flood) as (_, origin):
        client = Client()
        told = Told()
        call = client.send(origin, post(origin), told)
        await until(lambda: told.body)
        call.pause()
        await asyncio.sleep(0.05)
        before = len(told.body)
        await asyncio.sleep(0.1)
        assert len(told.body) == before < 11_000_000
        call.resume()
        assert await told.over() == ["end"]
        assert len(told.body) == 11_000_000
        client.close()


async def test_an_answer_with_more_behind_it_is_not_carried_over_to_the_next_call():
    async def reply(reader: Any, writer: Any) -> None:
        while data := await reader.read(65_536):
            if data:
                one = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
                writer.write(one + b"ok" + one + b"no")
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    origin = Origin(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls=False)
    client = Client()
    for _ in range(3):
        told = Told()
        client.send(origin, post(origin), told)
        assert await told.over() == ["end"]
        assert told.body == b"ok"
    client.close()
    server.close()
    await asyncio.sleep(0.01)


class Breaks(Told):
    """A sink that breaks at one of the things that it is told."""

    def __init__(self, *at: str) -> None:
        super().__init__()
        self.at = at

    def head(self, status: int, headers: Any) -> None:
        super().head(status, headers)
        assert "head" not in self.at

    def data(self, data: bytes) -> None:
        assert "data" not in self.at
        super().data(data)

    def end(self) -> None:
        assert "end" not in self.at
        super().end()

    def failure(self, failure: UpstreamFailure) -> None:
        super().failure(failure)
        assert "failure" not in self.at


@pytest.mark.parametrize("at", ["head", "data", "end"])
async def test_a_sink_that_breaks_is_told_so_and_other_calls_go_on(at):
    async with serving(lambda r, e: e.send(200, {}, b"fine")) as (_, origin):
        client = Client()
        for also in ((), ("failure",)):
            broken, told = Breaks(at, *also), Told()
            client.send(origin, post(origin), broken)
            assert await broken.over() == [BROKE]
            client.send(origin, post(origin), told)
            assert await told.over() == ["end"]
            assert told.body == b"fine"
        client.close()


async def test_a_sink_that_breaks_at_a_deadline_does_not_stop_the_timer():
    async with serving(lambda r, e: None) as (_, origin):
        client = Client(timeouts=Timeouts(head=0.1))
        for sink in (Breaks("failure"), Told()):
            client.send(origin, post(origin), sink)
            assert await sink.over() == ["UPSTREAM_TIMEOUT"]
            await asyncio.sleep(0.01)
        client.close()


async def test_deadlines_are_on_one_timer_and_a_paused_call_has_only_the_total_one():
    def start(request: Any, exchange: Any) -> None:
        if request.head.target == "/begun":
            exchange.start(200, {})
            exchange.write(b"first")

    async with serving(start) as (_, origin):
        client = Client(timeouts=Timeouts(head=0.1, read=0.1, total=0.6))
        waiting, begun, paused = Told(), Told(), Told()
        client.send(origin, post(origin), waiting)
        client.send(origin, post(origin, path="/begun"), begun)
        call = client.send(origin, post(origin, path="/begun"), paused)
        await until(lambda: paused.body)
        call.pause()
        assert await waiting.over() == ["UPSTREAM_TIMEOUT"]
        assert await begun.over() == ["UPSTREAM_TIMEOUT"]
        await asyncio.sleep(0.15)
        assert paused.ends == []
        assert await paused.over() == ["UPSTREAM_TIMEOUT"]
        client.close()


@pytest.mark.parametrize(
    ("address", "never"),
    [
        ("169.254.169.254", True), ("::ffff:169.254.169.254", True), ("fe80::1", True),
        ("fe80::1%eth0", True), ("64:ff9b::a9fe:a9fe", True), ("2002:a9fe:a9fe::1", True),
        ("fd00:ec2::254", True), ("100.100.100.200", True), (ANYBODY, True), ("::", True),
        ("224.0.0.1", True), ("127.0.0.1", False), ("10.0.0.8", False), ("::1", False),
        ("93.184.216.34", False), ("2606:2800:220::1", False), ("64:ff9b::5db8:d822", False),
    ],
)  # fmt: skip
def test_addresses_of_metadata_services_and_of_nobody_are_never_connected_to(address, never):
    assert refused(address) is never


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "2852039166", "[::]"])
async def test_a_metadata_address_is_refused_however_it_is_written(host):
    client, told = Client(), Told()
    client.send(Origin(host=host.strip("[]"), port=80, tls=False), b"x", told)
    assert await told.over() == ["UPSTREAM_ADDRESS_REFUSED"]
    client.close()


async def test_one_bad_address_among_good_ones_refuses_the_name_and_nothing_is_sent():
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "169.254.169.254"]

    seen: list[Any] = []
    async with serving(lambda r, e: seen.append(r)) as (_, origin):
        client = Client(addresses=Addresses(lookup=lookup, clock=lambda: 0.0))
        told = Told()
        client.send(origin._replace(host="provider.test"), b"x", told)
        assert await told.over() == ["UPSTREAM_ADDRESS_REFUSED"]
        assert seen == []
        client.close()


async def test_a_name_is_looked_up_once_per_connection_so_a_second_answer_gains_nothing():
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    asked: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked) - 1, 1)]

    now = 0.0
    async with serving(lambda r, e: e.send(200, {}, r.head.headers["host"].encode())) as (
        _,
        origin,
    ):
        client = Client(addresses=Addresses(lookup=lookup, clock=lambda: now))
        named = origin._replace(host="provider.test")
        told = Told()
        client.send(named, post(named), told)
        assert await told.over() == ["end"]
        assert told.body == b"provider.test:%d" % origin.port
        assert asked == ["provider.test"]
        now = 60.0
        first, second = Told(), Told()  # The second needs a connection of its own.
        client.send(named, post(named), first)
        client.send(named, post(named), second)
        assert await first.over() == ["end"]
        assert await second.over() == ["UPSTREAM_ADDRESS_REFUSED"]
        client.close()


async def test_a_name_that_moves_is_followed_and_dead_addresses_are_passed_over():
    where = ["127.0.0.9"]

    async def lookup(host: str, port: int) -> list[str]:
        return where

    now = 0.0
    async with serving(lambda r, e: e.send(200, {}, b"here")) as (_, origin):
        client = Client(addresses=Addresses(lookup=lookup, clock=lambda: now))
        named = origin._replace(host="provider.test")
        told = Told()
        client.send(named, post(named), told)
        assert await told.over() == ["UPSTREAM_UNREACHABLE"]
        where[:] = ["127.0.0.9", "127.0.0.1"]
        now = 60.0
        told = Told()
        client.send(named, post(named), told)
        assert await told.over() == ["end"]
        client.close()


async def test_a_connection_is_not_used_beyond_its_age():
    async with serving(lambda r, e: e.send(200, {}, b"")) as (server, origin):
        client = Client(timeouts=Timeouts(age=0.05))
        told = Told()
        client.send(origin, post(origin), told)
        await told.over()
        await asyncio.sleep(0.1)
        told = Told()
        client.send(origin, post(origin), told)
        assert await told.over() == ["end"]
        await until(lambda: server.connections == 1)
        client.close()


async def test_small_writes_are_not_held_back_on_either_side():
    sockets: list[Any] = []

    def note(request: Any, exchange: Any) -> None:
        connection = exchange._connection
        sockets.append(connection._transport.get_extra_info("socket"))
        exchange.send(200, {}, b"")

    async with serving(note) as (_, origin):
        client, told = Client(), Told()
        call = client.send(origin, post(origin), told)
        await told.over()
        sockets.append(call.line._transport.get_extra_info("socket"))  # type: ignore[union-attr]
        for one in sockets:
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()


async def test_writes_of_one_turn_leave_in_their_order_and_before_a_close():
    def stream(request: Any, exchange: Any) -> None:
        exchange.start(200, {})
        for number in range(100):
            exchange.write(b"%d," % number)
        exchange.end()

    async with serving(stream) as (_, origin):
        for ending in (b"", b"connection: close\r\n"):
            reader, writer = await asyncio.open_connection(origin.host, origin.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n" + ending + b"\r\n")
            reply = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
            pieces = reply.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2]
            assert b"".join(pieces) == b"".join(b"%d," % number for number in range(100))
            writer.close()


# Answers, side by side with two other implementations.


class _Pool:
    timeouts = Timeouts()

    @property
    def outbox(self) -> Outbox:
        return Outbox()

    def opened(self, connection: Any) -> None:
        pass

    closed = release = repeat = opened


class _Transport:
    closing = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0


class _Keeping(_Pool):
    """A pool under load: writes wait in its outbox. Notes what is given back to it."""

    def __init__(self) -> None:
        self.kept = Outbox()
        self.released: list[Any] = []
        for _ in range(100):
            self.kept.put(_Transport(), b"x")  # type: ignore[arg-type]

    @property
    def outbox(self) -> Outbox:
        return self.kept

    def release(self, connection: Any) -> None:
        self.released.append(connection)


@pytest.mark.parametrize("unasked", [True, False])
async def test_a_connection_whose_call_was_answered_before_it_left_is_not_used_again(unasked):
    origin = Origin(host="h", port=80, tls=False)
    pool, transport, told = _Keeping(), _Transport(), Told()
    connection = UpstreamConnection(pool, origin)
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.carry(Call(origin, b"call", told))
    if not unasked:
        pool.kept.flush()
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (told.body, told.ends) == (b"ok", ["end"])
    assert (pool.released, transport.closing) == (([], True) if unasked else ([connection], False))


async def ours(*pieces: bytes, closed: bool = False) -> Told:
    origin = Origin(host="h", port=80, tls=False)
    connection = UpstreamConnection(_Pool(), origin)
    connection.connection_made(_Transport())  # type: ignore[arg-type]
    told = Told()
    connection.carry(Call(origin, b"", told))
    for piece in pieces:
        connection.data_received(piece)
    if closed:
        connection.connection_lost(None)
    return told


class _Socket:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> Any:
        return io.BytesIO(self.data)


def by_standard_library(data: bytes) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(_Socket(data), method="POST")  # type: ignore[arg-type]
    response.begin()
    return response.status, response.read()


def by_h11(data: bytes) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, body


@st.composite
def answers(draw: Any) -> tuple[bytes, bool]:
    status = draw(st.sampled_from([200, 201, 400, 404, 429, 500, 503]))
    body = draw(st.binary(max_size=60))
    early = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n"])
    )
    head = early + b"HTTP/1.1 %d Reason\r\nx-a: b\r\n" % status
    kind = draw(st.sampled_from(["length", "chunks", "close"]))
    if kind == "length":
        return head + b"content-length: %d\r\n\r\n%b" % (len(body), body), False
    if kind == "close":
        return head + b"\r\n" + body, True
    wire = b""
    while body:
        size = draw(st.integers(1, len(body)))
        wire += b"%x%b\r\n%b\r\n" % (size, draw(st.sampled_from([b"", b";e=1"])), body[:size])
        body = body[size:]
    return head + b"transfer-encoding: chunked\r\n\r\n" + wire + b"0\r\n\r\n", False


@settings(max_examples=60, deadline=None)
@given(answers())
def test_answers_are_read_as_h11_and_the_standard_library_read_them_wherever_they_are_cut(answer):
    data, closed = answer
    wanted = by_h11(data)
    if b"103 Early" not in data:
        assert by_standard_library(data) == wanted
    cuts = [[data[:cut], data[cut:]] for cut in range(1, len(data))]

    async def check() -> None:
        for pieces in [[data], [data[i : i + 1] for i in range(len(data))], *cuts]:
            told = await ours(*pieces, closed=closed)
            assert ((told.status, told.body), told.ends) == (wanted, ["end"])

    asyncio.run(check())


@settings(max_examples=200, deadline=None)
@given(answers(), st.data())
def test_an_answer_cut_short_is_never_taken_for_a_whole_one(answer, data):
    whole, closed = answer
    if closed:
        return  # Without a length the close is the end.
    cut = data.draw(st.integers(0, len(whole) - 1))
    told = asyncio.run(ours(whole[:cut], closed=True))
    assert told.ends == ["UPSTREAM_CLOSED"]

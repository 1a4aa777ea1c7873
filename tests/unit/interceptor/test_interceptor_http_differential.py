"""Requests read side by side with two other implementations: h11, and the standard library's.

Whatever is taken for a request here has to be the same request there, wherever the bytes are cut:
a proxy before us that reads like them can then never be made to see another boundary.
"""

import asyncio
import email.parser
import http.client
import io
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish_interceptor.transport.connection import Connection
from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.outbox import Outbox

Seen = tuple[str, str, bytes]


class MemoryTransport:
    """Takes what is written, and tells whether the connection was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 1)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@dataclass
class MemoryHost:
    """Notes every request and answers it at once."""

    limits: Limits = field(default_factory=Limits)
    draining: bool = False
    requests: list[Seen] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    outbox: Outbox = field(default_factory=Outbox)

    def run(self, request: Any, exchange: Any) -> None:
        self.requests.append((request.head.method, request.head.target, request.body))
        # A repeated head is shared, with the first one's length, which nobody reads here.
        headers = dict(request.head.headers)
        headers.pop("content-length", None)
        self.headers.append(headers)
        exchange.send(200, {}, b"")

    def opened(self, connection: Any) -> bool:
        return True

    def closed(self, connection: Any) -> None:
        pass

    over = closed


@dataclass
class Outcome:
    """What became of some bytes."""

    requests: list[Seen]
    refused: int
    headers: list[dict[str, str]]


async def ours(*pieces: bytes) -> Outcome:
    host, transport = MemoryHost(), MemoryTransport()
    connection = Connection(host)
    connection.connection_made(transport)  # type: ignore[arg-type]
    for piece in pieces:
        if transport.closed:
            break
        connection.data_received(piece)
        host.outbox.flush()
    statuses = [int(part[:3]) for part in transport.written.split(b"HTTP/1.1 ")[1:]]
    final = [status for status in statuses if status not in (100, 200)]
    return Outcome(host.requests, final[0] if final else 0, host.headers)


def by_h11(data: bytes) -> Outcome:
    """Reads as h11 does; empty lines between requests are skipped before it sees them."""
    found: list[Seen] = []
    while data := data.lstrip(b"\r\n"):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=10_000_000)
        body, head = b"", None
        try:
            connection.receive_data(data)
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return Outcome(found, 0, [])
            assert head is not None
        except h11.RemoteProtocolError as error:
            return Outcome(found, error.error_status_hint, [])
        found.append((head.method.decode(), head.target.decode("latin-1"), body))
        connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.MUST_CLOSE:
            break
        data = connection.trailing_data[0]
    return Outcome(found, 0, [])


class _Handler(BaseHTTPRequestHandler):
    """Reads one request out of bytes, as the standard library's server does."""

    protocol_version = "HTTP/1.1"

    def __init__(self, data: bytes) -> None:
        self.rfile = io.BytesIO(data)
        self.wfile = io.BytesIO()
        self.client_address = ("", 0)
        self.requestline = self.request_version = ""
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass

    def read(self) -> list[Seen]:
        found: list[Seen] = []
        while True:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                return found
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                return found
            found.append((self.command, self.path, body))
            if self.close_connection:
                return found


def pieces_of(data: bytes) -> list[list[bytes]]:
    cuts = [[data[:cut], data[cut:]] for cut in range(1, len(data))]
    return [[data], [data[i : i + 1] for i in range(len(data))], *cuts]


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
TARGETS = st.from_regex(r"/[a-z0-9][a-z0-9/._~%-]{0,20}(\?[a-z=&]{0,10})?", fullmatch=True)
NAMES = st.from_regex(r"x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
VALUES = st.from_regex(r"([!-~]([ \t!-~]{0,20}[!-~])?)?", fullmatch=True)
BODIES = st.binary(max_size=40)


@st.composite
def requests(draw: Any, *, chunked: bool = True) -> bytes:
    """A request in order, in one of the forms that the standard allows."""
    lines = [f"{draw(METHODS)} {draw(TARGETS)} HTTP/1.1", "Host: h"]
    for name, value in draw(st.dictionaries(NAMES, VALUES, max_size=3)).items():
        space = draw(st.sampled_from(["", " ", "\t", "  "]))
        lines.append(f"{name}:{space}{value}")
    body: bytes = draw(BODIES)
    kind = draw(st.sampled_from(["length", "chunks", "none"] if chunked else ["length", "none"]))
    if kind == "length":
        lines.append(draw(st.sampled_from(["content-length", "Content-Length"])) + f": {len(body)}")
    elif kind == "chunks":
        lines.append("Transfer-Encoding: chunked")
    head: bytes = "\r\n".join(lines).encode() + b"\r\n\r\n"
    if kind == "none":
        return head
    if kind == "length":
        return head + body
    sizes = draw(st.lists(st.integers(1, 9), max_size=6))
    wire = b""
    for size in sizes:
        piece, body = body[:size], body[size:]
        if piece:
            wire += draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(piece)
            wire += draw(st.sampled_from([b"", b";a", b";a=b"])) + b"\r\n" + piece + b"\r\n"
    wire += b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    end: bytes = draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nx-trailer: y\r\n\r\n"]))
    return head + wire + end


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join))
def test_requests_in_order_are_read_as_h11_reads_them_wherever_they_are_cut(data):
    async def check() -> None:
        wanted = by_h11(data).requests
        assert wanted
        for pieces in pieces_of(data):
            outcome = await ours(*pieces)
            assert (outcome.requests, outcome.refused) == (wanted, 0)

    asyncio.run(check())


@settings(max_examples=200, deadline=None)
@given(st.lists(requests(chunked=False), min_size=1, max_size=3).map(b"".join))
def test_requests_in_order_are_read_as_the_standard_library_reads_them(data):
    assert asyncio.run(ours(data)).requests == _Handler(data).read()


DAMAGE = [
    *(b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"0", b"-", b"+", b",", b";", b"\x0b"),
    *(b"\xff", b"chunked", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n"),
]


@st.composite
def damaged(draw: Any) -> bytes:
    """A request with a few bytes changed, put in or taken out."""
    data: bytes = draw(st.lists(requests(), min_size=1, max_size=2).map(b"".join))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.sampled_from(DAMAGE))
        data = data[:at] + new + data[at + draw(st.integers(0, 2)) :]
    return data


@settings(max_examples=2000, deadline=None)
@given(damaged())
def test_of_damaged_requests_none_is_read_that_h11_reads_differently(data):
    """Everything accepted here is accepted there, and is the same; refusing more is no harm."""
    outcome = asyncio.run(ours(data))
    # More than one space in a request line is read here; it moves no boundary.
    there = by_h11(
        re.sub(rb" +(HTTP/1\.[01]\r\n)", rb" \1", re.sub(rb"([A-Z]) +/", rb"\1 /", data))
    )
    agreed = min(len(outcome.requests), len(there.requests))
    assert outcome.requests[:agreed] == there.requests[:agreed]
    if len(outcome.requests) > agreed:
        _only_stricter_there(data, outcome.requests[agreed])


def _only_stricter_there(data: bytes, extra: Seen) -> None:
    """h11 refuses some bytes in values and targets that change no boundary."""
    try:
        data.decode("ascii")
    except UnicodeDecodeError:
        return
    pytest.fail(f"read as {extra}, which h11 refuses: {data!r}")


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_damage_is_seen_alike_wherever_the_bytes_are_cut(data):
    async def check() -> None:
        whole = await ours(data)
        for pieces in pieces_of(data)[1::7]:
            parts = await ours(*pieces)
            assert parts.requests == whole.requests
            assert bool(parts.refused) == bool(whole.refused)

    asyncio.run(check())


HEAD = b"POST /x HTTP/1.1\r\nhost: h\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
TWICE = CHUNKED[:-2] + b"transfer-encoding: "
FOUR = b"content-length: 4\r\n\r\n0\r\n\r\n"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(BODIES, st.booleans()), min_size=2, max_size=6))
def test_a_head_that_repeats_the_last_one_is_read_as_if_it_did_not(bodies):
    """The short cut for repeated heads, against a connection that never takes it."""

    def message(body: bytes, other: bool) -> bytes:
        more = b"x-other: 1\r\n" if other else b""
        return HEAD + more + b"content-length: %d\r\na: b\r\n\r\n%b" % (len(body), body)

    messages = [message(*one) for one in bodies]

    async def check() -> None:
        whole_reads = await ours(*messages)
        parsed = await ours(
            *(message[i : i + 1] for message in messages for i in range(len(message)))
        )
        assert whole_reads == parsed
        assert len(parsed.requests) == len(messages)

    asyncio.run(check())


CORPUS = {
    "both lengths": HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other way": HEAD + b"Transfer-Encoding: chunked\r\n" + FOUR,
    "two lengths": HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "two equal lengths": HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "list of lengths": HEAD + b"content-length: 3, 3\r\n\r\nabc",
    "negative length": HEAD + b"content-length: -3\r\n\r\nabc",
    "signed length": HEAD + b"content-length: +3\r\n\r\nabc",
    "hexadecimal length": HEAD + b"content-length: 0x3\r\n\r\nabc",
    "empty length": HEAD + b"content-length:\r\n\r\nabc",
    "length with a space": HEAD + b"content-length: 1 3\r\n\r\nabc",
    "length with an underscore": HEAD + b"content-length: 1_0\r\n\r\n0123456789",
    "length in other digits": HEAD + "content-length: ٣\r\n\r\nabc".encode(),
    "huge length": HEAD + b"content-length: 99999999999999999999\r\n\r\nabc",
    "coding twice": TWICE + b"chunked\r\n\r\n0\r\n\r\n",
    "two codings": TWICE + b"identity\r\n\r\n0\r\n\r\n",
    "list of codings": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding not last": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding in quotes": HEAD + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "coding with a parameter": HEAD + b"transfer-encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "coding behind a vertical tab": HEAD + b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "space before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "tab before the colon": HEAD + b"content-length\t: 3\r\n\r\nabc",
    "folded header": HEAD + b"x: a\r\n transfer-encoding: chunked\r\n\r\n",
    "folded coding": HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before the first header": b"GET / HTTP/1.1\r\n host: h\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nhost: h\n\n",
    "bare line feed in a head": HEAD + b"x: a\ncontent-length: 3\r\n\r\nabc",
    "bare carriage return in a value": HEAD + b"x: a\rtransfer-encoding: chunked\r\n\r\n",
    "null in a value": HEAD + b"x: a\0b\r\n\r\n",
    "null in a name": HEAD + b"x\0: a\r\n\r\n",
    "null in the target": b"GET /a\0b HTTP/1.1\r\nhost: h\r\n\r\n",
    "line break in the target": b"GET /a\r\nx: HTTP/1.1\r\nhost: h\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
    "no name": HEAD + b": a\r\n\r\n",
    "no colon": HEAD + b"transfer-encoding chunked\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "two equal hosts": b"GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
    "absolute target": b"GET http://169.254.169.254/latest HTTP/1.1\r\nhost: h\r\n\r\n",
    "target that is a host": b"GET evil.example:80 HTTP/1.1\r\nhost: h\r\n\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nhost: h\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nhost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.1 and more": b"GET / HTTP/1.1 x\r\nhost: h\r\n\r\n",
    "small letters": b"get / http/1.1\r\nhost: h\r\n\r\n",
    "negative chunk": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "signed chunk": CHUNKED + b"+1\r\nx\r\n0\r\n\r\n",
    "chunk with a prefix": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "chunk with a space": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "chunk behind a space": CHUNKED + b" 1\r\nx\r\n0\r\n\r\n",
    "endless chunk": CHUNKED + b"ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "chunk over 64 bits": CHUNKED + b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "chunk without a size": CHUNKED + b";a=b\r\nx\r\n0\r\n\r\n",
    "chunk ended by a line feed": CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "chunk longer than it says": CHUNKED + b"1\r\nxx\r\n0\r\n\r\n",
    "line feed in an extension": CHUNKED + b"1;a\nb\r\nx\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
async def test_what_two_readers_could_read_in_two_ways_is_refused_and_the_rest_unread(name):
    smuggled = b"GET /admin HTTP/1.1\r\nhost: h\r\n\r\n"
    for pieces in pieces_of(CORPUS[name] + smuggled):
        outcome = await ours(*pieces)
        assert outcome.requests == []
        assert outcome.refused >= 400


async def test_a_length_with_zeros_before_it_is_the_number_that_every_reader_sees():
    data = HEAD + b"content-length: 003\r\n\r\nabc" + HEAD + b"content-length: 0\r\n\r\n"
    assert (await ours(data)).requests == by_h11(data).requests == _Handler(data).read()


@pytest.mark.parametrize("space", [b"", b" ", b"  ", b"\t", b" \t", b"\t "])
async def test_space_around_what_frames_a_body_never_moves_a_boundary(space):
    chunked = HEAD + b"transfer-encoding:%bchunked%b\r\n\r\n0\r\n\r\n" % (space, space)
    length = HEAD + b"content-length:%b3%b\r\n\r\nabc" % (space, space)
    for data in (chunked + length, length + chunked):
        outcome = await ours(data)
        if b"\t" in space:  # Refused, where others would read on.
            assert outcome.refused == 400
            assert len(outcome.requests) <= 1
        else:
            assert outcome.requests == by_h11(data).requests
            assert len(outcome.requests) == 2


async def test_headers_behind_a_body_change_nothing():
    data = CHUNKED + b"0\r\nauthorization: x\r\nhost: evil\r\n\r\n"
    outcome = await ours(data)
    assert outcome.headers == [{"host": "h", "transfer-encoding": "chunked"}]


async def test_values_are_read_as_the_standard_library_reads_them():
    lines = b"host: h\r\nX-A:  b \t\r\nx-c:\r\nX-D: e: f\r\n\r\n"
    outcome = await ours(b"GET / HTTP/1.1\r\n" + lines)
    parsed = email.parser.BytesParser(_class=http.client.HTTPMessage).parsebytes(lines)
    stripped = {name.lower(): value.strip() for name, value in parsed.items()}
    assert outcome.headers == [stripped]

"""The pooled client towards providers, against servers that answer as they please."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from burnish_interceptor.testing.reply import post
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.origin import Origin, Timeouts, UpstreamFailure


class Wire:
    """A server that does with each request what its script says."""

    def __init__(self, script: Any) -> None:
        self.script = script
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: Any, writer: Any) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                if not await self.script(len(self.requests), writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def wire(script: Any, *, tls: Any = None, patience: float = 20.0) -> Any:
    served = Wire(script)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    client = Client(timeouts=Timeouts(connect=20, head=patience, read=patience))
    try:
        yield served, client, Origin(host="127.0.0.1", port=port, tls=tls is not None)
    finally:
        client.close()
        server.close()
        await asyncio.sleep(0)


def always(reply: bytes, *, keep: bool = True) -> Any:
    async def script(number: int, writer: Any) -> bool:
        writer.write(reply)
        await writer.drain()
        return keep

    return script


async def ask(client: Any, origin: Any) -> Any:
    reply = await post(client, origin, "/v1/x", {"content-type": "application/json"}, b"{}")
    return reply.status, await reply.read()


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_connections_are_used_again():
    async with wire(always(OK)) as (served, client, origin):
        for _ in range(5):
            assert await ask(client, origin) == (200, b"ok")
        assert served.connections == 1
        assert served.requests[0].startswith(b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")


async def test_calls_at_once_have_connections_of_their_own():
    async with wire(always(OK)) as (served, client, origin):
        await asyncio.gather(*(ask(client, origin) for _ in range(8)))
        assert served.connections == 8
        await asyncio.gather(*(ask(client, origin) for _ in range(8)))
        assert served.connections == 8


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (CHUNKED, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    ],
)
async def test_every_framing_is_read_wherever_it_is_cut(reply, body):
    for cut in range(1, len(reply)):

        async def script(number: int, writer: Any, at: int = cut) -> bool:
            writer.write(reply[:at])
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.write(reply[at:])
            return True

        async with wire(script) as (_, client, origin):
            assert await ask(client, origin) == (200, body), cut


async def test_a_body_without_a_length_ends_with_the_connection():
    reply = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    async with wire(always(reply, keep=False)) as (_, client, origin):
        assert await ask(client, origin) == (200, b"all of it")


async def test_a_pooled_connection_that_was_closed_is_replaced_once():
    async def script(number: int, writer: Any) -> bool:
        if number == 2:
            return False
        writer.write(OK)
        return True

    async with wire(script) as (served, client, origin):
        assert await ask(client, origin) == (200, b"ok")
        assert client.repeated_count == 0
        assert await ask(client, origin) == (200, b"ok")
        assert len(served.requests) == 3
        assert client.repeated_count == 1


async def test_a_fresh_connection_that_closes_is_a_failure_and_not_repeated():
    async with wire(always(b"", keep=False)) as (served, client, origin):
        with pytest.raises(UpstreamFailure) as caught:
            await ask(client, origin)
        assert (caught.value.reason, caught.value.not_sent) == ("UPSTREAM_CLOSED", False)
        assert len(served.requests) == 1


async def test_a_pooled_connection_that_answered_a_byte_is_not_repeated():
    async def script(number: int, writer: Any) -> bool:
        writer.write(OK if number == 1 else b"HTTP/1.1 2")
        await writer.drain()
        return number == 1

    async with wire(script) as (served, client, origin):
        await ask(client, origin)
        with pytest.raises(UpstreamFailure):
            await ask(client, origin)
        assert len(served.requests) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"nonsense\r\n\r\n", "UPSTREAM_PROTOCOL"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, "UPSTREAM_PROTOCOL"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort", "UPSTREAM_TIMEOUT"),
        (b"HTTP/1.1 200 OK\r\n", "UPSTREAM_TIMEOUT"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99000000\r\n\r\n" + b"a" * 13_000_000,
         "UPSTREAM_TOO_LONG"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_broken_slow_or_endless_is_a_failure(reply, reason):
    patience = 0.3 if reason == "UPSTREAM_TIMEOUT" else 20.0
    async with wire(always(reply), patience=patience) as (_, client, origin):
        with pytest.raises(UpstreamFailure) as caught:
            await ask(client, origin)
        assert caught.value.reason == reason
        assert not caught.value.not_sent


async def test_a_slow_answer_on_a_pooled_connection_is_not_asked_for_twice():
    async def script(number: int, writer: Any) -> bool:
        if number == 1:
            writer.write(OK)
        return True

    async with wire(script, patience=1.0) as (served, client, origin):
        await ask(client, origin)
        with pytest.raises(UpstreamFailure, match="UPSTREAM_TIMEOUT"):
            await ask(client, origin)
        assert len(served.requests) == 2


async def test_an_answer_that_breaks_off_is_a_failure():
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"
    async with wire(always(reply, keep=False)) as (_, client, origin):
        with pytest.raises(UpstreamFailure, match="UPSTREAM_CLOSED"):
            await ask(client, origin)


async def test_a_reader_that_waits_holds_the_provider_back():
    async def flood(number: int, writer: Any) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 12000000\r\n\r\n")
        for _ in range(120):
            writer.write(b"a" * 100_000)
            await writer.drain()
        return True

    async with wire(flood) as (_, client, origin):
        reply = await post(client, origin, "/", {}, b"")
        await asyncio.sleep(0.2)
        assert reply.queued < 2_000_000
        assert len(await reply.read()) == 12_000_000


def certificate(tmp_path: Any, host: str) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(host))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "cert.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + cert.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_tls_is_verified(tmp_path):
    trusted = ssl.create_default_context()
    server = certificate(tmp_path, "127.0.0.1")
    trusted.load_verify_locations(tmp_path / "cert.pem")
    async with wire(always(OK), tls=server) as (served, stranger, origin):
        with pytest.raises(UpstreamFailure) as caught:
            await ask(stranger, origin)
        assert (caught.value.reason, caught.value.not_sent) == ("UPSTREAM_TLS", True)
        assert served.requests == []
        friend = Client(tls=trusted)
        assert await ask(friend, origin) == (200, b"ok")
        friend.close()


async def test_a_certificate_of_another_host_is_refused(tmp_path):
    trusted = ssl.create_default_context()
    server = certificate(tmp_path, "127.0.0.2")
    trusted.load_verify_locations(tmp_path / "cert.pem")
    async with wire(always(OK), tls=server) as (_, _stranger, origin):
        with pytest.raises(UpstreamFailure, match="UPSTREAM_TLS"):
            await ask(Client(tls=trusted), origin)


class Early:
    """A server that answers its first call when it has the head alone, and then reads no more."""

    def __init__(self) -> None:
        self.connections = 0
        self.over = asyncio.Event()
        self.served: list[Any] = []

    async def serve(self, reader: Any, writer: Any) -> None:
        self.served.append(asyncio.current_task())
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        status = 413 if self.connections == 1 else 200
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
        await self.over.wait()
        writer.transport.abort()
        await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


@pytest.mark.parametrize("secure", [False, True])
async def test_a_connection_that_still_holds_a_part_of_its_call_carries_no_other(secure, tmp_path):
    context = certificate(tmp_path, "127.0.0.1") if secure else None
    early = Early()
    server = await asyncio.start_server(early.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem")) if secure else None
    client = Client(timeouts=Timeouts(head=2.0), tls=trust)
    origin = Origin(host="127.0.0.1", port=port, tls=secure)
    try:
        reply = await post(client, origin, "/", {}, b"a" * 9_000_000)
        assert (reply.status, await reply.read()) == (413, b"")
        reply = await post(client, origin, "/", {}, b"{}")
        assert (reply.status, early.connections) == (200, 2)
    finally:
        client.close()
        early.over.set()
        server.close()
        await asyncio.wait(early.served)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("close", [b"", b"connection: close\r\n"])
@pytest.mark.parametrize("extra", [b"garbage", b"x", b"\r\nH", b"\0" * 40])
async def test_a_whole_answer_is_given_whatever_follows_it_and_its_connection_not_used_again(
    close, extra
):
    reply = b"HTTP/1.1 200 OK\r\n" + close + b"content-length: 2\r\n\r\nok" + extra
    async with wire(always(reply)) as (served, client, origin):
        for _ in range(2):
            assert await ask(client, origin) == (200, b"ok")
        assert served.connections == 2


@pytest.mark.parametrize(
    "coding", [b"identity", b"chunked, identity", b"chunked\r\ntransfer-encoding: identity"]
)
async def test_a_body_in_a_coding_that_does_not_frame_it_ends_with_the_connection(coding):
    reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: " + coding + b"\r\n\r\n2\r\nit"
    async with wire(always(reply, keep=False)) as (_, client, origin):
        assert await ask(client, origin) == (200, b"2\r\nit")


@pytest.mark.parametrize(
    "coding", [b"chunked", b"gzip, Chunked", b"identity\r\ntransfer-encoding: chunked"]
)
@pytest.mark.parametrize("close", [b"", b"connection: close\r\n"])
async def test_a_body_in_chunks_that_breaks_off_is_never_taken_for_a_whole_one(coding, close):
    reply = b"HTTP/1.1 200 OK\r\n" + close + b"transfer-encoding: " + coding + b"\r\n\r\n9\r\ncut"
    async with wire(always(reply, keep=False)) as (_, client, origin):
        with pytest.raises(UpstreamFailure, match="UPSTREAM_CLOSED"):
            await ask(client, origin)

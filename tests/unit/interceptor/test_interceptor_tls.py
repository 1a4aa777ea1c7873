"""HTTPS of the data plane: verified on both sides, and a certificate that is read again."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.server import Server
from burnish_interceptor.transport.settings import HttpSettings
from burnish_interceptor.transport.tls import Certificate, upstream_context
from burnish_runtime.settings import SettingsInvalid

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


def issue(directory: Path, name: str) -> tuple[Path, Path]:
    """Writes a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key_file.write_bytes(private)
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return cert_file, key_file


def trusting(*files: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for pem in files:
        context.load_verify_locations(cadata=pem.decode())
    return context


@asynccontextmanager
async def serving(certificate: Certificate) -> Any:
    server = Server(lambda r, e: e.send(200, {}, b"ok"), limits=Limits(head=0.4))
    address = await server.listen("127.0.0.1", 0, certificate=certificate)
    try:
        yield address
    finally:
        await server.stop()


async def ask(reader: Any, writer: Any) -> bytes:
    writer.write(GET)
    return bytes(await asyncio.wait_for(reader.readuntil(b"ok"), 10))


async def common_name(address: Any, trust: ssl.SSLContext) -> str:
    reader, writer = await asyncio.open_connection(*address, ssl=trust)
    assert (await ask(reader, writer)).startswith(b"HTTP/1.1 200")
    subject = dict(pair[0] for pair in writer.get_extra_info("peercert")["subject"])
    writer.close()
    await writer.wait_closed()
    return str(subject["commonName"])


async def test_a_new_certificate_is_served_without_a_restart_and_breaks_no_connection(tmp_path):
    cert_file, key_file = issue(tmp_path, "first")
    first = cert_file.read_bytes()
    async with serving(Certificate(cert_file, key_file)) as address:
        held = await asyncio.open_connection(*address, ssl=trusting(first))
        assert await ask(*held)
        issue(tmp_path, "second")
        trust = trusting(first, cert_file.read_bytes())
        async with asyncio.timeout(10):
            while await common_name(address, trust) != "second":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await ask(*held)
        held[1].close()


def test_files_that_do_not_fit_each_other_leave_the_old_certificate_in_force(tmp_path):
    cert_file, key_file = issue(tmp_path, "first")
    certificate = Certificate(cert_file, key_file)
    other = tmp_path / "other"
    other.mkdir()
    new_cert, new_key = issue(other, "second")
    cert_file.write_bytes(new_cert.read_bytes())
    assert certificate.refresh() is False
    key_file.write_bytes(new_key.read_bytes())
    assert certificate.refresh() is True
    assert certificate.refresh() is False
    key_file.unlink()
    assert certificate.refresh() is False


async def test_nothing_below_tls_1_2_is_spoken(tmp_path):
    cert_file, key_file = issue(tmp_path, "first")
    certificate = Certificate(cert_file, key_file)
    assert certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
    async with serving(certificate) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def test_providers_are_verified_also_with_a_ca_of_their_own(tmp_path):
    cert_file, key_file = issue(tmp_path, "ca")
    context = upstream_context(cert_file)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    async with serving(Certificate(cert_file, key_file)) as address:
        assert await common_name(address, context) == "ca"
        with pytest.raises(ssl.SSLError):
            await common_name(address, upstream_context(None))


def test_settings_say_every_problem_at_once(tmp_path):
    cert_file, key_file = issue(tmp_path, "first")
    environ = {
        "BURNISH_HTTP_PROCESSES": "3",
        "BURNISH_HTTP_CERT_FILE": str(cert_file),
        "BURNISH_HTTP_KEY_FILE": str(key_file),
        "BURNISH_HTTP_KEEP_ALIVE_SECONDS": "2.5",
        "BURNISH_HTTP_MAX_CONNECTIONS": "10",
        "BURNISH_UPSTREAM_READ_SECONDS": "7",
    }
    read = HttpSettings.from_environment(environ)
    assert (read.processes, read.cert_file, read.limits.silence) == (3, cert_file, 2.5)
    assert (read.limits.connections, read.timeouts.read) == (10, 7.0)
    wrong = {
        "BURNISH_HTTP_PROCESSES": "many",
        "BURNISH_HTTP_CERT_FILE": str(tmp_path / "none"),
        "BURNISH_HTTP_HEAD_SECONDS": "nan",
        "BURNISH_UPSTREAM_TOTAL_SECONDS": "0",
        "BURNISH_HTTP_MAX_CONNECTIONS_PER_PEER": "1.5",
    }
    with pytest.raises(SettingsInvalid) as caught:
        HttpSettings.from_environment(wrong)
    assert caught.value.metadata.keys() == wrong.keys()
    with pytest.raises(SettingsInvalid, match="belong together"):
        HttpSettings.from_environment({"BURNISH_HTTP_CERT_FILE": str(cert_file)})

"""Addresses that a job names for its app or its models: which are never connected to.

Loopback and private addresses are let through on purpose: apps and models live there. Which of them
may be reached is the network policy's to say. Metadata services, whatever only looks like a host,
and everything that is not HTTP never is.
"""

import ipaddress
import socket
from typing import Any

import pytest
import yarl
from aiohttp.abc import AbstractResolver

from burnish.errors import BurnishError
from burnish_controller.task_apps.address import AppAddress, GuardedResolver
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.providers import Account, Providers
from burnish_interceptor.transport.addresses import Addresses
from burnish_interceptor.transport.origin import UpstreamFailure
from burnish_runtime.egress import refused, refused_host
from burnish_runtime.llm.registry import ProviderInvalid, ProviderRegistry
from burnish_runtime.settings import Secret, ServiceSettings

NEVER = [
    "http://169.254.169.254/latest/meta-data",
    "https://169.254.169.254",
    "http://169.254.169.254:80",
    "http://169.254.169.254.",
    "http://169.254.0.1",
    "http://[fe80::1]",
    "http://[fe80::1%25eth0]",
    "http://[::ffff:169.254.169.254]",
    "http://[::ffff:a9fe:a9fe]",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]",
    "http://[64:ff9b::169.254.169.254]",
    "http://[2002:a9fe:a9fe::1]",
    "http://[fd00:ec2::254]",
    "http://100.100.100.200",
    "http://168.63.129.16",
    "http://192.0.0.192",
    "http://224.0.0.1",
    "http://239.255.255.250",
    "http://[ff02::1]",
    "http://0.0.0.0",
    "http://[::]",
    "http://0",
    "http://2852039166",
    "http://0xa9fea9fe",
    "http://0xa9.0xfe.0xa9.0xfe",
    "http://0251.0376.0251.0376",
    "http://169.254.43518",
    "http://169.16689662",
    "http://metadata.internal",
    "http://METADATA.internal.",
    "http://half-bad.example",
    "http://169\u3002254\u3002169\u3002254",
    "http://169\uff0e254\uff0e169\uff0e254",
    "http://\uff11\uff16\uff19.\uff12\uff15\uff14.\uff11\uff16\uff19.\uff12\uff15\uff14",
    "http://\u2460\u2465\u2468.254.169.254",
    "http://\u24dbocalhost",
    "http://user@127.0.0.1",
    "http://user:word@127.0.0.1",
    "http://@127.0.0.1",
    "http://127.0.0.1@169.254.169.254",
    "http://169.254.169.254@127.0.0.1",
    "http://127.0.0.1\\@169.254.169.254",
    "http://127.0.0.1 @169.254.169.254",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/_x",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock",
    "ftp://127.0.0.1",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//127.0.0.1",
    "127.0.0.1:8101",
    "http:/127.0.0.1",
    "http:///x",
    "http://",
    "",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:x",
    "http://[::1",
    "http://127.0.0.1/?to=http://169.254.169.254",
    "http://127.0.0.1/#@169.254.169.254",
]
MAY = [
    "http://127.0.0.1:8101",
    "http://127.1",
    "http://0x7f.1",
    "http://0x7f000001",
    "http://2130706433",
    "http://017700000001",
    "http://[::1]:8101",
    "http://[::ffff:127.0.0.1]",
    "http://localhost:8101",
    "http://localhost.",
    "http://10.0.0.1",
    "http://172.16.0.1",
    "http://192.168.1.1",
    "http://[fc00::1]",
    "https://app.example/base",
    "https://xn--bcher-kva.example",
]
NAMES = {
    "localhost": ["127.0.0.1"],
    "app.example": ["93.184.216.34"],
    "xn--bcher-kva.example": ["93.184.216.35"],
    "metadata.internal": ["169.254.169.254"],
    "half-bad.example": ["93.184.216.34", "169.254.169.254"],
}


def resolved(host: str) -> list[str]:
    """Resolves as the system does, without asking anybody."""
    named = NAMES.get(host.lower().removesuffix("."))
    if named is not None:
        return named
    found = socket.getaddrinfo(host.removesuffix("."), 80, flags=socket.AI_NUMERICHOST)
    return [str(entry[4][0]) for entry in found]


class Resolver(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> Any:
        return [{"host": address, "port": port} for address in resolved(host)]

    async def close(self) -> None:
        return None


async def reached_as_app(url: str) -> list[str]:
    """Returns the addresses that the controller would connect to for a task app."""
    host = yarl.URL(str(AppAddress.parse(url))).raw_host or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return [found["host"] for found in await GuardedResolver(Resolver()).resolve(host, 80)]
    return [host]  # The client resolves no literal address: only the check of the URI was made.


async def reached_as_model(url: str) -> list[str]:
    """Returns the addresses that the interceptor would connect to for a model."""

    async def lookup(host: str, port: int) -> list[str]:
        return resolved(host)

    providers = Providers({"openai_compatible": Account(base_url="")})
    model = Model(provider="openai_compatible", name="m", base_url=url)
    origin = providers.target(model).origin
    return await Addresses(lookup=lookup, clock=lambda: 0.0).of(origin.host, origin.port)


@pytest.mark.parametrize("url", NEVER)
async def test_what_is_never_connected_to_is_refused_however_it_is_written(url):
    for reached in (reached_as_app, reached_as_model):
        with pytest.raises((BurnishError, OSError, UpstreamFailure)):
            await reached(url)


@pytest.mark.parametrize("url", MAY)
async def test_addresses_where_apps_and_models_live_are_let_through(url):
    for reached in (reached_as_app, reached_as_model):
        found = await reached(url)
        assert found
        assert not any(map(refused, found))


async def test_a_name_that_changes_between_two_looks_is_checked_at_each():
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    class Flipping(Resolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            return [{"host": address, "port": port} for address in answers.pop(0)]

    resolver = GuardedResolver(Flipping())
    assert [found["host"] for found in await resolver.resolve("flip.example", 80)] == ["127.0.0.1"]
    with pytest.raises(OSError, match="metadata"):
        await resolver.resolve("flip.example", 80)


def test_a_name_is_no_refused_host():
    assert not refused_host("metadata.internal")
    assert refused_host("169.254.169.254")


OWN = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:10/v1", "http://127.0.0.1:9/v2", "http://127.0.0.1:9/v1/more",
     "http://127.0.0.1.evil.example:9/v1", "HTTP://127.0.0.1:9/v1", "http://127.1:9/v1",
     "http://[::ffff:127.0.0.1]:9/v1"],
)  # fmt: skip
@pytest.mark.parametrize("keyed", [True, False])
def test_the_operators_key_goes_to_the_operators_address_only(url, keyed):
    key = Secret("sk-operator-0123456789")
    account = Account(base_url=OWN, key=key)
    given = OWN if keyed else url
    model = Model(provider="openai_compatible", name="m", base_url=given)
    headers = Providers({"openai_compatible": account}).target(model).headers
    assert ("authorization" in headers) is keyed
    settings = ServiceSettings(
        service="proposer", openai_compatible_api_key=key, openai_compatible_base_url=OWN
    )
    opened: Any = ProviderRegistry(settings).get("openai_compatible", base_url=given)
    assert (opened._client.api_key == str(key)) is keyed
    assert str(key) not in repr(opened._client.default_headers) or keyed
    assert not opened._client._client.follow_redirects


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1", "http://169\u3002254\u3002169\u3002254/v1"]
)
def test_proposer_and_judges_call_no_metadata_address(url):
    with pytest.raises(ProviderInvalid, match="never connected"):
        ProviderRegistry(ServiceSettings(service="proposer")).get("openai_compatible", base_url=url)


def test_the_operators_address_is_used_where_a_job_names_none():
    settings = ServiceSettings(
        service="proposer", openai_compatible_api_key=Secret("k"), openai_compatible_base_url=OWN
    )
    opened: Any = ProviderRegistry(settings).get("openai_compatible")
    assert (opened._client.api_key, str(opened._client.base_url)) == ("k", OWN + "/")

"""Providers that cannot be reached: whoever calls is told, and never waits for ever."""

import asyncio
from typing import Any

import pytest

from burnish_interceptor.policies.policy import Model
from burnish_interceptor.providers import Account, Providers, ProviderUnusable
from burnish_interceptor.transport.addresses import Addresses
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.origin import Origin, Timeouts, UpstreamFailure


class Told:
    """Takes an answer, or why there is none."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[UpstreamFailure] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Any) -> None:
        raise AssertionError(status)

    def data(self, data: bytes) -> None:
        raise AssertionError(data)

    def end(self) -> None:
        raise AssertionError

    def failure(self, failure: UpstreamFailure) -> None:
        self.failed.set_result(failure)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("host", ["a..b", ".local", "x" * 70 + ".example"])
async def test_a_host_that_is_no_name_is_a_provider_that_cannot_be_reached(host, tls):
    client, told = Client(timeouts=Timeouts(connect=20)), Told()
    client.send(Origin(host=host, port=9, tls=tls), b"", told)
    failure = await asyncio.wait_for(told.failed, 10)
    client.close()
    assert (failure.reason, failure.not_sent) == ("UPSTREAM_UNREACHABLE", True)


async def test_a_fault_while_connecting_is_told_to_whoever_calls():
    async def broken(host: str, port: int) -> list[str]:
        raise ValueError("odd")

    addresses = Addresses(lookup=broken, clock=lambda: 0.0)
    client, told = Client(timeouts=Timeouts(connect=20), addresses=addresses), Told()
    client.send(Origin(host="provider.test", port=9, tls=False), b"", told)
    failure = await asyncio.wait_for(told.failed, 10)
    client.close()
    assert (failure.reason, failure.not_sent) == ("UPSTREAM_UNREACHABLE", True)


@pytest.mark.parametrize("host", ["a..b", ".local", "x" * 70 + ".example"])
def test_a_base_url_whose_host_is_no_name_is_refused(host):
    providers = Providers({"local": Account(base_url="")})
    model = Model(provider="local", name="m", base_url=f"http://{host}/v1")
    with pytest.raises(ProviderUnusable, match="no host name"):
        providers.target(model, "/chat/completions")


@pytest.mark.parametrize("host", ["a.b", "a.b.", "[::1]", "127.0.0.1", "x" * 63 + ".example"])
def test_a_base_url_with_a_host_name_is_taken(host):
    providers = Providers({"local": Account(base_url="")})
    model = Model(provider="local", name="m", base_url=f"http://{host}/v1")
    assert providers.target(model, "/chat/completions").origin.port == 80

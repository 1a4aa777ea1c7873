"""Calls to this machine go straight, whatever proxy the environment names."""

import socket

import grpc
import pytest

from burnish import rpc
from burnish.suite.health import serving
from burnish_runtime.server import ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings
from burnish_runtime.testing import HandlerService

PATH = "/burnish.testing.v1.HandlerService/Do"


@pytest.fixture
def dead_proxy(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound but not listening: every connection is refused.
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for name in ("grpc_proxy", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        for name in ("no_grpc_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield


async def test_a_service_on_this_machine_is_called_and_checked_past_the_proxy(dead_proxy):
    async def echo(request, context):
        return request

    service = HandlerService({"Do": grpc.unary_unary_rpc_method_handler(echo)})
    server = ServiceServer(service, ServiceSettings(service="echo", auth_token=Secret("t")))
    addresses = await server.start()
    try:
        async with rpc.connect(addresses.grpc, token="t") as channel:
            do: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PATH)
            reply = await do(b"hello", timeout=10)
            assert reply == b"hello"
        assert await serving({"health": addresses.health})
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1:50051", True),
        ("127.9.9.9:1", True),
        ("localhost:50051", True),
        ("dns:///localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("ipv6:[::1]:50051", True),
        ("[::1]:50051", True),
        ("unix:///run/burnish.sock", True),
        ("search:50051", False),
        ("dns:///search:50051", False),
        ("10.0.0.1:50051", False),
        ("localhost.example.com:50051", False),
        ("[2001:db8::1]:50051", False),
    ],
)
def test_only_loopback_and_sockets_are_on_this_machine(target, expected):
    assert rpc.on_this_machine(target) is expected

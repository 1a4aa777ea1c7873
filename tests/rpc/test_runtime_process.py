"""A service as a process of its own: starting, health, metrics, and an orderly end at SIGTERM."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2

from burnish import errors, rpc
from burnish_runtime.server import CannotServe, ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings
from burnish_runtime.testing import HandlerService

FULL_NAME = "burnish.testing.v1.HandlerService"
TOKEN = "test-token-of-the-process"
SERVICE = """
import asyncio, sys
import grpc
from pathlib import Path
from burnish_runtime import server
from burnish_runtime.testing import HandlerService

state = Path(sys.argv[1])

async def wait(request, context):
    (state / "began").touch()
    while not (state / "release").exists():
        await asyncio.sleep(0.01)
    return b"finished"

async def break_down(request, context):
    raise RuntimeError("no key such as sk-canarycanarycanarycanary may be logged")

class Recording(HandlerService):
    async def drain(self):
        (state / "drained").touch()

    async def stop(self):
        (state / "stopped").touch()

def build(settings):
    asyncio.get_running_loop()  # channels made here belong to the loop that serves
    return Recording({
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "BreakDown": grpc.unary_unary_rpc_method_handler(break_down),
    })

raise SystemExit(server.main(build, service="handlers"))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A running service process and its addresses."""

    process: asyncio.subprocess.Process
    addresses: dict[str, Any]


async def launch(state: Path, **settings: str) -> asyncio.subprocess.Process:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")},
        "BURNISH_AUTH_TOKEN": TOKEN,
        "BURNISH_READY_FILE": str(state / "ready.json"),
        "BURNISH_DRAIN_SECONDS": "60",
        **settings,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, str(state), env=environment, stderr=asyncio.subprocess.PIPE
    )


@contextlib.asynccontextmanager
async def started(state: Path, **settings: str) -> AsyncIterator[Started]:
    process = await launch(state, **settings)
    ready = state / "ready.json"
    try:
        await until(lambda: ready.exists() or process.returncode is not None)
        yield Started(process=process, addresses=json.loads(ready.read_text("utf-8")))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(0.01)


async def health_of(address: str, service: str = "") -> str:
    async with aio.insecure_channel(address) as channel:
        check: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )
        request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        answer = health_pb2.HealthCheckResponse.FromString(await check(request, timeout=10))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def call(channel: aio.Channel, method: str, *, seconds: float = 60) -> bytes:
    send: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{FULL_NAME}/{method}")
    async with rpc.translated():
        return await send(b"hello", timeout=seconds)


async def test_at_sigterm_a_call_in_flight_finishes_while_health_is_not_serving(tmp_path):
    async with started(tmp_path) as service:
        health = service.addresses["health"]
        assert await health_of(health) == "SERVING"
        assert await health_of(health, FULL_NAME) == "SERVING"
        async with rpc.connect(service.addresses["grpc"], token=TOKEN) as channel:
            in_flight = asyncio.create_task(call(channel, "Wait"))
            await until((tmp_path / "began").exists)
            service.process.send_signal(signal.SIGTERM)
            await until((tmp_path / "drained").exists)
            assert await health_of(health) == "NOT_SERVING"
            assert await health_of(health, FULL_NAME) == "NOT_SERVING"
            assert not in_flight.done()
            assert not (tmp_path / "stopped").exists()
            (tmp_path / "release").touch()
            assert await in_flight == b"finished"
        _, log = await service.process.communicate()
    assert service.process.returncode == 0
    assert (tmp_path / "stopped").exists()
    events = [json.loads(line)["event"] for line in log.decode().splitlines() if line[:1] == "{"]
    assert events == ["serving", "stopping", "stopped"]


async def test_sigint_ends_the_process_as_orderly(tmp_path):
    async with started(tmp_path) as service:
        service.process.send_signal(signal.SIGINT)
        await service.process.communicate()
    assert service.process.returncode == 0
    assert (tmp_path / "stopped").exists()


async def test_a_call_that_outlasts_the_drain_is_cut(tmp_path):
    async with (
        started(tmp_path, BURNISH_DRAIN_SECONDS="0.1") as service,
        rpc.connect(
            service.addresses["grpc"], token=TOKEN, options=rpc.ChannelOptions(max_attempts=1)
        ) as channel,
    ):
        in_flight = asyncio.create_task(call(channel, "Wait"))
        await until((tmp_path / "began").exists)
        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(errors.Unavailable):
            await in_flight
        await service.process.communicate()
    assert service.process.returncode == 0


async def test_the_ready_file_tells_who_serves_where(tmp_path):
    async with started(tmp_path, BURNISH_METRICS_LISTEN="127.0.0.1:0") as service:
        addresses = service.addresses
        assert set(addresses) == {"service", "pid", "grpc", "health", "metrics", "http"}
        assert (addresses["service"], addresses["pid"]) == ("handlers", service.process.pid)
        assert addresses["http"] is None
        assert not addresses["grpc"].endswith(":0")
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


async def test_an_unexpected_exception_is_logged_without_the_key_in_it(tmp_path):
    async with started(tmp_path) as service:
        async with rpc.connect(service.addresses["grpc"], token=TOKEN) as channel:
            with pytest.raises(errors.Internal):
                await call(channel, "BreakDown")
        service.process.send_signal(signal.SIGTERM)
        _, log = await service.process.communicate()
    (line,) = [one for one in map(json.loads, log.decode().splitlines()) if "exception" in one]
    assert line["service"] == "handlers"
    assert line["method"] == f"/{FULL_NAME}/BreakDown"
    assert len(line["request_id"]) == 32
    assert "RuntimeError" in line["exception"]
    assert "canary" not in log.decode()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"BURNISH_AUTH_TOKEN": ""}, "AUTH_TOKEN_MISSING"),
        (
            {"BURNISH_AUTH_TOKEN": "", "BURNISH_INSECURE": "1", "BURNISH_LISTEN": "0.0.0.0:0"},
            "INSECURE_ADDRESS",
        ),
        ({"BURNISH_LISTEN": "nowhere", "BURNISH_DRAIN_SECONDS": "soon"}, "SETTINGS_INVALID"),
    ],
)
async def test_a_service_that_cannot_serve_says_why_and_exits_with_1(tmp_path, settings, reason):
    process = await launch(tmp_path, **settings)
    _, log = await process.communicate()
    lines = [json.loads(line) for line in log.decode().splitlines()]
    assert process.returncode == 1
    assert [(line["event"], line["reason"]) for line in lines] == [("cannot_serve", reason)]
    assert not (tmp_path / "ready.json").exists()


async def test_health_needs_no_token_and_the_service_port_has_no_health():
    service = HandlerService({})
    settings = ServiceSettings(service="handlers", auth_token=Secret(TOKEN))
    server = ServiceServer(service, settings)
    try:
        addresses = await server.start()
        assert await health_of(addresses.health, FULL_NAME) == "SERVING"
        with pytest.raises(aio.AioRpcError) as caught:
            await health_of(addresses.grpc)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(aio.AioRpcError) as unknown:
            await health_of(addresses.health, "burnish.testing.v1.OtherService")
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    finally:
        await server.stop()


async def test_metrics_count_calls_by_method_and_code():
    async def echo(request, context):
        return request

    async def refuse(request, context):
        raise errors.NotFound("no such thing")

    handlers: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    settings = ServiceSettings(
        service="handlers", auth_token=Secret(TOKEN), metrics_listen="127.0.0.1:0"
    )
    server = ServiceServer(HandlerService(handlers), settings)
    try:
        addresses = await server.start()
        async with rpc.connect(addresses.grpc, token=TOKEN) as channel:
            for _ in range(3):
                await call(channel, "Echo")
            with pytest.raises(errors.NotFound):
                await call(channel, "Refuse")
        async with rpc.connect(addresses.grpc, token="other") as channel:
            with pytest.raises(errors.Unauthenticated):
                await call(channel, "Echo")
        text = await asyncio.to_thread(get, f"http://{addresses.metrics}/metrics")
    finally:
        await server.stop()
    echo_label = f'method="/{FULL_NAME}/Echo"'
    assert f'burnish_rpc_calls_total{{code="OK",{echo_label}}} 3.0' in text
    assert f'burnish_rpc_calls_total{{code="NOT_FOUND",method="/{FULL_NAME}/Refuse"}} 1.0' in text
    assert 'burnish_rpc_calls_total{code="UNAUTHENTICATED",method="denied"} 1.0' in text
    assert f"burnish_rpc_duration_seconds_count{{{echo_label}}} 3.0" in text
    assert f"burnish_rpc_in_flight{{{echo_label}}} 0.0" in text
    assert "process_resident_memory_bytes" in text


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        body: bytes = answer.read()
    return body.decode()


async def test_a_taken_port_is_named_and_nothing_stays_open():
    first = ServiceServer(
        HandlerService({}), ServiceSettings(service="one", auth_token=Secret(TOKEN))
    )
    try:
        taken = (await first.start()).grpc
        second = ServiceServer(
            HandlerService({}),
            ServiceSettings(service="two", auth_token=Secret(TOKEN), listen=taken),
        )
        with pytest.raises(CannotServe) as caught:
            await second.start()
        await second.stop()
        assert caught.value.reason == "ADDRESS_UNAVAILABLE"
        assert taken in caught.value.message
    finally:
        await first.stop()


async def test_a_service_that_fails_to_start_is_neither_drained_nor_stopped():
    class Broken(HandlerService):
        calls: tuple[str, ...] = ()

        async def start(self, server):
            raise errors.FailedPrecondition("the store is locked", reason="STORE_LOCKED")

        async def drain(self):
            self.calls += ("drain",)

        async def stop(self):
            self.calls += ("stop",)

    service = Broken({})
    server = ServiceServer(service, ServiceSettings(service="one", auth_token=Secret(TOKEN)))
    with pytest.raises(errors.FailedPrecondition):
        await server.start()
    await server.stop()
    assert service.calls == ()


async def test_a_drain_that_hangs_does_not_stop_the_end():
    class Hanging(HandlerService):
        stopped = False

        async def drain(self):
            await asyncio.Event().wait()

        async def stop(self):
            self.stopped = True

    service = Hanging({})
    settings = ServiceSettings(service="one", auth_token=Secret(TOKEN), drain_seconds=0.05)
    server = ServiceServer(service, settings)
    await server.start()
    await server.stop()
    assert service.stopped

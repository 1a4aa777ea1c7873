"""One way to start and to stop a service.

Start: the service adds its servicers, the server opens its ports, health turns SERVING, and the
ready file tells the addresses. Stop, at SIGTERM or SIGINT: health turns NOT_SERVING, the service
drains, endless streams are ended, calls in flight finish, the service closes, and the process
exits with 0.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import structlog
import uvloop
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from burnish.errors import BurnishError, FailedPrecondition
from burnish.rpc import MAX_METADATA_BYTES
from burnish_runtime.interceptors import CallChain, CallRules
from burnish_runtime.settings import ServiceSettings, host_and_port
from burnish_runtime.telemetry import MetricsServer, RpcMetrics, configure_logging

_log = structlog.get_logger("burnish.server")
_LOOPBACK = ("127.", "::1", "localhost")
_CONNECTION_AGE_SECONDS = 600


class CannotServe(FailedPrecondition):
    """The service cannot open its ports as it was told."""

    default_reason = "CANNOT_SERVE"


class Service(Protocol):
    """What a service gives to the runtime.

    Attributes:
        name: Name of the service, such as `search`.
    """

    name: str

    @property
    def http_address(self) -> str | None:
        """`host:port` of its HTTP data plane; None when it has none."""

    async def start(self, server: aio.Server) -> Sequence[str]:
        """Opens stores and adds servicers.

        Returns:
            The full names of the gRPC services that were added.
        """

    async def drain(self) -> None:
        """Stops taking work and flushes; calls in flight go on meanwhile."""

    async def stop(self) -> None:
        """Closes stores and channels. Called once, after the last call ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a service is reached, each as `host:port`.

    Attributes:
        grpc: Its RPCs.
        health: Its health.
        metrics: Its metrics; None when they are off.
        http: Its data plane; None when it has none.
    """

    grpc: str
    health: str
    metrics: str | None
    http: str | None


class ServiceServer:
    """A service with its ports."""

    def __init__(self, service: Service, settings: ServiceSettings) -> None:
        """Prepares the server; nothing is opened yet.

        Args:
            service: What is served.
            settings: Where and how.

        Raises:
            CannotServe: There is no token, and serving without one was not asked for or is not
                allowed at this address.
        """
        _require_token(settings)
        self._service = service
        self._settings = settings
        self._metrics = RpcMetrics()
        self._chain = CallChain(
            rules=CallRules(
                token=settings.auth_token,
                max_concurrent_calls=settings.max_concurrent_calls,
                max_deadline_seconds=settings.max_deadline_seconds,
            ),
            metrics=self._metrics,
        )
        self._server: aio.Server | None = None
        self._health_server: aio.Server | None = None
        self._metrics_server: MetricsServer | None = None
        self._service_started = False
        self._health = health.aio.HealthServicer()

    async def start(self) -> Addresses:
        """Starts to serve.

        Raises:
            CannotServe: A port cannot be opened.
            BurnishError: The service cannot start.
        """
        settings = self._settings
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        self._health_server = aio.server(options=_server_arguments(settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._health_server)
        health_address = _bind(self._health_server, settings.health_listen, "health_listen")
        await self._health_server.start()
        self._server = aio.server(interceptors=[self._chain], options=_server_arguments(settings))
        names = await self._service.start(self._server)
        self._service_started = True
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        grpc_address = _bind(self._server, settings.listen, "listen")
        await self._server.start()
        if settings.metrics_listen:
            self._metrics_server = MetricsServer.start(
                settings.metrics_listen, self._metrics.registry
            )
        for name in ("", *names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return Addresses(
            grpc=grpc_address,
            health=health_address,
            metrics=None if self._metrics_server is None else self._metrics_server.address,
            http=self._service.http_address,
        )

    async def stop(self) -> None:
        """Drains and stops in order; calls longer than `drain_seconds` are cut."""
        await self._health.enter_graceful_shutdown()
        try:
            await self._drain()
        finally:
            self._chain.end_streams()
            if self._server is not None:
                await self._server.stop(grace=self._settings.drain_seconds)
            if self._service_started:
                await self._service.stop()
            if self._metrics_server is not None:
                await self._metrics_server.stop()
            if self._health_server is not None:
                await self._health_server.stop(grace=None)

    async def _drain(self) -> None:
        if not self._service_started:
            return
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._service.drain()
        except TimeoutError:
            _log.warning("drain_cut", drain_seconds=self._settings.drain_seconds)


def main(build: Callable[[ServiceSettings], Service], *, service: str) -> int:
    """Runs a service until SIGTERM or SIGINT.

    Args:
        build: Makes the service from its settings.
        service: Name of the service.

    Returns:
        Exit code of the process: 0 after an orderly stop, 1 when the service could not start.
    """
    configure_logging(service=service, node_id="", level="INFO")
    try:
        settings = ServiceSettings.from_environment(os.environ, service=service)
        configure_logging(service=service, node_id=settings.node_id, level=settings.log_level)
        uvloop.run(_serve(build, settings))
    except BurnishError as error:
        _log.error("cannot_serve", reason=error.reason, error=error.message)
        return 1
    except Exception:
        _log.exception("crashed")
        return 1
    return 0


async def _serve(build: Callable[[ServiceSettings], Service], settings: ServiceSettings) -> None:
    # Built inside the loop: a channel belongs to the loop that it was made in.
    service = build(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = ServiceServer(service, settings)
    try:
        addresses = await server.start()
        if settings.ready_file is not None:
            _write_ready_file(settings.ready_file, service=service.name, addresses=addresses)
        _log.info("serving", **asdict(addresses))
        _settle_heap()
        await stopping.wait()
        _log.info("stopping")
    finally:
        await server.stop()
    _log.info("stopped")


def _settle_heap() -> None:
    """Takes what a service is made of out of the garbage collector's way.

    It stays to the end, and to go through all of it again holds up every call for some 50 ms.
    """
    gc.collect()
    gc.freeze()


def _write_ready_file(path: Path, *, service: str, addresses: Addresses) -> None:
    """Writes the file whole or not at all, so that who polls for it never reads half."""
    text = json.dumps({"service": service, "pid": os.getpid(), **asdict(addresses)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def _require_token(settings: ServiceSettings) -> None:
    if settings.auth_token is not None:
        return
    host, _ = host_and_port(settings.listen)
    if not settings.insecure:
        raise CannotServe(
            "BURNISH_AUTH_TOKEN is not set; set it, or BURNISH_INSECURE=1 to serve without a token "
            "on a loopback address",
            reason="AUTH_TOKEN_MISSING",
        )
    if not host.startswith(_LOOPBACK):
        raise CannotServe(
            f"BURNISH_INSECURE=1 with BURNISH_LISTEN={settings.listen} would let anybody in; set "
            "BURNISH_AUTH_TOKEN or listen on 127.0.0.1",
            reason="INSECURE_ADDRESS",
            metadata={"listen": settings.listen},
        )


def _bind(server: aio.Server, listen: str, setting: str) -> str:
    host, port = host_and_port(listen)
    try:
        bound = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise CannotServe(
            f"`{setting}`: cannot listen on `{listen}`; is the port taken?",
            reason="ADDRESS_UNAVAILABLE",
            metadata={setting: listen},
        ) from error
    if bound == 0:
        raise CannotServe(
            f"`{setting}`: cannot listen on `{listen}`; is the port taken?",
            reason="ADDRESS_UNAVAILABLE",
            metadata={setting: listen},
        )
    return listen if port == bound else f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"


def _server_arguments(settings: ServiceSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
        # By default gRPC answers CANCELLED, at random, above about 1,000 calls not yet accepted.
        ("grpc.server.max_pending_requests", settings.max_pending_calls),
        ("grpc.server.max_pending_requests_hard_limit", 2 * settings.max_pending_calls),
        # Clients come back through name resolution, and so find new replicas; calls are not cut.
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_SECONDS * 1000),
        ("grpc.max_connection_age_grace_ms", int(settings.max_deadline_seconds * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.so_reuseport", 0),
    ]

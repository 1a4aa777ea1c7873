"""The real server around a service, for tests, and a service made of bare handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from burnish import rpc
from burnish_runtime.server import Service, ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings

if TYPE_CHECKING:  # generic in the stubs only
    _Handlers = Mapping[str, grpc.RpcMethodHandler[Any, Any]]

_FAST_DRAIN_SECONDS = 1.0


class HandlerService:
    """A service whose RPCs are given as handlers, by method name.

    Attributes:
        name: Name of the service.
        full_name: Full name of its one gRPC service.
        http_address: It has no data plane.
    """

    http_address: str | None = None

    def __init__(
        self, handlers: _Handlers, *, full_name: str = "burnish.testing.v1.HandlerService"
    ) -> None:
        """Takes the handlers; those made without serializers see and give bytes."""
        self.name = "handlers"
        self.full_name = full_name
        self._handlers = handlers

    async def start(self, server: aio.Server) -> Sequence[str]:
        """Adds the handlers."""
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(self.full_name, dict(self._handlers))]
        )
        return [self.full_name]

    async def drain(self) -> None:
        """Has nothing to flush."""

    async def stop(self) -> None:
        """Has nothing to close."""


@asynccontextmanager
async def running(
    service: Service,
    *,
    token: str = "test-token",  # noqa: S107
    settings: ServiceSettings | None = None,
) -> AsyncIterator[aio.Channel]:
    """Serves a service on a free loopback port, with everything that production has.

    Args:
        service: Service to serve; it is drained and stopped at the end.
        token: Bearer token of server and channel.
        settings: Settings of the server, but for the token; None takes the defaults.

    Yields:
        A channel that carries the token.
    """
    if settings is None:
        settings = ServiceSettings(service=service.name, drain_seconds=_FAST_DRAIN_SECONDS)
    server = ServiceServer(service, replace(settings, auth_token=Secret(token)))
    try:
        addresses = await server.start()
        async with rpc.connect(addresses.grpc, token=token) as channel:
            yield channel
    finally:
        await server.stop()

"""Wires the interceptor together: its data plane, its RPCs, and its line to the controller."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence

from grpc import aio

from burnish import rpc
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import (
    add_InterceptorServiceServicer_to_server,
)
from burnish_interceptor.dataplane import DataPlane
from burnish_interceptor.journal import Journal
from burnish_interceptor.offline import OfflineCalls, Parts
from burnish_interceptor.online import OnlineCalls
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.client import PolicyClient
from burnish_interceptor.policies.policy import Status
from burnish_interceptor.providers import Providers
from burnish_interceptor.servicer import InterceptorServicer
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.server import Server
from burnish_interceptor.upstream import Upstream
from burnish_runtime import server
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.rollout_token import TokenSealer
from burnish_runtime.settings import ServiceSettings, host_and_port

_NAME = "interceptor"


class InterceptorApp:
    """One interceptor replica.

    Attributes:
        name: Name of the service.
    """

    name = _NAME

    def __init__(self, settings: ServiceSettings, *, providers: Providers | None = None) -> None:
        """Opens nothing yet.

        Args:
            settings: How to serve.
            providers: Where calls go; read from the settings when not given.
        """
        self._settings = settings
        self._channel = rpc.connect(settings.controller_target, token=settings.auth_token)
        self._ledger = LedgerClient(
            self._channel,
            client_id=f"{settings.node_id}/{uuid.uuid4().hex}",
            max_message_bytes=settings.max_message_bytes,
        )
        source = PolicyClient(self._channel, node_id=settings.node_id)
        self._policies = PolicyCache(source, clock=time.monotonic)
        self._client = Client()
        if providers is None:
            providers = Providers.from_settings(settings, os.environ)
        upstream = Upstream(self._client)
        parts = Parts(
            policies=self._policies,
            providers=providers,
            upstream=upstream,
            journal=Journal(self._ledger),
        )
        key = settings.token_key
        plane = DataPlane(
            sealer=TokenSealer(key) if key is not None else None,
            policies=self._policies,
            offline=OfflineCalls(parts),
            online=OnlineCalls(
                policies=self._policies,
                providers=providers,
                upstream=upstream,
                token=settings.auth_token,
            ),
        )
        self._http = Server(plane.handle)
        self._address: str | None = None

    @property
    def http_address(self) -> str | None:
        """`host:port` of the data plane, once it listens."""
        return self._address

    @property
    def applied_revision(self) -> int:
        """Revision of the online policies that are served."""
        return self._policies.revision

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Opens the data plane and the lines to the controller, and adds the servicer."""
        await self._ledger.start()
        self._policies.start()
        host, port = await self._http.listen(*host_and_port(self._settings.http_listen))
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        servicer = InterceptorServicer(status=self._status, drain=self.drain)
        add_InterceptorServiceServicer_to_server(servicer, grpc_server)
        return [interceptor_v1.DESCRIPTOR.services_by_name["InterceptorService"].full_name]

    async def drain(self) -> None:
        """Takes no new call; those in flight finish and are journaled."""
        await self._http.drain()

    async def stop(self) -> None:
        """Closes everything."""
        await self._http.stop()
        await self._policies.stop()
        await self._ledger.close()
        self._client.close()
        await self._channel.close()

    def _status(self) -> Status:
        return Status(
            node_id=self._settings.node_id,
            applied_revision=self.applied_revision,
            inflight_calls=self._http.inflight,
            buffered_traces=self._ledger.unanswered_count,
            public_url=self._settings.interceptor_url or f"http://{self._address}",
        )


def main() -> int:
    """Runs the service until it is told to stop; returns the exit code."""
    return server.main(InterceptorApp, service=_NAME)

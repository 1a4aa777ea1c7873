"""Runs several replicas on one port, each a process of its own with its own line to the controller.

The kernel spreads the connections over the processes that listen on the port. The call ledger is
with the controller, so which of them a retry reaches makes no difference to what is paid.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog
from grpc import aio

from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import (
    add_InterceptorServiceServicer_to_server,
)
from burnish_interceptor.processes.child import Child, ChildEnded, Ready
from burnish_interceptor.processes.servicer import Replicas, SupervisorServicer
from burnish_runtime.server import CannotServe
from burnish_runtime.settings import ServiceSettings, host_and_port

_log = structlog.get_logger("burnish.interceptor.processes")
_RESTART_SECONDS = (0.2, 5.0)
_GRACE_SECONDS = 5.0


class Supervisor:
    """A service made of replicas that share a port.

    Attributes:
        name: Name of the service.
    """

    name = "interceptor"

    def __init__(self, settings: ServiceSettings, *, count: int) -> None:
        """Starts nothing yet.

        Args:
            settings: How the replicas serve.
            count: How many there are.
        """
        self._settings = settings
        self._count = count
        self._directory = tempfile.TemporaryDirectory(prefix="burnish-interceptor-")
        self._socket: socket.socket | None = None
        self._address: str | None = None
        self._children: list[Child] = []
        self._watches: list[asyncio.Task[None]] = []
        self._replicas = Replicas(token=settings.auth_token)
        self._draining = False

    @property
    def http_address(self) -> str | None:
        """`host:port` of the data plane, once all replicas listen."""
        return self._address

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Starts the replicas and waits until all of them listen.

        Raises:
            CannotServe: The port is taken, or a replica could not start.
        """
        address = self._reserve()
        self._children = [self._child(index, address) for index in range(self._count)]
        try:
            for index, ready in enumerate(await self._all_ready()):
                self._replicas.put(index, ready.grpc)
        except ChildEnded as ended:
            raise CannotServe(
                f"a replica of the interceptor ended with code {ended.code} before it served; its "
                "log says why",
                metadata={"code": str(ended.code)},
            ) from ended
        self._watches = [
            asyncio.create_task(self._watch(index), name=f"watch-replica-{index}")
            for index in range(self._count)
        ]
        self._address = address
        servicer = SupervisorServicer(
            self._replicas,
            node_id=self._settings.node_id,
            public_url=self._settings.interceptor_url or f"http://{address}",
        )
        add_InterceptorServiceServicer_to_server(servicer, grpc_server)
        return [interceptor_v1.DESCRIPTOR.services_by_name["InterceptorService"].full_name]

    async def drain(self) -> None:
        """Lets every replica finish what is in flight, and ends it."""
        self._draining = True
        for child in self._children:
            child.signal(signal.SIGTERM)
        await asyncio.gather(*(child.ended() for child in self._children))

    async def stop(self) -> None:
        """Ends whatever replica is left after its time to drain."""
        self._draining = True
        for watch in self._watches:
            watch.cancel()
        left = [child for child in self._children if child.running]
        for child in left:
            child.signal(signal.SIGTERM)
        if left:
            ends = [asyncio.ensure_future(child.ended()) for child in left]
            _, late = await asyncio.wait(ends, timeout=_GRACE_SECONDS)
            for child in left:
                child.signal(signal.SIGKILL)
            if late:
                await asyncio.wait(late)
        await self._replicas.close()
        if self._socket is not None:
            self._socket.close()
        self._directory.cleanup()

    def _reserve(self) -> str:
        """Takes the port without listening on it, so that it is ours before any replica runs."""
        host, port = host_and_port(self._settings.http_listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            raise CannotServe(
                f"`http_listen`: cannot listen on `{self._settings.http_listen}`; is the port "
                "taken?",
                reason="ADDRESS_UNAVAILABLE",
                metadata={"http_listen": self._settings.http_listen},
            ) from error
        bound = int(self._socket.getsockname()[1])
        return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    def _child(self, index: int, address: str) -> Child:
        settings = self._settings
        environ = {
            **os.environ,
            "BURNISH_HTTP_LISTEN": address,
            "BURNISH_HTTP_PROCESSES": "1",
            "BURNISH_HTTP_REUSE_PORT": "1",
            "BURNISH_LISTEN": "127.0.0.1:0",
            "BURNISH_HEALTH_LISTEN": "127.0.0.1:0",
            "BURNISH_METRICS_LISTEN": _metrics_of(settings.metrics_listen, index),
            "BURNISH_NODE_ID": f"{settings.node_id}-{index}",
        }
        return Child(Path(self._directory.name) / f"replica-{index}.json", environ)

    async def _all_ready(self) -> list[Ready]:
        return await asyncio.gather(*(child.start() for child in self._children))

    async def _watch(self, index: int) -> None:
        """Starts a replica again whenever it ends, a little later each time."""
        child, (wait, longest) = self._children[index], _RESTART_SECONDS
        while not self._draining:
            code = await child.ended()
            if not self._draining:
                _log.warning("replica_ended", replica=index, code=code)
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)
                wait = await self._restart(index, child, wait)

    async def _restart(self, index: int, child: Child, wait: float) -> float:
        """Starts a replica again; returns how long to wait before the next time."""
        try:
            ready = await child.start()
        except ChildEnded:
            return wait
        self._replicas.put(index, ready.grpc)
        _log.info("replica_started", replica=index)
        return _RESTART_SECONDS[0]


def _metrics_of(listen: str, index: int) -> str:
    """Returns where a replica shows its metrics: the ports after the service's own."""
    if not listen:
        return ""
    host, port = host_and_port(listen)
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port + 1 + index if port else 0}"

"""Wires the interceptor together: its data plane, its RPCs, and its line to the controller."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import ssl
import time
import uuid
from collections.abc import Sequence

import structlog
from grpc import aio

from burnish import rpc
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import (
    add_InterceptorServiceServicer_to_server,
)
from burnish.errors import FailedPrecondition
from burnish_interceptor.answers import Answers
from burnish_interceptor.compiled import compiled
from burnish_interceptor.dataplane import DataPlane, PlaneOptions
from burnish_interceptor.journal import Journal
from burnish_interceptor.offline import OfflineCalls, Parts
from burnish_interceptor.online import OnlineCalls, OnlineParts
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.client import PolicyClient
from burnish_interceptor.policies.policy import Status
from burnish_interceptor.processes.supervisor import Supervisor
from burnish_interceptor.providers import Providers
from burnish_interceptor.servicer import InterceptorServicer
from burnish_interceptor.spans import spans_from_environment
from burnish_interceptor.telemetry import Gauges, Recorder
from burnish_interceptor.trace_client import TraceClient
from burnish_interceptor.trace_queue import TraceQueue, TraceSettings
from burnish_interceptor.transport.client import Client
from burnish_interceptor.transport.server import Server
from burnish_interceptor.transport.settings import HttpSettings
from burnish_interceptor.transport.tls import Certificate, upstream_context
from burnish_interceptor.upstream import Upstream
from burnish_runtime import server
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.rollout_token import TokenSealer
from burnish_runtime.settings import ServiceSettings, host_and_port

_log = structlog.get_logger("burnish.interceptor")
_NAME = "interceptor"
_PARENT_SECONDS = 0.5
_COLLECTIONS = (5_000, 20, 50)
# glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD.
_MALLOC = {-1: 16 * 1024 * 1024, -2: 2 * 1024 * 1024, -3: 1024 * 1024}


class CertificateUnusable(FailedPrecondition):
    """The certificate of the data plane cannot be read."""

    default_reason = "CERTIFICATE_UNUSABLE"


class InterceptorApp:
    """One interceptor replica.

    Attributes:
        name: Name of the service.
    """

    name = _NAME

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        providers: Providers | None = None,
        http: HttpSettings | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            settings: How to serve.
            providers: Where calls go; read from the settings when not given.
            http: How the data plane serves and calls; read from the environment when not given.

        Raises:
            SettingsInvalid: A variable of the data plane cannot be used.
        """
        self._settings = settings
        self._options = http if http is not None else HttpSettings.from_environment(os.environ)
        self._channel = rpc.connect(settings.controller_target, token=settings.auth_token)
        self._ledger = LedgerClient(
            self._channel,
            client_id=f"{settings.node_id}/{uuid.uuid4().hex}",
            max_message_bytes=settings.max_message_bytes,
        )
        if providers is None:
            providers = Providers.from_settings(settings, os.environ)
        source = PolicyClient(self._channel, node_id=settings.node_id)
        self._policies = PolicyCache(source, clock=time.monotonic, check=providers.target)
        self._client = Client(
            timeouts=self._options.timeouts, tls=upstream_context(self._options.ca_file)
        )
        traces = TraceQueue(
            TraceClient(self._channel, node_id=settings.node_id),
            settings=TraceSettings.from_environment(os.environ),
        )
        self._spans = spans_from_environment(os.environ, node_id=settings.node_id)
        self._recorder = Recorder(traces, spans=self._spans)
        plane = self._plane(providers)
        # One for both sides, so that it sees all there is to do.
        self._http = Server(
            plane.handle, limits=self._options.limits, outbox=lambda: self._client.outbox
        )
        self._address: str | None = None
        self._parent: asyncio.Task[None] | None = None

    def _plane(self, providers: Providers) -> DataPlane:
        settings, policies, recorder = self._settings, self._policies, self._recorder
        answers = Answers.from_settings(settings, os.environ)
        offline = Parts(
            policies=policies,
            providers=providers,
            upstream=Upstream(self._client),
            journal=Journal(self._ledger),
            answers=answers,
            recorder=recorder,
        )
        online = OnlineParts(
            policies=policies,
            providers=providers,
            client=self._client,
            answers=answers,
            recorder=recorder,
        )
        key = settings.token_key
        return DataPlane(
            sealer=TokenSealer(key) if key is not None else None,
            policies=policies,
            offline=OfflineCalls(offline, alone=not self._options.reuse_port),
            online=OnlineCalls(online, token=settings.auth_token),
            recorder=recorder,
            options=PlaneOptions(access_log=settings.log_level == "DEBUG"),
        )

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
        self._recorder.start()
        if self._spans is not None:
            self._spans.start()
        host, port = await self._http.listen(
            *host_and_port(self._settings.http_listen),
            certificate=_certificate(self._options),
            reuse_port=self._options.reuse_port,
        )
        if self._options.reuse_port:
            self._parent = asyncio.create_task(_end_with(os.getppid()), name="watch-parent")
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        policies, fast = self._policies, compiled()
        _log.info("data_plane", address=self._address, compiled=fast)
        self._recorder.expose(
            Gauges(
                inflight=lambda: self._http.inflight,
                revision=lambda: policies.revision,
                rejected=lambda: len(policies.rejected),
                watching=lambda: policies.watching,
                repeated=lambda: self._client.repeated_count,
                compiled=fast,
            )
        )
        servicer = InterceptorServicer(status=self._status, drain=self.drain)
        add_InterceptorServiceServicer_to_server(servicer, grpc_server)
        return [interceptor_v1.DESCRIPTOR.services_by_name["InterceptorService"].full_name]

    async def drain(self) -> None:
        """Takes no new call; those in flight finish and are journaled, their traces sent."""
        await self._http.drain()
        await self._recorder.drain()

    async def stop(self) -> None:
        """Closes everything."""
        if self._parent is not None:
            self._parent.cancel()
        await self._http.stop()
        self._recorder.close()
        await self._recorder.stop()
        if self._spans is not None:
            await self._spans.stop()
        await self._policies.stop()
        await self._ledger.close()
        self._client.close()
        await self._channel.close()

    def _status(self) -> Status:
        self._recorder.settle()
        traces = self._recorder.traces
        return Status(
            node_id=self._settings.node_id,
            applied_revision=self.applied_revision,
            inflight_calls=self._http.inflight,
            buffered_traces=self._ledger.unanswered_count + len(traces),
            public_url=self._settings.interceptor_url or f"http://{self._address}",
            buffered_bytes=traces.byte_count,
            dropped_traces=traces.dropped_count,
            rejected=self._policies.rejected,
            watching=self._policies.watching,
        )


def build(settings: ServiceSettings) -> server.Service:
    """Returns one replica, or what runs several of them on one port.

    Raises:
        SettingsInvalid: A variable of the data plane cannot be used.
    """
    http = HttpSettings.from_environment(os.environ)
    # Calls make garbage that counting frees.
    gc.set_threshold(*_COLLECTIONS)
    _keep_memory()
    if http.processes > 1:
        return Supervisor(settings, count=http.processes)
    return InterceptorApp(settings, http=http)


def _keep_memory() -> None:
    """Has the C library keep some freed memory at hand, where it can: long prompts come and go."""
    with contextlib.suppress(AttributeError, OSError):  # Another C library than glibc.
        set_option = ctypes.CDLL(None).mallopt
        for option, count in _MALLOC.items():
            set_option(option, count)


def main() -> int:
    """Runs the service until it is told to stop; returns the exit code."""
    return server.main(build, service=_NAME)


def _certificate(options: HttpSettings) -> Certificate | None:
    if options.cert_file is None or options.key_file is None:
        return None
    try:
        return Certificate(options.cert_file, options.key_file)
    except (OSError, ssl.SSLError) as error:
        raise CertificateUnusable(
            f"`{options.cert_file}` and `{options.key_file}` are no certificate with its key "
            f"({type(error).__name__}); give a chain and its key as PEM",
            metadata={"cert_file": str(options.cert_file)},
        ) from error


async def _end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells of a parent's end but a look
        await asyncio.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)

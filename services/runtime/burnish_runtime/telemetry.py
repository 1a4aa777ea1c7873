"""Logs and metrics of a service: JSON lines on stderr, and a Prometheus registry.

Neither ever holds content. As a second line of defence, values of fields whose names speak of
secrets, and text that looks like a key or token, are blanked before a line is written.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from burnish.rpc import request_id
from burnish_runtime.settings import Secret, host_and_port

_BLANK = "***"
_SECRET_FIELD = re.compile(
    r"(?:^|[_-])(?:authorization|api_?key|secret|password|credential|(?:auth|bearer|access|rollout)"
    r"_?token|token|token_key|cookie)s?$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?i:bearer\s+)[\w.~+/=-]{8,}"  # an Authorization header
    r"|\b(?:sk|pk|rk|gsk|xai|key)[-_][\w-]{16,}"  # OpenAI, Groq and their likes
    r"|\bAIza[\w-]{20,}"  # Google
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JSON web token
    r"|(?<=/r/)[\w-]{40,}"  # a rollout URL
)
_DURATION_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    120,
)


def redact(text: str) -> str:
    """Returns the text with whatever looks like a key or a token blanked."""
    return _SECRET_TEXT.sub(_BLANK, text)


def redacting(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Blanks secrets in a log event; a structlog processor."""
    for key, value in event.items():
        event[key] = _redacted_field(key, value)
    return event


def _redacted_field(key: str, value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return _BLANK if _SECRET_FIELD.search(key) else _redacted(value)


def _redacted(value: object) -> object:
    if isinstance(value, Secret):
        return _BLANK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted_field(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact(repr(value))


def configure_logging(*, service: str, node_id: str, level: str) -> None:
    """Sends every log line of the process to stderr, as JSON.

    Lines of libraries that use the standard `logging` module go the same way, from WARNING on.

    Args:
        service: Name that each line carries.
        node_id: Replica that each line carries.
        level: Lowest level of our own lines, such as `INFO`.
    """

    def place(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        event.setdefault("node", node_id)
        if request_id.get():
            event.setdefault("request_id", request_id.get())
        return event

    shared: list[structlog.typing.Processor] = [
        place,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, redacting, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redacting,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


class RpcMetrics:
    """Counts, durations and calls in flight of one server.

    Attributes:
        registry: Registry that holds them; a service may add metrics of its own.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "burnish_rpc_calls", "Calls that ended.", ["method", "code"], registry=self.registry
        )
        self.durations = Histogram(
            "burnish_rpc_duration_seconds",
            "From the first byte of the request to the end of the answer.",
            ["method"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "burnish_rpc_in_flight", "Calls being served.", ["method"], registry=self.registry
        )


class MethodMetrics:
    """The metrics of one method, looked up once."""

    def __init__(self, metrics: RpcMetrics, method: str) -> None:
        """Finds what the method's calls are counted in.

        Args:
            metrics: Metrics of the server.
            method: Full name of the method.
        """
        self._calls = metrics.calls
        self._method = method
        self._by_code: dict[str, Counter] = {}
        self._durations = metrics.durations.labels(method)
        self._in_flight = metrics.in_flight.labels(method)

    def began(self) -> None:
        """Counts a call that began."""
        self._in_flight.inc()

    def ended(self, *, code: str, seconds: float) -> None:
        """Counts a call that ended.

        Args:
            code: Name of its status.
            seconds: How long it took.
        """
        self._in_flight.dec()
        self._durations.observe(seconds)
        calls = self._by_code.get(code)
        if calls is None:
            calls = self._by_code[code] = self._calls.labels(self._method, code)
        calls.inc()


class _ProcessWide(Collector):
    """Adds the process's own metrics, and those that libraries registered, to a registry."""

    def collect(self) -> Iterable[Metric]:
        yield from REGISTRY.collect()


class MetricsServer:
    """Serves a registry over HTTP, from a thread of its own."""

    def __init__(self, server: WSGIServer, address: str) -> None:
        self._server = server
        self.address = address

    @classmethod
    def start(cls, listen: str, registry: CollectorRegistry) -> MetricsServer:
        """Starts serving.

        Args:
            listen: `host:port`; port 0 takes a free one.
            registry: What is served, together with the metrics of the process.

        Raises:
            OSError: The address cannot be used.
        """
        host, port = host_and_port(listen)
        registry.register(_ProcessWide())
        server, _ = start_http_server(port, addr=host, registry=registry)
        return cls(server, f"{host}:{server.server_port}")

    async def stop(self) -> None:
        """Stops serving and closes the socket."""
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()

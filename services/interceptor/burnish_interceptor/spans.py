"""Says whether spans of calls are exported, and loads what it takes only then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from burnish.errors import FailedPrecondition

if TYPE_CHECKING:
    from burnish_interceptor.otel import Spans

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_TRUE = frozenset({"1", "true", "yes", "on"})


class TelemetryMissing(FailedPrecondition):
    """An endpoint is set, and the packages that could reach it are not installed."""

    default_reason = "EXTRA_MISSING"


def spans_from_environment(environ: Mapping[str, str], *, node_id: str) -> Spans | None:
    """Returns what exports spans and metrics over OTLP, or None when no endpoint is set.

    Reads OTEL_EXPORTER_OTLP_ENDPOINT and its like, and BURNISH_OTEL_CONTENT.

    Args:
        environ: Variables, usually `os.environ`.
        node_id: Stable id of the replica.

    Raises:
        TelemetryMissing: The packages are not installed.
    """
    if not any(environ.get(name) for name in _ENDPOINTS):
        return None
    try:
        from burnish_interceptor import otel
    except ImportError as error:
        raise TelemetryMissing(
            "an OTLP endpoint is set, but OpenTelemetry is not installed; run "
            f'`pip install "burnish[telemetry]"` ({error.name} is missing)'
        ) from None
    content = environ.get("BURNISH_OTEL_CONTENT", "").strip().lower() in _TRUE
    return otel.over_otlp(node_id=node_id, content=content)

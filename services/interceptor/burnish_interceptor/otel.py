"""Spans and metrics of calls for OpenTelemetry. Imported only when an endpoint is set.

The data plane only hands a call over. Spans are made a few at a time by a task of their own, with
the ids that the app was told, so that the app's trace goes on through us.
"""

from __future__ import annotations

import asyncio
from collections import deque

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode

from burnish_interceptor import genai
from burnish_interceptor.seen import SeenCall, TraceContext

_SCOPE = "burnish.interceptor"
_SERVICE = "burnish-interceptor"
_MAX_BYTES = 16 * 1024 * 1024
_OVERHEAD_BYTES = 512
_AT_ONCE = 8
_PAUSE_SECONDS = 0.1
_BILLION = 1_000_000_000
_SAMPLED = 0x01


class _Told(IdGenerator):
    """Gives a span the ids that its app was told."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id

    def generate_trace_id(self) -> int:
        return self.trace_id


class Spans:
    """Takes calls and makes spans and metrics of them.

    Attributes:
        dropped_count: Calls left out because too many waited.
    """

    def __init__(
        self, spans: SpanProcessor, metrics: MetricReader, *, node_id: str, content: bool = False
    ) -> None:
        """Takes where they go; both are shut down by `stop`.

        Args:
            spans: Where spans go.
            metrics: Where metrics go.
            node_id: Stable id of the replica.
            content: Whether spans hold the app's messages and its answer.
        """
        resource = Resource.create({"service.name": _SERVICE, "service.instance.id": node_id})
        self._ids = _Told()
        self._tracers = TracerProvider(resource=resource, id_generator=self._ids)
        self._tracers.add_span_processor(spans)
        self._meters = MeterProvider(resource=resource, metric_readers=[metrics])
        self._tracer = self._tracers.get_tracer(_SCOPE)
        self._content = content
        self._calls: deque[SeenCall] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self.dropped_count = 0
        meter = self._meters.get_meter(_SCOPE)
        self._tokens = meter.create_histogram(
            genai.TOKEN_USAGE, "{token}", explicit_bucket_boundaries_advisory=genai.TOKEN_BUCKETS
        )
        self._durations = meter.create_histogram(
            genai.DURATION, "s", explicit_bucket_boundaries_advisory=genai.SECOND_BUCKETS
        )
        self._first_chunks = meter.create_histogram(
            genai.FIRST_CHUNK, "s", explicit_bucket_boundaries_advisory=genai.SECOND_BUCKETS
        )

    def put(self, call: SeenCall) -> None:
        """Takes a call, or leaves it out when too many wait; never waits."""
        size = len(call.app_request) + len(call.reply) + _OVERHEAD_BYTES
        if self._bytes + size > _MAX_BYTES:
            self.dropped_count += 1
            return
        self._bytes += size
        self._calls.append(call)

    def start(self) -> None:
        """Starts making spans; must be called inside the running loop."""
        self._task = asyncio.create_task(self._run(), name="make-spans")

    async def stop(self) -> None:
        """Makes the spans of what was put and exports everything."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._make(len(self._calls))
        await asyncio.to_thread(self._tracers.shutdown)
        await asyncio.to_thread(self._meters.shutdown)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            while self._calls:
                self._make(_AT_ONCE)
                await asyncio.sleep(0)

    def _make(self, count: int) -> None:
        for _ in range(min(count, len(self._calls))):
            call = self._calls.popleft()
            self._bytes -= len(call.app_request) + len(call.reply) + _OVERHEAD_BYTES
            self._measure(call)
            self._span(call, call.trace)

    def _span(self, call: SeenCall, told: TraceContext) -> None:
        self._ids.trace_id, self._ids.span_id = int(told.trace_id, 16), int(told.span_id, 16)
        context = None
        if told.parent_span_id:
            parent = trace.SpanContext(
                trace_id=int(told.trace_id, 16),
                span_id=int(told.parent_span_id, 16),
                is_remote=True,
                trace_flags=trace.TraceFlags(int(told.flags, 16) & _SAMPLED),
            )
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        start = int(call.start_time * _BILLION)
        span = self._tracer.start_span(
            genai.span_name(call), context=context, kind=SpanKind.CLIENT, start_time=start
        )
        if span.is_recording():
            span.set_attributes(genai.span_attributes(call, content=self._content))
            if genai.error_type(call):
                span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=start + int(call.latency * _BILLION))

    def _measure(self, call: SeenCall) -> None:
        attributes = genai.metric_attributes(call)
        self._durations.record(call.latency, attributes)
        if call.stream and call.first_byte_latency > 0:
            self._first_chunks.record(call.first_byte_latency, attributes)
        if call.usage is not None:
            for kind, count in zip(("input", "output"), call.usage, strict=True):
                self._tokens.record(count, {**attributes, genai.TOKEN_TYPE: kind})


def over_otlp(*, node_id: str, content: bool) -> Spans:
    """Returns what exports over OTLP to where OpenTelemetry's own variables say."""
    return Spans(
        BatchSpanProcessor(OTLPSpanExporter()),
        PeriodicExportingMetricReader(OTLPMetricExporter()),
        node_id=node_id,
        content=content,
    )

"""Spans of calls arrive at an OTLP collector, under the app's trace, without content."""

from contextlib import asynccontextmanager

import aiohttp
import pytest
from grpc import aio

from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "let the walrus decide"


class Collector(
    trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer
):
    """Keeps what it is sent."""

    def __init__(self):
        self.spans = []
        self.metrics = set()
        self.raw = b""

    async def Export(self, request, context):
        self.raw += request.SerializeToString()
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            return trace_service_pb2.ExportTraceServiceResponse()
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                self.metrics |= {metric.name for metric in scope.metrics}
        return metrics_service_pb2.ExportMetricsServiceResponse()


@asynccontextmanager
async def collecting():
    collector = Collector()
    server = aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


async def test_a_call_is_exported_as_a_span_of_the_apps_trace(monkeypatch):
    async with collecting() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        body = {
            "model": "m",
            "messages": [
                {"role": "system", "content": BASELINE},
                {"role": "user", "content": "Query: where"},
            ],
        }
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        async with testing.suite(instruction=CANARY) as running, aiohttp.ClientSession() as session:
            url = running.url() + "/chat/completions"
            async with session.post(url, json=body, headers=headers) as response:
                assert response.status == 200
                told = response.headers["traceparent"].split("-")
        # Everything that waits is exported before the interceptor ends.
        await testing.until(lambda: bool(collector.spans and collector.metrics))
        (span,) = collector.spans
        assert span.trace_id.hex() == told[1] == TRACE
        assert span.span_id.hex() == told[2]
        assert span.parent_span_id.hex() == SPAN
        assert span.name == "chat gpt-x"
        assert "gen_ai.client.token.usage" in collector.metrics
        for content in (CANARY, BASELINE, "Query", "card_arrival"):
            assert content.encode() not in collector.raw

"""Spans and metrics by the GenAI conventions: right names, the app's own trace, no content."""

import json
import sys
from typing import Any

import pytest

import burnish_interceptor
from burnish.errors import FailedPrecondition
from burnish_interceptor import genai, spans, testing
from burnish_interceptor.calls import Problem
from burnish_interceptor.seen import SeenCall, Served

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from burnish_interceptor.otel import Spans

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OWN = "0123456789abcdef" * 2
SERVED = Served(
    mode="online",
    provider="google",
    model="gemini-x",
    policy_id="live",
    policy_version=3,
    stage_id="sort",
    candidate_id="cand_1",
    arm="winner",
)
REQUEST = {
    "model": "asked",
    "temperature": 0.5,
    "seed": 7,
    "max_completion_tokens": 100,
    "messages": [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "where is my card"},
    ],
}
REPLY = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "arrival"},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3,
              "prompt_tokens_details": {"cached_tokens": 4},
              "completion_tokens_details": {"reasoning_tokens": 2}},
}  # fmt: skip


def call(traceparent="", **more):
    given = {
        "served": SERVED,
        "call_id": f"req_{OWN}",
        "rollout_id": "roll-1",
        "status": 200,
        "start_time": 1_700_000_000.0,
        "latency": 0.5,
        "overhead": 0.0001,
        "app_request": json.dumps(REQUEST).encode(),
        "provider_request": b'{"messages":[{"role":"system","content":"walrus"}]}',
        "reply": json.dumps(REPLY).encode(),
        "reply_status": 200,
        "usage": (11, 3),
        "traceparent": traceparent,
        **more,
    }
    return SeenCall(**given)


class Exported:
    """What a running exporter was given."""

    def __init__(self, *, content=False):
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.sink = Spans(
            SimpleSpanProcessor(self._spans), self._metrics, node_id="n", content=content
        )

    async def of(self, *calls, count=None):
        """Returns the spans of some calls, of which `count` are exported."""
        self.sink.start()
        for one in calls:
            self.sink.put(one)
        wanted = len(calls) if count is None else count
        await testing.until(lambda: len(self._spans.get_finished_spans()) >= wanted)
        data = self._metrics.get_metrics_data()
        assert data is not None
        self.metrics: dict[str, list[Any]] = {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        found = self._spans.get_finished_spans()
        await self.sink.stop()
        return found


async def test_a_span_says_what_the_conventions_ask_for():
    (span,) = await Exported().of(call())
    assert span.name == "chat gemini-x"
    assert span.kind is SpanKind.CLIENT
    assert (span.start_time, span.end_time) == (
        1_700_000_000_000_000_000, 1_700_000_000_500_000_000,
    )  # fmt: skip
    attributes = dict(span.attributes)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-x",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.conversation.id": "roll-1",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gemini-x",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "burnish.mode": "online",
        "burnish.policy": "live",
        "burnish.policy.version": 3,
        "burnish.stage": "sort",
        "burnish.arm": "winner",
        "burnish.candidate.id": "cand_1",
        "burnish.overhead": 0.0001,
    }
    assert span.resource.attributes["service.name"] == "burnish-interceptor"


async def test_content_is_off_and_when_on_it_is_the_apps_own():
    (plain,) = await Exported().of(call())
    assert not {"Sort it.", "where is my card", "arrival", "walrus"} & set(
        str(plain.attributes).split("'")
    )
    (full,) = await Exported(content=True).of(call())
    told = dict(full.attributes)
    assert json.loads(told["gen_ai.system_instructions"])[0]["content"] == "Sort it."
    assert json.loads(told["gen_ai.input.messages"])[0]["content"] == "where is my card"
    assert json.loads(told["gen_ai.output.messages"])[0]["content"] == "arrival"
    assert "walrus" not in str(told)


async def test_a_span_goes_on_with_the_apps_trace_under_the_id_that_the_app_was_told():
    (span,) = await Exported().of(call(f"00-{TRACE}-{SPAN}-01"))
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.context.span_id:016x}" == OWN[:16]
    assert f"{span.parent.span_id:016x}" == SPAN
    (root,) = await Exported().of(call())
    assert root.parent is None
    assert f"{root.context.trace_id:032x}" == OWN


async def test_a_trace_that_the_app_does_not_sample_is_not_exported():
    calls = [call(f"00-{TRACE}-{SPAN}-00"), call()]
    (span,) = await Exported().of(*calls, count=1)
    assert f"{span.context.trace_id:032x}" == OWN


async def test_a_failed_call_has_the_type_of_its_error():
    problem = Problem(reason="UPSTREAM_CLOSED", message="gone", retryable=True)
    lost, refused = await Exported().of(
        call(problem=problem, status=502, reply=b"", reply_status=0, usage=None),
        call(status=429, reply=b'{"error":{}}', reply_status=429, usage=None),
    )
    assert lost.attributes["error.type"] == "UPSTREAM_CLOSED"
    assert refused.attributes["error.type"] == "429"
    assert lost.status.status_code is StatusCode.ERROR


async def test_metrics_have_the_names_buckets_and_kinds_of_the_conventions():
    exported = Exported()
    await exported.of(call(), call(stream=True, first_byte_latency=0.05, reply=b""))
    durations = exported.metrics["gen_ai.client.operation.duration"]
    assert sum(point.count for point in durations) == 2
    assert durations[0].explicit_bounds[:2] == (0.01, 0.02)
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in exported.metrics["gen_ai.client.token.usage"]
    }
    assert tokens == {"input": 22, "output": 6}
    (first,) = exported.metrics["gen_ai.client.operation.time_to_first_chunk"]
    assert (first.count, first.sum) == (1, 0.05)
    assert not {"gen_ai.conversation.id", "burnish.policy"} & set(first.attributes)


async def test_too_many_waiting_calls_are_left_out_and_counted():
    exported = Exported()
    for _ in range(20):
        exported.sink.put(call(reply=b"x" * 1_000_000))
    assert exported.sink.dropped_count == 20 - 16
    await exported.sink.stop()


@pytest.mark.parametrize(
    ("api", "name"),
    [("chat_completions", "chat"), ("responses", "chat"), ("completions", "text_completion"),
     ("embeddings", "embeddings")],
)  # fmt: skip
def test_an_operation_is_named_after_its_api(api, name):
    one = call(served=Served(mode="offline", api=api, provider="openai", model="m"))
    assert genai.span_name(one) == f"{name} m"
    assert genai.metric_attributes(one)["gen_ai.provider.name"] == "openai"


def test_without_an_endpoint_nothing_is_exported_or_imported():
    assert spans.spans_from_environment({"BURNISH_OTEL_CONTENT": "1"}, node_id="n") is None


def test_an_endpoint_without_the_packages_is_said_with_its_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "burnish_interceptor.otel", None)
    monkeypatch.delattr(burnish_interceptor, "otel")
    with pytest.raises(FailedPrecondition, match=r"burnish\[telemetry\]"):
        spans.spans_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, node_id="n")

"""What a scrape of the interceptor shows, and that it never shows more than a bounded set."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from burnish_interceptor.seen import SeenCall, Served
from burnish_interceptor.telemetry import Gauges, ProxyMetrics, Recorder
from burnish_interceptor.trace_queue import TraceQueue
from burnish_runtime.plain_metrics import MAX_SERIES, Buckets, Counts


class NoSink:
    async def write(self, calls, *, dropped):
        return 0


def served(**more):
    return Served(**{"mode": "online", "provider": "openai", "model": "gpt-x", **more})


def call(base=None, *, status=200, **more):
    return SeenCall(
        served=base or served(),
        call_id="call-secret-id",
        rollout_id="roll-secret-id",
        status=status,
        start_time=0.0,
        latency=1.0,
        **more,
    )


def scraped(registry):
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
async def recorder():
    return Recorder(TraceQueue(NoSink()))


@pytest.fixture
def registry():
    return CollectorRegistry()


def expose(recorder, registry):
    gauges = Gauges(
        inflight=lambda: 4,
        revision=lambda: 9,
        rejected=lambda: 1,
        watching=lambda: True,
        repeated=lambda: 2,
        compiled=True,
    )
    recorder.expose(gauges, registry=registry)


async def test_calls_are_counted_by_provider_model_status_and_mode(recorder, registry):
    expose(recorder, registry)
    recorder.put(call(usage=(10, 5)))
    recorder.put(call(usage=(1, 1)))
    recorder.put(call(status=429))
    recorder.put(call(served(mode="offline"), usage=(7, 7)))
    recorder.metrics.refused(401, mode="online")
    found = scraped(registry)
    requests = "burnish_proxy_requests_total"
    assert found[requests, "200", "gpt-x", "online", "openai"] == 2
    assert found[requests, "429", "gpt-x", "online", "openai"] == 1
    assert found[requests, "200", "gpt-x", "offline", "openai"] == 1
    assert found[requests, "", "", "401", "online"] == 1
    tokens = "burnish_proxy_tokens_total"
    assert found[tokens, "gpt-x", "input", "online", "openai"] == 11
    assert found[tokens, "gpt-x", "offline", "openai", "output"] == 7
    assert found[("burnish_proxy_inflight",)] == 4
    assert found[("burnish_policy_rejected",)] == 1
    assert found[("burnish_proxy_repeats_total",)] == 2
    assert found[("burnish_proxy_compiled",)] == 1


async def test_overhead_is_a_histogram_whose_buckets_add_up(recorder, registry):
    expose(recorder, registry)
    for overhead in (10e-6, 80e-6, 0.0002, 5.0):
        recorder.put(call(overhead=overhead))
    found = scraped(registry)
    bucket = "burnish_proxy_overhead_seconds_bucket"
    assert found[bucket, "0.0001", "online"] == 2
    assert found[bucket, "0.0002", "online"] == 3
    assert found[bucket, "+Inf", "online"] == 4
    assert found["burnish_proxy_overhead_seconds_count", "online"] == 4
    assert found["burnish_proxy_overhead_seconds_sum", "online"] == pytest.approx(5.00029)


async def test_the_traffic_of_each_arm_is_shown_as_a_share(recorder, registry):
    expose(recorder, registry)
    for arm in ("baseline", "baseline", "baseline", "winner"):
        recorder.put(call(served(arm=arm)))
    recorder.put(call(served(mode="offline", arm="")))
    found = scraped(registry)
    assert found["burnish_policy_traffic_ratio", "baseline"] == 0.75
    assert found["burnish_policy_traffic_ratio", "winner"] == 0.25


async def test_only_online_calls_are_traced_here(recorder):
    recorder.put(call(served(mode="offline")))
    recorder.put(call())
    recorder.settle()
    assert len(recorder.traces) == 1


async def test_no_id_is_a_label_and_models_beyond_the_bound_are_added_up(recorder, registry):
    expose(recorder, registry)
    for number in range(MAX_SERIES + 50):
        recorder.put(call(served(model=f"model-{number}", arm=f"arm-{number}")))
    text = generate_latest(registry).decode()
    assert "secret-id" not in text
    for name in ("burnish_proxy_requests_total{", "burnish_policy_requests_total{"):
        assert text.count(name) <= MAX_SERIES + 1
    assert sum(
        value for key, value in scraped(registry).items() if key[0].endswith("requests_total")
    ) == 2 * (MAX_SERIES + 50)


async def test_two_recorders_of_one_process_do_not_collide_and_leave_when_closed(registry):
    recorders = [Recorder(TraceQueue(NoSink())) for _ in range(2)]
    for one in recorders:
        expose(one, registry)
    assert generate_latest(registry)
    for one in recorders:
        one.close()
    assert generate_latest(registry) == b""


def test_plain_counts_and_buckets_agree_with_what_was_put_in():
    counts = Counts()
    for labels, amount in ((("a",), 1), (("b",), 2.5), (("a",), 3)):
        counts.add(labels, amount)
    assert dict(counts.items()) == {("a",): 4, ("b",): 2.5}
    buckets = Buckets((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        buckets.observe(value)
    assert buckets.cumulative() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert (buckets.count, buckets.sum) == (4, 12.0)


def test_observing_makes_no_series_per_call():
    metrics = ProxyMetrics()
    for number in range(1000):
        metrics.observe([call(status=200 + number % 2)])
    assert len(metrics._series) == 2

"""The dashboard and the alerts name metrics that the services really show."""

import json
import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from burnish_controller.telemetry import ControllerMetrics
from burnish_interceptor.telemetry import Gauges, Recorder
from burnish_interceptor.trace_queue import TraceQueue
from burnish_runtime.telemetry import RpcMetrics

ROOT = Path(__file__).resolve().parent.parent
MONITORING = ROOT / "docker" / "monitoring"
PAGE = ROOT / "docs" / "online-traffic.md"
NAME = re.compile(r"burnish_[a-z_]+")


class NoSink:
    async def write(self, calls, *, dropped):
        return 0


async def shown() -> set[str]:
    """Names of every sample that a scrape of any service can hold."""
    recorder = Recorder(TraceQueue(NoSink()))
    registry = CollectorRegistry()
    gauges = Gauges(
        inflight=lambda: 0,
        revision=lambda: 0,
        rejected=lambda: 0,
        watching=lambda: True,
        repeated=lambda: 0,
    )
    recorder.expose(gauges, registry=registry)
    controller = ControllerMetrics()
    controller.expose(registry)
    families = [*registry.collect(), *RpcMetrics().registry.collect()]
    suffixes = {
        "counter": ("_total",),
        "gauge": ("",),
        "histogram": ("", "_bucket", "_sum", "_count"),
    }
    return {family.name + end for family in families for end in suffixes[family.type]}


def named(text: str) -> set[str]:
    return set(NAME.findall(text))


async def test_the_alerts_watch_metrics_that_exist():
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len(rules) == len({rule["alert"] for rule in rules})
    for rule in rules:
        assert named(rule["expr"]), rule["alert"]
        assert named(rule["expr"]) <= await shown(), rule["alert"]
        assert rule["annotations"]["summary"]


async def test_the_dashboard_shows_metrics_that_exist():
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    names = await shown()
    places = set()
    for panel in dashboard["panels"]:
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
        for target in panel["targets"]:
            assert named(target["expr"]) <= names, panel["title"]
    assert len(places) == len(dashboard["panels"])


async def test_the_page_names_every_metric_and_none_that_does_not_exist():
    table = PAGE.read_text().split("## Telemetry")[1]
    names = await shown()
    assert named(table) <= names
    own = {name for name in names if not name.startswith("burnish_rpc")}
    heads = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in own}
    assert heads - named(table) == set()

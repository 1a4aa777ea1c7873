"""A job on a model of unknown price: its cost is unknown wherever it is shown, and nowhere 0."""

import sqlite3
from typing import Literal, cast

import pytest
from prometheus_client import REGISTRY

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.trace import v1 as trace_v1
from burnish.artefacts import write_artefacts
from burnish.cli.follow import View
from burnish.cli.lines import EventLines
from burnish.estimates import estimate_job
from burnish.events import to_envelope
from burnish.report import render_report
from burnish.results import outcome, snapshot
from burnish.trace_v3 import session
from burnish_controller.testing import World, small_job

GENERATIONS: tuple[Literal[1], Literal[2]] = (1, 2)


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path / "state") as running:
        running.program.price = None
        yield running


def unpriced():
    spec = small_job()
    spec.policy_model.ClearField("price")
    return spec


async def run(world):
    spec = unpriced()
    await world.create(spec)
    return spec, await world.finished(), await world.result()


async def test_an_unknown_price_is_unknown_in_every_event_and_in_every_line(world):
    _, events, _ = await run(world)
    told = [event for event in events if event.WhichOneof("kind") in {
        "progress", "budget_updated", "billing_ended", "job_concluded",
    }]  # fmt: skip
    paid = 0
    for event in told:
        kind = event.WhichOneof("kind")
        what = getattr(event, kind)
        usage = {"progress": "usage", "job_concluded": None}.get(kind, "total")
        usages = [getattr(what, usage)] if usage else list(what.usage_by_role.values())
        for one in usages:
            paid += one.call_count
            assert not one.call_count or not one.HasField("cost_usd"), kind
        assert "0.0000" not in event.message
        for generation in GENERATIONS:
            envelope = to_envelope(event, job_id="j", algorithm="mipro", generation=generation)
            data = cast(dict[str, object], envelope["data"])
            for name in ("total_cost_usd", "total_usd", "tokens_usd", "usd_tokens_rollouts"):
                assert data.get(name) is None, (kind, name)
    assert paid > 0
    lines = [line for event in told for line in EventLines().lines(event)]
    assert any("cost=unknown" in line for line in lines)
    assert not any("$0.0000" in line for line in lines[1:])
    view = View(job_id="job1")
    job = await world.job()
    for event in events:
        view.take(snapshot(job), event)
    assert view.roles["task"] == "unknown"


async def test_an_unknown_price_is_unknown_in_results_files_and_the_report(world, tmp_path):
    _, _, result = await run(world)
    found, job = outcome(result), snapshot(await world.job())
    assert found.usage_by_role["task"].call_count > 0
    assert found.usage_by_role["task"].cost_usd is None
    report = render_report(job, found)
    (row,) = [line for line in report.splitlines() if line.startswith("| task |")]
    assert row.endswith("| unknown |")
    for path in write_artefacts(tmp_path / "out", job, found).values():
        text = path.read_text()
        assert '"cost_usd": 0' not in text, path.name


async def test_an_unknown_price_is_unknown_in_rows_records_and_traces(world):
    await run(world)
    records = await world.rollouts()
    assert records
    assert not any(record.HasField("cost_usd") for record in records)
    async with rpc.connect(world.target, token="test-token") as channel:
        request = trace_v1.ListTracesRequest(rollout_id=records[0].rollout_id)
        stub = trace_v1.TraceServiceStub(channel)
        traces = (await stub.ListTraces(request, timeout=10)).traces
    assert traces
    assert not any(trace.usage.HasField("cost_usd") for trace in traces)
    assert '"cost_usd": 0' not in str(session(records[0].rollout_id, list(traces)))
    database = sqlite3.connect(world.state_dir / "controller.db")
    try:
        rows = database.execute("SELECT cost_usd FROM calls WHERE state = 'done'").fetchall()
    finally:
        database.close()
    assert rows
    assert {cost for (cost,) in rows} == {None}


async def test_calls_of_unknown_price_are_counted_apart_in_the_metrics(world):
    await run(world)
    labels = {"role": "task", "provider": "openai_compatible", "model": "fake"}
    assert REGISTRY.get_sample_value("burnish_llm_unpriced_calls_total", labels)
    assert REGISTRY.get_sample_value("burnish_llm_cost_usd_total", labels) is None


def test_an_unknown_price_is_unknown_in_the_estimate():
    spec = unpriced()
    found = estimate_job(spec)
    assert found.roles["task"].cost_usd is None
    assert found.cost_usd is None
    spec.budget.CopyFrom(job_v1.Budget(max_cost_usd=1.0))
    assert estimate_job(spec).cost_usd is None

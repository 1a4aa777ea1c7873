"""The benchmark's chapters on adaptive pools and cheaper models, on made-up matrices."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.search_parts import matrices, proxied, worlds
from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench, pools, proxies
from benchmarks.search_parts.engines import TPE, Session
from benchmarks.search_parts.proxied import ProxySession, Task
from benchmarks.search_parts.worlds import Environment
from burnish_controller.proxies.run import Rules, State


def drawn(prompts, *, seed, deviation=0.15):
    rng = np.random.default_rng(seed)
    chance = np.clip(rng.normal(0.6, deviation, (prompts, 1)) + rng.normal(0, 0.2, 120), 0, 1)
    return (rng.random((prompts, 120)) < chance).astype(np.int8)


@pytest.fixture
def bench(tmp_path):
    same, other = np.arange(120), np.arange(120) + 7
    np.savez(tmp_path / "dear.npz", Y=drawn(80, seed=1), example_hash=same)
    np.savez(tmp_path / "cheap.npz", Y=drawn(40, seed=2), example_hash=same)
    np.savez(tmp_path / "else.npz", Y=drawn(40, seed=3), example_hash=other)
    np.savez(tmp_path / "unknown.npz", Y=drawn(40, seed=4))
    loaded = tuple(matrices.load(tmp_path, grid_size=72))
    return Bench(matrices=loaded, processes=1, share=0.01)


@pytest.fixture
def world(bench):
    (dear, cheap) = proxies.paired(bench.wide, bench.matrices)[0]
    environment = Environment(name="grid", kind="grid", matrices=(dear,), cheap=(cheap,))
    return worlds.build(environment, 0, 1)


def test_two_models_are_known_by_their_examples_not_by_their_names(bench):
    assert [(a.name, b.name) for a, b in proxies.paired(bench.wide, bench.matrices)] == [
        ("dear", "cheap")
    ]


def test_a_cheaper_model_changes_nothing_of_the_dear_ones_world(bench, world):
    alone = worlds.build(bench.grid("grid"), 0, 1)

    assert alone.low is None
    assert np.array_equal(alone.seen, world.seen)
    assert world.low is not None
    assert world.low.shape == world.seen.shape


def test_arms_agree_as_far_as_they_are_told_to(bench):
    (dear, cheap) = proxies.paired(bench.wide, bench.matrices)[0]
    found = []
    for agreement in (0.0, 1.0):
        environment = Environment(
            name="grid", kind="grid", matrices=(dear,), cheap=(cheap,), agreement=agreement
        )
        correlations = []
        for repetition in range(20):
            built = worlds.build(environment, 0, repetition)
            assert built.low is not None
            means = built.seen.mean(axis=1), built.low.mean(axis=1)
            correlations.append(float(np.corrcoef(*means)[0, 1]))
        found.append(np.mean(correlations))

    assert abs(found[0]) < 0.2
    assert found[1] > 0.7


def test_a_perfect_stand_in_saves_every_later_minibatch(world):
    perfect = replace(world, low=world.seen)
    session = ProxySession(TPE, perfect, budget=1500, rules=Rules())
    session.run()
    plain = Session(TPE, perfect, budget=1500)
    plain.run()

    assert session.proxy.state is State.ON
    assert session.high < plain.spent - 300
    assert session.spent <= 1500
    assert session.proxy.net_gain_usd is not None
    assert session.proxy.net_gain_usd > 0
    assert len(session.study.history.measured) < len(session.study.history.rows)


def test_without_a_cheaper_model_the_money_is_the_cells(bench):
    task = Task(
        environment=bench.grid(), place=0, repetition=0, engine=TPE, budgets=(200,), rules=None
    )
    (found,) = proxied.run([task], processes=1)

    assert found.low == 0
    assert found.cost(proxied.Price()) == found.high <= 200


def test_both_chapters_report(bench, monkeypatch):
    monkeypatch.setattr(pools, "BUDGETS", (200,))
    monkeypatch.setattr(proxies, "BUDGETS", (200, 400))
    monkeypatch.setattr(proxies, "_COMPARED", (400,))
    report = Report()

    pools.measure(bench, report)
    proxies.measure(bench, report)

    assert len(report.tables) == 4
    assert "the same everywhere" in report.tables[next(t for t in report.tables if "tenth" in t)]
    assert any("cheaper model" in title for title in report.tables)
    assert all(np.isfinite(bound.measured) for bound in report.bounds)


def test_without_pairs_the_chapter_says_so(bench):
    unknown = replace(bench, matrices=tuple(replace(m, examples=()) for m in bench.matrices))
    report = Report()

    proxies.measure(unknown, report)

    assert not report.tables
    assert "no two matrices" in report.notes[0]

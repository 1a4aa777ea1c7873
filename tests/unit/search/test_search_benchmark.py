"""The benchmark of searches on made-up matrices: what it finds, builds, charges and decides."""

import numpy as np
import pytest

from benchmarks.search_parts import bounds, matrices, peers, runs, worlds
from benchmarks.search_parts.chapters import Bench, replay
from benchmarks.search_parts.engines import RACE, RANDOM, TPE, Session
from benchmarks.search_parts.runs import Method


def drawn(prompts, *, deviation, examples=120, seed=0):
    rng = np.random.default_rng(seed)
    worth = rng.normal(0.6, deviation, (prompts, 1))
    chance = np.clip(worth + rng.normal(0, 0.2, examples), 0, 1)
    return (rng.random((prompts, examples)) < chance).astype(np.int8)


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "a.npz", Y=drawn(90, deviation=0.1))
    np.savez(tmp_path / "b.npz", Y=drawn(40, deviation=0.0, examples=3000))
    half = drawn(60, deviation=0.1, seed=3)
    half[30:, 5] = -1
    np.savez(tmp_path / "c.npz", Y=half)
    np.savez(tmp_path / "d.npz", other=np.zeros(3))
    np.savez(tmp_path / "e.npz", Y=drawn(5, deviation=0.1))
    return tmp_path


@pytest.fixture
def bench(folder):
    loaded = tuple(matrices.load(folder, grid_size=72))
    return Bench(matrices=loaded, processes=1, share=0.05)


def test_matrices_are_sorted_by_what_they_hold(folder):
    found = {one.name: one for one in matrices.load(folder, grid_size=72)}
    assert sorted(found) == ["a", "b", "c"]
    assert [found[name].live for name in "abc"] == [True, False, True]
    assert found["b"].null
    assert found["c"].rewards.shape == (30, 120)


def test_prompts_that_were_never_raced_are_preferred_where_there_are_enough(tmp_path):
    unraced = np.arange(90) < 75
    np.savez(tmp_path / "a.npz", Y=drawn(90, deviation=0.1), no_racing=unraced)
    (found,) = matrices.load(tmp_path, grid_size=72)
    assert len(found.rewards) == 75
    (found,) = matrices.load(tmp_path, grid_size=80)
    assert len(found.rewards) == 90


def test_a_folder_without_matrices_is_refused_by_name(tmp_path):
    with pytest.raises(SystemExit, match="holds no matrix of at least 24 prompts"):
        matrices.load(tmp_path, grid_size=72)


def test_a_world_is_the_same_whenever_it_is_built(bench):
    first, again = (worlds.build(bench.grid(), 0, 3) for _ in range(2))
    assert (first.seen == again.seen).all()
    assert first.seen.shape == (72, 80)
    assert first.held.shape == (72, 40)
    assert first.regret(int(first.worth.argmax())) == 0


def test_instructions_and_demo_sets_of_a_grid_have_main_effects(bench):
    def share(environment):
        means = worlds.build(environment, 0, 0).worth.reshape(6, 12)
        return means.mean(axis=1).var() / means.var() + means.mean(axis=0).var() / means.var()

    wrong = bench.grid("wrong", shares=worlds.NO_MAIN_EFFECTS)
    assert share(bench.grid()) > 0.5 > share(wrong)


def test_copies_of_one_row_are_worth_the_same(bench):
    copies = worlds.Environment(name="copies", kind="copies", matrices=bench.wide)
    made = worlds.build(copies, 0, 0)
    assert {made.regret(arm) for arm in range(72)} == {0.0}
    assert 0.01 < np.abs(made.seen[0] - made.seen[1]).mean() < 0.12


@pytest.mark.parametrize("engine", [RACE, TPE, RANDOM], ids=lambda engine: engine.name)
def test_a_search_spends_no_more_than_it_may(bench, engine):
    made = worlds.build(bench.grid(), 0, 0)
    found = Session(engine, made, budget=300, fault_share=0.3).run()
    assert 0 < found.spent <= 300


def test_kills_change_nothing(bench):
    report = bounds.Report()
    replay.measure(bench, report)
    assert [bound.measured for bound in report.bounds] == [0, 0]


def test_methods_are_compared_world_by_world(bench):
    methods = [Method(how=TPE, budgets=(100, 300)), Method(how=RANDOM, budgets=(300,))]
    table = bench.run(bench.grid(), methods, worlds=60)
    assert table.budgets == [100, 300]
    assert len(table.of("tpe", 300)) == 3
    less = table.paired(("tpe", 300), ("random", 300))
    assert less.count == 3
    apart = bounds.mean(map(bounds.regret, table.of("tpe", 300))).mean
    apart -= bounds.mean(map(bounds.regret, table.of("random", 300))).mean
    assert less.mean == pytest.approx(apart)


def test_what_was_not_measured_is_a_bound_that_is_missed():
    report = bounds.Report()
    report.add("a", float("nan"), 1.0)
    report.add("b", 1.0, 1.0)
    assert [bound.met for bound in report.bounds] == [False, True]
    assert "| a | nan | 1.00 |  | MISSED |" in report.text()


def test_peers_that_are_not_installed_are_left_out(bench, monkeypatch):
    monkeypatch.setattr(peers, "installed", lambda: False)
    methods = [Method(how=peers.MIPROV2, budgets=(100,)), Method(how=TPE, budgets=(100,))]
    (first, *_) = runs.tasks(bench.grid(), methods, repetitions=1)
    assert [method.name for method in first.methods] == ["tpe"]

"""The benchmark of searches on made-up matrices: what it finds, builds, charges and decides."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import search
from benchmarks.search_parts import acceptance, bounds, matrices, peers, runs, staged, worlds
from benchmarks.search_parts.chapters import (
    Bench,
    ablations,
    budget,
    efficiency,
    faults,
    noise,
    nulls,
    parity,
    pools,
    replay,
)
from benchmarks.search_parts.engines import RACE, RANDOM, TPE, Conditions, Session
from benchmarks.search_parts.pace import Pace
from benchmarks.search_parts.runs import Method

ROOT = Path(__file__).resolve().parents[3]


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


@pytest.mark.parametrize("open_works", [1, 3])
@pytest.mark.parametrize("engine", [RACE, TPE, RANDOM], ids=lambda engine: engine.name)
def test_a_search_spends_no_more_than_it_may(bench, engine, open_works):
    made = worlds.build(bench.grid(), 0, 0)
    conditions = Conditions(fault_share=0.3, open_works=open_works)
    found = Session(engine, made, budget=300, conditions=conditions).run()
    assert 0 < found.spent <= 300


def test_works_are_asked_for_before_the_first_is_told(bench):
    made = worlds.build(bench.grid(), 0, 0)
    session = Session(RANDOM, made, budget=300, conditions=Conditions(open_works=3))
    first = next(session.works())
    assert first.ask_index == 0
    assert [work.closed for work in session.study.history.works] == [True, False, False]


@pytest.mark.parametrize("zero", [False, True])
def test_a_fault_is_missing_unless_it_is_to_be_scored(bench, zero):
    made = worlds.build(bench.grid(), 0, 0)
    conditions = Conditions(fault_share=0.5, faults_score_zero=zero)
    session = Session(RANDOM, made, budget=300, conditions=conditions)
    session.run()
    rows = session.study.history.rows
    told = {(session._arms[row.candidate_id], row.seed): row.reward for row in rows}
    wrong = sum(made.reward(*cell) != reward for cell, reward in told.items())
    assert (wrong > 0) == zero
    assert (len(rows) < session.spent) == (not zero)


def test_searches_that_overspend_are_counted(bench):
    methods = [Method(how=RANDOM, budgets=(100,)), Method(how=TPE, budgets=(100,))]
    table = bench.run(bench.grid(), methods, worlds=60)
    greedy = replace(table.results[0].outcome, spent=101)
    table.results[0] = replace(table.results[0], outcome=greedy)
    report = bounds.Report()
    report.add_spent(table)
    report.close()
    (bound,) = report.bounds
    assert (bound.measured, bound.note, bound.met) == (1, "of 6", False)


def test_kills_change_nothing(bench, monkeypatch):
    monkeypatch.setattr(replay, "_BUDGET", 300)
    monkeypatch.setattr(replay, "_POINTS", 6)
    report = bounds.Report()
    replay.measure(bench, report)
    assert [bound.measured for bound in report.bounds] == [0] * 6


def test_turned_cells_change_what_is_seen_and_not_what_it_is_worth(bench):
    plain, turned = (worlds.build(bench.grid(flipped=share), 0, 2) for share in (0.0, 0.1))
    assert plain.worth == pytest.approx(turned.worth)
    assert 0.05 < np.abs(plain.seen - turned.seen).mean() < 0.15


def test_every_stage_adds_to_what_a_candidate_is_worth():
    made = staged.build(3)
    best = [int(stage.argmax()) for stage in made.worth]
    arm = (best[0] * 72 + best[1]) * 72 + best[2]
    assert made.regret(arm) == 0
    assert made.regret(0) > 5
    rewards = [made.reward(arm, example) for example in range(made.row_count)]
    assert rewards == [made.reward(arm, example) for example in range(made.row_count)]
    assert np.mean(rewards) == pytest.approx(made.level(arm), abs=0.08)
    assert np.mean([made.reward(0, example) for example in range(200)]) < np.mean(rewards)


def test_a_candidate_of_several_stages_has_a_number_of_its_own():
    made = staged.build(3)
    session = Session(RANDOM, made, budget=500)
    session.run()
    arms = session._arms
    assert len(set(arms.values())) == len(arms) > 5
    assert all(0 <= arm < 72**3 for arm in arms.values())
    (baseline,) = (session._arm(one) for one in [session.study.history.space.baseline()])
    assert baseline == 0


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
    (first,) = runs.tasks(bench.grid(), methods, range(1))
    assert [method.name for method in first.methods] == ["tpe"]
    report = bounds.Report()
    parity.measure(bench, report)
    assert not report.bounds[0].met


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("text.npz", b"not an archive", "no whole archive"),
        ("empty.npz", b"", "no whole archive"),
        ("cut.npz", b"cut", "no whole archive"),
        ("spoilt.npz", b"spoilt", "cannot be read"),
        ("other.npz", {"X": np.zeros((30, 90))}, "no array `Y`, but X"),
        ("none.npz", {}, "but nothing at all"),
        ("line.npz", {"Y": np.zeros(90)}, "1-dimensional float64, not prompts x examples"),
        ("words.npz", {"Y": np.full((30, 90), "a")}, "2-dimensional <U1"),
        ("hundred.npz", {"Y": np.full((30, 90), 85)}, "in [0, 1], and `Y` has 85"),
        ("few.npz", {"Y": np.zeros((30, 20))}, "30 of 30 prompts have a reward for each of 20"),
        ("holes.npz", {"Y": np.full((30, 90), np.nan)}, "0 of 30 prompts"),
    ],
)
def test_a_file_that_is_no_matrix_is_named_and_the_others_are_used(tmp_path, name, content, told):
    np.savez(tmp_path / "a.npz", Y=drawn(30, deviation=0.1))
    if isinstance(content, dict):
        np.savez(tmp_path / name, **content)
    elif content == b"cut":
        whole = (tmp_path / "a.npz").read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    elif content == b"spoilt":
        whole = (tmp_path / "a.npz").read_bytes()
        (tmp_path / name).write_bytes(whole.replace(b"NUMPY", b"NUMPX"))
    else:
        (tmp_path / name).write_bytes(content)
    notes: list[str] = []
    (found,) = matrices.load(tmp_path, grid_size=72, tell=notes.append)
    assert found.name == "a"
    assert len(notes) == 1
    assert notes[0].startswith(f"`{name}`: ")
    assert told in notes[0]


def test_marks_that_do_not_fit_are_told_and_not_used(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        Y=drawn(80, deviation=0.1),
        no_racing=np.ones(79, dtype=bool),
        example_hash=np.arange(7),
    )
    notes: list[str] = []
    (found,) = matrices.load(tmp_path, grid_size=72, tell=notes.append)
    assert found.rewards.shape == (80, 120)
    assert found.examples == ()
    assert ["no_racing" in notes[0], "example_hash" in notes[1]] == [True, True]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="is not a folder"):
        matrices.load(tmp_path / "missing", grid_size=72)


def test_repetitions_end_when_the_time_of_their_table_is_over():
    now = [0.0]
    lines: list[str] = []
    pace = Pace(seconds=1000.0, clock=lambda: now[0], say=lines.append)

    def spent(count, part, **given):
        found = 0
        for _ in pace.repetitions("a table", count, part=part, **given):
            now[0] += 20.0
            found += 1
        return found

    pace.chapter(0.5)
    assert spent(10, 1.0, least=1) == 10
    assert spent(100, 0.5, least=1) == 6
    assert lines[-1] == "  a table: 6 of 100 repetitions, for want of time"
    assert spent(100, 0.01, least=2) == 2
    pace.chapter(1.0)
    assert spent(1000, 1.0, least=1) == (950 - 360) // 20


def test_repetitions_without_a_limit_are_all_there_are():
    pace = Pace(say=lambda _: None)
    assert list(pace.repetitions("a", 3, least=1, part=0.1)) == [0, 1, 2]


def test_every_bound_is_where_the_list_says():
    for check in acceptance.CHECKS:
        assert check.where in search.CHAPTERS or (ROOT / check.where).is_file(), check
    assert set(search.CHAPTERS) - {check.where for check in acceptance.CHECKS} == {"ablations"}


def test_two_processes_give_what_one_gives(bench):
    methods = [Method(how=RANDOM, budgets=(100,))]
    alone, together = (
        replace(bench, processes=count).run(bench.grid(), methods, worlds=60) for count in (1, 2)
    )
    assert [(one.world, one.regret) for one in alone.results] == [
        (one.world, one.regret) for one in together.results
    ]


@pytest.mark.parametrize("chapters", [("efficiency", "nulls", "noise"), ("faults", "budget")])
def test_a_quick_run_holds_chapters_to_their_bounds(folder, monkeypatch, capsys, chapters):
    monkeypatch.setattr(peers, "installed", lambda: False)
    monkeypatch.setattr(efficiency, "BUDGETS", (200, 400))
    monkeypatch.setattr(noise, "BUDGETS", (200, 400))
    monkeypatch.setattr(nulls, "BUDGET", 400)
    monkeypatch.setattr(budget, "_SIZES", ((1, 7), (4, 5)))
    monkeypatch.setattr(faults, "BUDGET", 300)
    monkeypatch.setattr(faults, "_FAULTS", {0.1: 250, 0.3: 180})
    monkeypatch.setattr(faults, "_IN_FLIGHT", ((1, 2), (4, 5)))
    given = ["search", "--data", str(folder), "--quick", "--processes", "1", "--json"]
    monkeypatch.setattr(sys, "argv", [*given, "--only", *chapters])
    code = search.main()
    told = json.loads(capsys.readouterr().out)
    met = {bound["name"]: bound["met"] for bound in told["bounds"]}
    assert code == int(not all(met.values()))
    assert met["searches that spent more than they might"]
    assert "`d.npz`: no array `Y`, but other" in told["left_out"]


def test_a_run_that_is_out_of_time_misses_what_it_did_not_measure(folder, monkeypatch, capsys):
    given = ["search", "--data", str(folder), "--quick", "--processes", "1", "--minutes", "0.002"]
    monkeypatch.setattr(sys, "argv", [*given, "--only", "replay", "parity"])
    assert search.main() == 1
    told = capsys.readouterr().out
    assert "| replay within 0.002 minutes | inf | 0.00 | out of time | MISSED |" in told
    assert "| parity: not measured | nan | 0.00 | out of time | MISSED |" in told


def test_a_folder_with_nothing_to_find_is_told_so(tmp_path, bench):
    np.savez(tmp_path / "b.npz", Y=drawn(40, deviation=0.0, examples=3000))
    flat = tuple(one for one in bench.matrices if one.null)
    report = bounds.Report()
    for chapter in (efficiency, faults, noise, replay, parity, budget, pools, ablations):
        chapter.measure(replace(bench, matrices=flat), report)
    assert not report.bounds
    assert set(report.notes) == {
        "grid 6 x 12: the folder holds no such matrix",
        "flat: the folder holds no such matrix",
    }

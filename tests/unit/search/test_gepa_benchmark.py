"""The benchmark's chapters on the engine of GEPA, on made-up matrices."""

import numpy as np
import pytest

from benchmarks.search_parts import gates, matrices, proposals, worlds
from benchmarks.search_parts.bounds import Report
from benchmarks.search_parts.chapters import Bench, batches, gate
from benchmarks.search_parts.engines import EVOLVING, Conditions, Session
from benchmarks.search_parts.gates import Family
from burnish_search.model import ProposalPlan


@pytest.fixture
def bench(tmp_path):
    rng = np.random.default_rng(1)
    chance = np.clip(rng.normal(0.6, 0.1, (80, 1)) + rng.normal(0, 0.2, 150), 0, 1)
    np.savez(tmp_path / "a.npz", Y=(rng.random((80, 150)) < chance).astype(np.int8))
    loaded = tuple(matrices.load(tmp_path, grid_size=72))
    return Bench(matrices=loaded, processes=1, share=0.01)


def played(bench, **conditions):
    world = worlds.build(bench.grid(), 0, 0)
    session = Session(EVOLVING, world, budget=400, conditions=Conditions(**conditions))
    return world, session, session.run()


def test_briefs_are_answered_with_other_options_of_their_parents(bench):
    world, session, _ = played(bench)
    history = session.study.history
    plan = next(work.plan for work in history.works if isinstance(work.plan, ProposalPlan))
    found = proposals.written(world, history, plan)
    parent = history.candidates[plan.parent_candidate_ids[0]]

    assert len(found) == plan.count
    assert len({one.component_id for one in found}) == plan.count
    assert not {one.component_id for one in found} & set(history.space.components)
    for one in found:
        choices = list(parent.choices)
        choices[one.kind] = one.component_id
        assert proposals.arm(world, choices) != proposals.arm(world, parent.choices)


def test_a_search_by_generations_begins_with_the_baseline_alone(bench):
    _, session, outcome = played(bench)

    assert 0 < outcome.spent <= 400
    assert len(session.study.history.space.components) > 2
    assert gates.twice(session.study.history) == 0
    baseline = session.study.history.space.baseline()
    assert session.study.history.trials[0].candidate == baseline


@pytest.mark.parametrize("conditions", [{}, {"fault_share": 0.2, "open_works": 3}])
def test_a_search_whose_briefs_were_answered_goes_on_from_its_log(bench, conditions):
    _, whole, expected = played(bench, **conditions)

    for point in range(2, len(whole.log), 7):
        again = whole.restored(point)
        assert again.run().arm == expected.arm
        assert again.log == whole.log


@pytest.mark.parametrize("kind", ["better", "worse"])
def test_children_are_decided_as_by_the_whole_minibatch(bench, kind):
    for repetition in range(5):
        family = Family(matrix=bench.matrices[0], kind=kind, size=8, repetition=repetition)
        found = gates.decided(family)
        assert found
        assert all(one.right for one in found)
        assert max(one.cell_count for one in found) <= 8


def test_where_no_prompt_is_so_much_better_nothing_is_decided(bench):
    matrix = bench.matrices[0]
    same = matrices.Matrix(name="same", rewards=matrix.rewards[[0] * 30], spread=0.1)

    assert gates.decided(Family(matrix=same, kind="better", size=8, repetition=0)) == []


def test_both_chapters_report_what_they_measured(bench, monkeypatch):
    monkeypatch.setattr(batches, "BUDGETS", (150,))
    monkeypatch.setattr(gate, "SIZES", (3, 8))
    monkeypatch.setattr(gate, "_BUDGETS", (200,))
    report = Report()

    gate.measure(bench, report)
    batches.measure(bench, report)

    met = {bound.name: bound.met for bound in report.bounds}
    assert met["gate of 8 rows: cells of a rejected child"]
    assert met["children decided otherwise than by the whole minibatch"]
    assert met["cells that a search by generations asked for again"]
    assert len(report.tables) == 3
    assert report.overspent == 0


def test_without_anything_to_find_the_gate_says_so(bench):
    report = Report()
    gate.measure(Bench(matrices=(), processes=1, share=1.0), report)

    assert not report.tables
    assert "nothing" not in report.notes[0]
    assert "no matrix with something to find" in report.notes[0]

"""How a search goes: trials, full evaluations, proposals, the final re-score, every end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_search.algorithms.mipro import Mipro
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.model import FinishReason, Pool, ProposalPlan, TrialKind

MINIBATCH, FULL, TOP_K = TrialKind.MINIBATCH, TrialKind.FULL, TrialKind.TOP_K
BOTH = pytest.mark.parametrize("algorithm", [Mipro, RandomSearch])


def better(place):
    """A world where one instruction always succeeds and the others never do."""
    return lambda candidate, cell: float(candidate.choices[0] == f"ins_main_{place}")


@BOTH
def test_minibatches_then_full_evaluations_then_the_top_k(rig, algorithm):
    found = rig(algorithm, settings={"batch_size": 5, "num_trials": 10}).start().run()
    kinds = found.kinds()
    assert kinds.count(MINIBATCH) == 10
    assert FULL in kinds
    assert kinds.index(FULL) == 5
    assert kinds.index(TOP_K) > max(place for place, kind in enumerate(kinds) if kind is MINIBATCH)
    assert found.reason is FinishReason.COMPLETED
    assert all(len(t.cells) == 5 for t in found.history.trials if t.kind is MINIBATCH)


@BOTH
def test_the_candidate_that_always_succeeds_wins(rig, algorithm):
    found = rig(algorithm, reward=better(2)).start().run()
    first = found.study.rank(found.study.revision, 3)[0]
    assert first.candidate.choices[0] == "ins_main_2"
    assert first.validation.mean == 1.0


@BOTH
def test_the_top_k_are_rescored_on_the_same_validation_rows(rig, algorithm):
    given_settings = {"batch_size": 5, "num_trials": 4, "top_k": 3, "top_k_size": 6}
    found = rig(algorithm, settings=given_settings).start().run()
    final = [trial for trial in found.history.trials if trial.kind is TOP_K]
    rows = {tuple(cell.row for cell in trial.cells) for trial in final}
    assert len({trial.candidate.candidate_id for trial in final}) == 3
    assert len(rows) == 1
    assert len(rows.pop()) == 6


@BOTH
def test_what_was_fully_evaluated_is_not_rescored(rig, algorithm):
    found = rig(algorithm, settings={"batch_size": 5, "num_trials": 20}).start().run()
    asked = [
        (cell.candidate_id, cell.row) for trial in found.history.trials for cell in trial.cells
    ]
    assert len(asked) == len(set(asked))
    full = {t.candidate.candidate_id for t in found.history.trials if t.kind is FULL}
    final = {t.candidate.candidate_id for t in found.history.trials if t.kind is TOP_K}
    assert not full & final


@BOTH
@settings(max_examples=40, deadline=None)
@given(
    limit=st.one_of(st.none(), st.integers(1, 150)),
    budget=st.integers(0, 150),
    batch=st.integers(1, 40),
    parallel=st.integers(1, 5),
    top_k=st.integers(1, 6),
)
def test_no_budget_is_exceeded_and_none_of_it_is_kept_back_for_nothing(
    rig, algorithm, limit, budget, batch, parallel, top_k
):
    given_settings = {
        "batch_size": batch,
        "num_trials": 40,
        "max_parallel_trials": parallel,
        "top_k": top_k,
    }
    found = rig(algorithm, settings=given_settings, max_cell_count=limit, budget=budget)
    found.start().run()
    most = budget if limit is None else min(limit, budget)
    assert found.history.suggested_cell_count <= most
    # A search that did all that was planned may leave any part of a large budget.
    if most >= 4 and found.reason is not FinishReason.COMPLETED:
        assert found.history.suggested_cell_count >= most // 2


@BOTH
def test_a_tight_budget_keeps_half_of_it_for_the_top_k(rig, algorithm):
    found = rig(algorithm, settings={"batch_size": 5, "num_trials": 50}, budget=40).start().run()
    kinds = found.kinds()
    assert (kinds.count(MINIBATCH), kinds.count(TOP_K), kinds.count(FULL)) == (4, 2, 0)
    assert found.history.suggested_cell_count == 40
    assert found.reason is FinishReason.BUDGET


@BOTH
@pytest.mark.parametrize("most", [1, 2, 3, 6, 9])
def test_no_more_trials_of_any_kind_than_allowed(rig, algorithm, most):
    given_settings = {"batch_size": 5, "num_trials": 30, "max_trials": most}
    found = rig(algorithm, settings=given_settings).start().run()
    assert 1 <= len(found.history.trials) <= most
    assert found.kinds()[0] is MINIBATCH


@BOTH
def test_a_space_of_one_candidate_is_exhausted_at_once(rig, algorithm):
    found = rig(algorithm).start(instructions=1, demo_sets=1).run()
    assert found.reason is FinishReason.SPACE_EXHAUSTED
    assert found.history.trials == []


@BOTH
def test_a_small_space_is_exhausted_when_every_row_is_observed(rig, algorithm):
    found = rig(algorithm, settings={"batch_size": 5, "num_trials": 500}, online=tuple(range(8)))
    found.start(instructions=2, demo_sets=2).run()
    assert found.reason is FinishReason.SPACE_EXHAUSTED
    online = [c for t in found.history.trials for c in t.cells if c.pool is Pool.ONLINE]
    assert len(online) == len(set(online)) == 4 * 8


@BOTH
def test_a_baseline_that_reaches_the_target_needs_no_search(rig, algorithm):
    found = rig(algorithm, reward=lambda *_: 1.0, settings={"target_reward": 0.95}).start().run()
    assert found.reason is FinishReason.TARGET_REACHED
    assert found.history.trials == []


@BOTH
def test_the_target_is_reached_by_a_validation_mean_not_by_a_minibatch(rig, algorithm):
    def tempting(candidate, cell):
        return float(cell.pool is Pool.ONLINE)

    given_settings = {"batch_size": 5, "num_trials": 10, "target_reward": 0.9}
    found = rig(algorithm, reward=tempting, settings=given_settings).start().run()
    assert found.reason is FinishReason.COMPLETED


@BOTH
def test_a_search_ends_early_once_the_target_is_reached(rig, algorithm):
    given_settings = {"batch_size": 8, "num_trials": 80, "target_reward": 0.9}
    found = rig(algorithm, reward=better(1), settings=given_settings).start().run()
    assert found.reason is FinishReason.TARGET_REACHED
    assert found.kinds().count(MINIBATCH) < 80


@BOTH
def test_a_search_whose_incumbent_stays_ends_for_no_improvement(rig, algorithm):
    given_settings = {"batch_size": 5, "num_trials": 80, "max_trials_without_improvement": 6}
    found = rig(algorithm, reward=better(0), settings=given_settings).start().run()
    assert found.reason is FinishReason.NO_IMPROVEMENT
    assert found.kinds().count(MINIBATCH) < 30


@BOTH
def test_instructions_are_asked_for_in_the_iterations_named(rig, make, algorithm):
    given_settings = {
        "batch_size": 5,
        "num_iterations": 5,
        "num_evaluations_per_iteration": 3,
        "generate_at_iterations": [0, 2, 4],
        "instructions_per_batch": 4,
    }
    found = rig(algorithm, settings=given_settings).start()
    asked, tried_at = [], None
    for _ in range(100):
        work = found.ask()
        if isinstance(work.plan, ProposalPlan):
            asked.append((work.plan.iteration, work.plan.count, work.plan.stage_ids))
            assert work.plan.parent_candidate_ids
            found.do(work)
            found.add([make["instruction"](20 + len(asked))])
            continue
        if not work.trials:
            break
        if tried_at is None and "ins_main_21" in work.trials[0].candidate.choices:
            tried_at = work.trials[0].iteration
        found.do(work)
    assert asked == [(2, 4, ("main",)), (4, 4, ("main",))]
    assert found.kinds().count(MINIBATCH) == 15
    assert tried_at in {2, 3, 4, None if algorithm is RandomSearch else 2}


@BOTH
def test_trials_of_one_ask_are_different_and_of_one_iteration(rig, algorithm):
    given_settings = {"batch_size": 5, "num_trials": 12, "max_parallel_trials": 4}
    found = rig(algorithm, settings=given_settings).start(instructions=6, demo_sets=6).run()
    for work in found.history.works:
        minibatches = [t for t in work.trials if t.kind is MINIBATCH]
        assert len(minibatches) <= 4
        assert len({t.iteration for t in minibatches}) <= 1
    sizes = [len(work.trials) for work in found.history.works if work.trials]
    assert sizes[:2] == [4, 1]


@BOTH
def test_every_stage_is_searched(rig, algorithm):
    found = rig(
        algorithm,
        stages=("one", "two", "three"),
        settings={"batch_size": 5, "num_trials": 30},
        reward=lambda candidate, cell: (
            (candidate.choices[0] == "ins_one_1") * 0.5
            + (candidate.choices[4] == "ins_three_2") * 0.5
        ),
    )
    found.start(instructions=3, demo_sets=2).run()
    first = found.study.rank(found.study.revision, 1)[0].candidate
    assert (first.choices[0], first.choices[4]) == ("ins_one_1", "ins_three_2")


def test_startup_trials_cover_every_option_evenly(rig):
    given_settings = {"batch_size": 5, "num_trials": 12, "tpe": {"n_startup_trials": 12}}
    found = rig(Mipro, settings=given_settings).start(instructions=6, demo_sets=4).run()
    trials = [t.candidate for t in found.history.trials if t.kind is MINIBATCH]
    for slot, size in ((0, 6), (1, 4)):
        chosen = [candidate.choices[slot] for candidate in trials]
        assert {chosen.count(option) for option in chosen} == {12 // size}
        assert len(set(chosen)) == size
    assert len({candidate.candidate_id for candidate in trials}) == 12


def test_options_added_late_are_covered_before_the_sampler_goes_on(rig, make):
    found = rig(Mipro, settings={"batch_size": 5, "num_trials": 40}).start().run(most_asks=20)
    found.add([make["instruction"](place) for place in (30, 31, 32)])
    before = len(found.history.trials)
    found.run(most_asks=3)
    tried = {t.candidate.choices[0] for t in found.history.trials[before:]}
    assert tried >= {"ins_main_30", "ins_main_31", "ins_main_32"}


def test_the_sampler_comes_back_to_what_is_good(rig):
    given_settings = {"batch_size": 5, "num_trials": 60, "full_eval_every_k": 1000}
    chosen = {}
    for algorithm in (Mipro, RandomSearch):
        found = rig(algorithm, reward=better(3), settings=given_settings, online=tuple(range(200)))
        found.start(instructions=8, demo_sets=8).run()
        later = [t.candidate for t in found.history.trials if t.kind is MINIBATCH][20:]
        chosen[algorithm] = sum(c.choices[0] == "ins_main_3" for c in later)
    assert chosen[Mipro] > 2 * chosen[RandomSearch]


@BOTH
def test_the_baseline_wins_a_tie(rig, algorithm):
    found = rig(algorithm, reward=lambda *_: 0.5).start().run()
    ranked = found.study.rank(found.study.revision, 100)
    assert ranked[0].baseline
    assert len(ranked) > 3


@BOTH
def test_those_rescored_at_the_end_come_before_the_rest(rig, algorithm):
    found = rig(algorithm, settings={"batch_size": 5, "num_trials": 30}).start().run()
    final = {t.candidate.candidate_id for t in found.history.trials if t.kind is TOP_K}
    ranked = found.study.rank(found.study.revision, 100)
    first = {entry.candidate.candidate_id for entry in ranked[: len(final) + 1]}
    assert first == final | {found.history.space.baseline().candidate_id}


@BOTH
def test_minibatches_may_come_from_the_validation_pool(rig, algorithm):
    given_settings = {"batch_size": 5, "num_trials": 8, "minibatch_source": "validation"}
    found = rig(algorithm, settings=given_settings, online=()).start().run()
    assert {c.pool for t in found.history.trials for c in t.cells} == {Pool.VALIDATION}


def test_a_preset_goes_through_with_its_number_of_trials(rig):
    found = rig(Mipro, settings={"auto": "light"}, validation=tuple(range(100, 160)))
    found.start(instructions=3, demo_sets=6).run()
    assert found.kinds().count(MINIBATCH) == 10
    assert all(len(t.cells) == 35 for t in found.history.trials if t.kind is MINIBATCH)

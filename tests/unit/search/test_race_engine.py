"""The race: who wins, what it spends, and that it is a function of its history alone."""

import collections
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_search.algorithms.engines import MiproEngines
from burnish_search.algorithms.mipro import Mipro
from burnish_search.algorithms.race import Race
from burnish_search.algorithms.race.beliefs import Beliefs
from burnish_search.model import FinishReason, Pool, ProposalPlan, TrialKind
from burnish_search.problems import StudyInvalid

MINIBATCH, FULL, TOP_K = TrialKind.MINIBATCH, TrialKind.FULL, TrialKind.TOP_K
LONG = {"batch_size": 10, "num_trials": 40}


def better(place):
    """A world where one instruction always succeeds and the others never do."""
    return lambda candidate, cell: float(candidate.choices[0] == f"ins_main_{place}")


def graded(candidate, cell):
    """A world of rows that differ and of options that add up, the last ones best."""
    worth = sum(int(choice.rsplit("_", 1)[1]) for choice in candidate.choices) / 12
    key = f"{candidate.candidate_id}/{cell.seed}"
    ease = random.Random(f"row/{cell.seed}").random() - 0.5
    return float(random.Random(key).random() < 0.3 + worth + 0.5 * ease)


def flaky(share, reward=graded):
    """The same world, in which measurements are missing now and then."""

    def measured(candidate, cell):
        key = f"fault/{candidate.candidate_id}/{cell.pool}/{cell.seed}"
        return None if random.Random(key).random() < share else reward(candidate, cell)

    return measured


def last_choices(found):
    return found.study.rank(found.study.revision, 1)[0].candidate.choices


def test_the_candidate_that_always_succeeds_wins(rig):
    found = rig(Race, settings=LONG, reward=better(2)).start().run()
    assert last_choices(found)[0] == "ins_main_2"


def test_the_best_options_are_found_in_a_tenth_of_the_cells_of_the_grid(rig):
    wins = 0
    for seed in range(6):
        found = rig(Race, settings=LONG, reward=graded, online=range(200), seed=seed).start().run()
        assert found.history.suggested_cell_count <= 440
        wins += last_choices(found) == ("ins_main_3", "dem_main_2")
    assert wins >= 5


def test_every_option_is_looked_at_first_on_rows_that_overlap(rig):
    found = rig(Race, settings=LONG).start().run(most_asks=1)
    trials = found.history.trials
    assert {choice for t in trials for choice in t.candidate.choices} >= {
        *(f"ins_main_{place}" for place in range(4)),
        *(f"dem_main_{place}" for place in range(3)),
    }
    rows = [{cell.row for cell in trial.cells} for trial in trials]
    assert all(one & other for one, other in itertools.pairwise(rows))
    assert len(set.union(*rows)) > len(rows[0])
    assert trials[0].candidate == found.history.space.baseline()


@pytest.mark.parametrize("seed", range(4))
def test_every_option_is_looked_at_first_without_the_baseline_too(rig, seed):
    made = rig(Race, settings=LONG, seed=seed).start(instructions=4, demo_sets=12)
    trials = made.run(most_asks=1).history.trials
    baseline = made.history.space.baseline()
    others = [trial.candidate.choices for trial in trials if trial.candidate != baseline]
    assert len(others) == len(trials) - 1 == 12
    assert {choice for choices in others for choice in choices} == {
        *(f"ins_main_{place}" for place in range(4)),
        *(f"dem_main_{place}" for place in range(12)),
    }


def test_demos_are_given_up_where_all_do_harm_and_the_baseline_fails(rig):
    """That the baseline has no demos is no reason to believe that the others need them."""

    def reward(candidate, cell):
        key = f"{candidate.candidate_id}/{cell.seed}"
        own, bare = (choice.endswith("_0") for choice in candidate.choices)
        share = 0.2 if own else 0.85 if bare else 0.7
        return float(random.Random(key).random() < share)

    wins = 0
    for seed in range(8):
        made = rig(Race, settings=LONG, reward=reward, online=range(80), seed=seed)
        found = made.start(instructions=6, demo_sets=10).run()
        wins += last_choices(found)[1] == "dem_main_0"
    assert wins >= 6


def test_candidates_that_do_not_differ_end_the_race_early(rig):
    def same(candidate, cell):
        return float(random.Random(f"row/{cell.seed}").random() < 0.7)

    found = (
        rig(Race, settings={**LONG, "num_trials": 100}, reward=same, online=range(200))
        .start()
        .run()
    )
    assert found.reason is FinishReason.NO_IMPROVEMENT
    assert found.history.suggested_cell_count <= 450


def test_a_missing_measurement_is_no_reward_of_zero(rig):
    def flawless(candidate, cell):
        return 1.0

    found = rig(Race, settings=LONG, reward=flaky(0.4, flawless)).start().run()
    assert min(one.pooled.mean for one in found.study.rank(found.study.revision, 100)) > 0.99


def test_a_third_of_missing_measurements_do_not_hide_the_best(rig):
    found = rig(Race, settings=LONG, reward=flaky(0.3), online=range(200)).start().run()
    assert last_choices(found)[0] == "ins_main_3"


@pytest.mark.parametrize("survived", range(0, 12))
def test_a_restored_race_goes_on_as_if_nothing_had_happened(rig, survived):
    undisturbed = rig(Race, settings=LONG, reward=flaky(0.1)).start().run()
    restored = rig(Race, settings=LONG, reward=flaky(0.1)).start().run(most_asks=survived)
    restored.restored().run()
    assert restored.plans() == undisturbed.plans()
    assert last_choices(restored) == last_choices(undisturbed)


@given(
    cells=st.integers(0, 90),
    arms=st.integers(1, 20),
    rows=st.integers(1, 9),
    top_k=st.integers(1, 4),
)
@settings(deadline=None, max_examples=30)
def test_no_cell_is_asked_beyond_the_budget_or_twice(rig, cells, arms, rows, top_k):
    given_settings = {
        "batch_size": 5,
        "num_trials": 12,
        "top_k": top_k,
        "race": {"arms_per_batch": arms, "rows_per_arm": rows},
    }
    found = rig(Race, settings=given_settings, reward=flaky(0.1), max_cell_count=cells or None)
    found.start().run()
    asked = [(c.candidate_id, c.row) for t in found.history.trials for c in t.cells]
    assert len(asked) == len(set(asked)) <= (cells or 60 + 10 * top_k)


@pytest.mark.parametrize("most", [1, 4, 12])
def test_no_trial_is_suggested_beyond_their_limit(rig, most):
    found = rig(Race, settings={**LONG, "max_trials": most}, online=range(200)).start().run()
    assert 1 <= len(found.history.trials) <= most


def test_works_in_flight_are_spread_as_if_those_before_had_been_answered(rig):
    given_settings, looked_at, most = {**LONG, "num_trials": 60}, 0, 0.0
    for seed in range(8):
        found = rig(Race, settings=given_settings, reward=graded, online=range(200), seed=seed)
        found.start().run(most_asks=6)
        trials = [trial for _ in range(5) for trial in found.ask().trials]
        cells = collections.Counter(t.candidate.candidate_id for t in trials for _ in t.cells)
        looked_at += len(cells)
        most += max(cells.values()) / cells.total()
    # Unless what is in flight counts as answered, it is 36 candidates, and 43 % of cells for one.
    assert looked_at / 8 > 5.5
    assert most / 8 < 0.38


def test_what_is_in_flight_in_a_race_survives_a_restart(rig):
    given_settings = {**LONG, "num_trials": 60}
    found = rig(Race, settings=given_settings, reward=graded, online=range(200)).start()
    found.run(most_asks=5)
    first, second = found.ask(), found.ask()
    found.do(second)
    following = found.restored().ask()
    assert set(found.history.pending) >= {t.candidate.candidate_id for t in first.trials}
    again = rig(Race, settings=given_settings, reward=graded, online=range(200))
    again.log = found.log[:-1]
    assert again.restored().ask().trials == following.trials


def test_nothing_is_in_flight_once_a_work_is_closed(rig):
    found = rig(Race, settings=LONG, reward=flaky(0.3)).start().run(most_asks=2)
    work = found.ask()
    asked = {t.candidate.candidate_id: {c.row for c in t.cells} for t in work.trials}
    assert found.history.pending == asked
    found.study.close(found.study.revision + 1, work.ask_index)
    assert not found.history.pending


def test_a_new_instruction_is_looked_at_next_with_the_best_demos(rig, make):
    found = rig(Race, settings=LONG, reward=graded, online=range(200)).start().run(most_asks=4)
    best = last_choices(found)
    found.add([make["instruction"](9)])
    work = found.ask()
    assert {trial.candidate.choices for trial in work.trials} == {("ins_main_9", best[1])}


def test_a_retired_instruction_is_not_looked_at_again(rig):
    found = rig(Race, settings=LONG, reward=graded, online=range(200)).start().run(most_asks=3)
    seen = len(found.history.trials)
    found.study.retire(found.study.revision + 1, ["ins_main_3"])
    found.run()
    later = [trial for trial in found.history.trials[seen:] if trial.kind is MINIBATCH]
    assert later
    assert all(trial.candidate.choices[0] != "ins_main_3" for trial in later)


def test_a_round_of_proposals_is_asked_for_when_its_iteration_comes(rig):
    given_settings = {
        **LONG,
        "num_evaluations_per_iteration": 10,
        "generate_at_iterations": [0, 2],
        "race": {"stop_regret": 0.0, "headroom": 0.0},
    }
    found = rig(Race, settings=given_settings, reward=graded, online=range(200)).start().run()
    plans = [work.plan for work in found.history.works if isinstance(work.plan, ProposalPlan)]
    assert [plan.iteration for plan in plans] == [2]
    assert plans[0].parent_candidate_ids


def test_a_race_ends_with_rows_that_winner_and_baseline_share(rig):
    given_settings = {**LONG, "num_trials": 100, "race": {"confirm": 0.2, "headroom": 0.0}}
    found = rig(Race, settings=given_settings, reward=graded, online=range(400)).start().run()
    best = found.study.rank(found.study.revision, 1)[0].candidate
    asked = [
        {row for pool, row in found.history.asked(one.candidate_id) if pool is Pool.ONLINE}
        for one in (best, found.history.space.baseline())
    ]
    assert len(asked[0] & asked[1]) >= 60


def test_rows_that_failed_are_none_that_winner_and_baseline_share(rig):
    given_settings = {**LONG, "num_trials": 120, "race": {"headroom": 0.0}}
    found = rig(Race, settings=given_settings, reward=flaky(0.3), online=range(600)).start().run()
    best = found.study.rank(found.study.revision, 1)[0].candidate
    measured = [
        {row.seed for row in found.history.rows if row.candidate_id == one.candidate_id}
        for one in (best, found.history.space.baseline())
    ]
    assert len(measured[0] & measured[1]) >= 120


def test_cells_that_failed_are_no_evidence_that_candidates_do_not_differ(rig):
    def same(candidate, cell):
        return float(random.Random(f"row/{cell.seed}").random() < 0.7)

    given_settings = {**LONG, "num_trials": 120, "race": {"stop_regret": 0.0}}
    found = rig(Race, settings=given_settings, reward=flaky(0.3, same), online=range(200))
    found.start().run()
    assert found.reason is FinishReason.NO_IMPROVEMENT
    assert len(found.history.rows) >= 400


def test_whether_candidates_differ_is_looked_at_as_often_whatever_is_in_flight(rig, monkeypatch):
    looks = []
    monkeypatch.setattr(Beliefs, "alike", lambda self, history, **at: looks.append(at["count"]))
    counts = []
    for arms, rows in ((1, 1), (4, 5), (8, 10)):
        table = {"arms_per_batch": arms, "rows_per_arm": rows, "stop_regret": 0.0, "least_gain": 1}
        given_settings = {**LONG, "num_trials": 110, "race": {**table, "headroom": 1}}
        rig(Race, settings=given_settings, reward=graded, online=range(200)).start().run()
        counts.append(sorted(set(looks)))
        looks.clear()
    assert counts[0] == counts[1]
    assert 4 <= len(counts[2]) <= len(counts[0])
    assert set(counts[2]) <= set(counts[0])


def test_the_smaller_a_race_the_surer_it_has_to_be_that_candidates_are_alike(rig, monkeypatch):
    doubts = []
    monkeypatch.setattr(Beliefs, "alike", lambda self, history, **at: doubts.append(at["doubt"]))
    table = {"stop_regret": 0.0, "headroom": 1, "least_gain": 1}
    found = []
    for trials in (25, 40, 80, 150):
        given_settings = {**LONG, "num_trials": trials, "race": table}
        rig(Race, settings=given_settings, reward=graded, online=range(200)).start().run()
        found.append(sorted({round(one, 3) for one in doubts}))
        doubts.clear()
    assert found == [[], [0.6], [0.2], [0.0]]


def test_a_race_that_loses_cells_is_as_sure_as_the_smaller_one_it_comes_to(rig, monkeypatch):
    doubts = []
    monkeypatch.setattr(Beliefs, "alike", lambda self, history, **at: doubts.append(at["doubt"]))
    table = {"stop_regret": 0.0, "headroom": 1, "least_gain": 1}
    given_settings = {**LONG, "num_trials": 100, "race": table}
    rig(Race, settings=given_settings, reward=flaky(0.3), online=range(200)).start().run()
    assert all(0.22 < doubt < 0.38 for doubt in doubts)
    assert doubts


def test_a_target_that_is_reached_ends_the_race(rig):
    given_settings = {**LONG, "target_reward": 0.95}
    found = rig(Race, settings=given_settings, reward=better(1), online=range(200)).start().run()
    assert found.reason is FinishReason.TARGET_REACHED
    assert FULL in found.kinds()


def test_two_stages_of_thousands_of_candidates_are_raced(rig):
    def reward(candidate, cell):
        worth = sum(int(choice.rsplit("_", 1)[1]) for choice in candidate.choices) / 60
        key = f"{candidate.candidate_id}/{cell.seed}"
        return float(random.Random(key).random() < 0.1 + worth)

    stages = ("first", "second")
    found = rig(Race, settings=LONG, reward=reward, online=range(200), stages=stages)
    found.start(instructions=12, demo_sets=10).run()
    worth = sum(int(choice.rsplit("_", 1)[1]) for choice in last_choices(found))
    assert found.history.space.size == 14400
    assert worth > 26


def test_the_best_are_checked_on_the_validation_pool(rig):
    found = rig(Race, settings={**LONG, "top_k": 2}, reward=graded).start().run()
    final = [trial for trial in found.history.trials if trial.kind is TOP_K]
    assert {cell.pool for trial in final for cell in trial.cells} == {Pool.VALIDATION}
    assert len({trial.candidate.candidate_id for trial in final}) == 2
    assert found.study.rank(found.study.revision, 1)[0].validation is not None


@pytest.mark.parametrize(
    ("given_settings", "engine"),
    [
        ({"engine": "race"}, Race),
        ({"engine": "tpe"}, Mipro),
        ({"auto": "light"}, Mipro),
        ({"tpe": {"epsilon": 0.2}}, Mipro),
    ],
)
def test_the_engine_is_the_one_that_the_settings_name(rig, given_settings, engine):
    found = rig(MiproEngines, settings=given_settings)
    assert isinstance(found.study._algorithm._engine, engine)


def test_an_engine_that_is_not_there_is_refused_by_name(rig):
    with pytest.raises(StudyInvalid, match="`engine` is 'fast'; give one of `race`, `tpe`"):
        rig(MiproEngines, settings={"engine": "fast"})


def test_every_wrong_setting_of_a_race_is_told_at_once(rig):
    given_settings = {"race": {"rows_per_arm": 0, "speed": 1}, "max_evaluations": -1}
    with pytest.raises(StudyInvalid) as caught:
        rig(Race, settings=given_settings)
    assert len(caught.value.problems) == 3

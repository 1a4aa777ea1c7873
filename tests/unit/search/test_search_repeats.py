"""Repeats of noisy cells: asked when no fresh row is left, and only while they pay."""

import random

import pytest

from burnish_search.algorithms.engines import MiproEngines
from burnish_search.model import FinishPlan, FinishReason, Pool, TrialKind
from burnish_search.problems import StudyInvalid

CHANCES = {"0": 0.2, "1": 0.75, "2": 0.7}


def noisy(candidate, cell):
    """A reward that differs from repeat to repeat."""
    place = candidate.choices[0].rpartition("_")[2]
    key = f"{candidate.candidate_id}/{cell.pool}/{cell.seed}/{cell.repeat}"
    return float(random.Random(key).random() < CHANCES[place])


def steady(candidate, cell):
    """A reward that is the same in every repeat."""
    place = candidate.choices[0].rpartition("_")[2]
    key = f"{candidate.candidate_id}/{cell.pool}/{cell.seed}"
    return float(random.Random(key).random() < CHANCES[place])


ENGINES = [
    {"engine": "race", "max_evaluations": 1000, "minibatch_source": "validation"},
    {"engine": "tpe", "num_trials": 60, "batch_size": 5, "minibatch_source": "validation"},
]


def played(rig, settings, *, repeats, reward=noisy, budget=300, **more):
    one = rig(
        MiproEngines,
        settings={**settings, "repeats": repeats, "max_trials": 500, **more},
        reward=reward,
        online=(),
        validation=tuple(range(12)),
        budget=budget,
    )
    one.start(instructions=3, demo_sets=1)
    one.budget = budget
    return one.run()


def repeated(one):
    return [t for t in one.history.trials if any(cell.repeat for cell in t.cells)]


@pytest.mark.parametrize("settings", ENGINES)
def test_noisy_cells_are_repeated_once_no_fresh_row_is_left(rig, settings):
    one = played(rig, settings, repeats=6)
    trials = repeated(one)
    assert trials
    assert {trial.kind for trial in trials} == {TrialKind.TOP_K}
    first = trials[0].trial_index
    assert all(t.trial_index < first for t in one.history.trials if t not in trials)
    assert max(cell.repeat for t in trials for cell in t.cells) <= 5
    assert isinstance(one.history.works[-1].plan, FinishPlan)


@pytest.mark.parametrize("settings", ENGINES)
def test_no_cell_is_ever_asked_twice(rig, settings):
    one = played(rig, settings, repeats=6)
    cells = [cell for trial in one.history.trials for cell in trial.cells]
    assert len(set(cells)) == len(cells)
    assert all(cell.pool is Pool.VALIDATION for cell in cells)


def test_without_the_setting_nothing_is_repeated(rig):
    assert not repeated(played(rig, ENGINES[0], repeats=1))


def test_rewards_that_do_not_vary_are_repeated_no_more_than_it_takes_to_see_it(rig):
    one = played(rig, ENGINES[0], repeats=6, reward=steady)
    assert sum(len(trial.cells) for trial in repeated(one)) <= 20


def test_repeats_end_when_the_order_is_settled(rig, monkeypatch):
    monkeypatch.setitem(CHANCES, "2", 0.05)
    one = played(rig, ENGINES[1], repeats=50, budget=3000)
    used = sum(len(trial.cells) for trial in repeated(one))
    assert 0 < used < 200


@pytest.mark.parametrize("budget", [37, 40, 41])
def test_repeats_never_exceed_the_budget(rig, budget):
    one = played(rig, ENGINES[0], repeats=9, budget=budget)
    assert one.budget >= 0


def test_repeats_never_exceed_the_trials(rig):
    free = played(rig, ENGINES[0], repeats=9)
    most = repeated(free)[0].trial_index + 3
    one = played(rig, ENGINES[0], repeats=9, max_trials=most)
    assert len(one.history.trials) <= most


def test_a_search_killed_among_its_repeats_goes_on_as_if_it_had_not_been(rig):
    whole = played(rig, ENGINES[0], repeats=6)
    again = rig(
        MiproEngines,
        settings={**ENGINES[0], "repeats": 6, "max_trials": 500},
        reward=noisy,
        online=(),
        validation=tuple(range(12)),
    )
    again.start(instructions=3, demo_sets=1)
    again.budget = 300
    for _ in range(len(whole.history.works)):
        work = again.ask()
        if isinstance(work.plan, FinishPlan):
            break
        again.do(work)
        again.restored()
    assert again.plans() == whole.plans()


def test_a_search_that_ended_for_another_reason_repeats_nothing(rig):
    one = played(rig, ENGINES[0], repeats=6, target_reward=0.1)
    assert one.reason is FinishReason.TARGET_REACHED
    assert not repeated(one)


def test_a_wrong_number_of_repeats_is_refused_with_the_rest(rig):
    with pytest.raises(StudyInvalid) as caught:
        played(rig, {**ENGINES[0], "bach_size": 1}, repeats=0)
    assert "setting `repeats` is 0" in "\n".join(caught.value.problems)
    assert "`bach_size`" in "\n".join(caught.value.problems)

"""What the gate makes of children whose minibatch was passed over, shared or hardly measured."""

import pytest

from burnish.gepa_plan import plan_of
from burnish_search.algorithms.gepa import Gepa
from burnish_search.algorithms.gepa.lines import acceptances
from burnish_search.algorithms.gepa.rows import Rows
from burnish_search.algorithms.gepa.settings import parse
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.model import TrialKind


def rows_of(found):
    return Rows(found.history.spec, parse(found.settings)[0])


def tries(found):
    """Rows that were asked of each instruction but the first before it was accepted."""
    taken = acceptances(found.history)
    asked: dict[str, list[RowKey]] = {}
    for trial in found.history.trials:
        name, since = trial.candidate.choices[0], taken.get(trial.candidate.candidate_id)
        if since is not None and trial.trial_index > since.trial_index:
            continue
        if trial.kind is TrialKind.MINIBATCH and name != "ins_main_0":
            asked.setdefault(name, []).extend(cell.row for cell in trial.cells)
    return asked


@pytest.mark.parametrize("seed", range(4))
def test_a_child_stays_on_the_minibatch_that_it_was_begun_on(rig, seed):
    given_settings = {"num_generations": 1, "pareto_set_size": 64, "children_per_generation": 1}
    found = rig(Gepa, settings=given_settings, online=tuple(range(100)), seed=seed, writes=True)
    rows = rows_of(found)
    passed_over, ground = (set(rows.minibatch(number, 8)) for number in (1, 2))
    assert passed_over & ground
    lost, spoilt = min(ground - passed_over), min(passed_over - ground)

    def reward(candidate, cell):
        baseline = candidate.choices[0] == "ins_main_0"
        return float({lost: not baseline, spoilt: baseline}.get((cell.pool, cell.seed), True))

    found.reward = reward
    found.start(instructions=1, demo_sets=1).run()

    assert tries(found)
    assert all(set(asked) <= ground for asked in tries(found).values())
    assert acceptances(found.history)


@pytest.mark.parametrize("measured", [0, 1, 3])
def test_a_tie_on_a_small_part_of_a_minibatch_is_no_failure(rig, measured):
    given_settings = {"minibatch_size": 8, "num_generations": 1, "pareto_set_size": 12}
    found = rig(Gepa, settings=given_settings, online=tuple(range(60)))
    ground = rows_of(found).minibatch(0, 8)

    def reward(candidate, cell):
        if candidate.choices[0] == "ins_main_0" or cell.row in ground[:measured]:
            return 0.0
        return None if cell.row in ground else 1.0

    found.reward = reward
    found.start(instructions=2, demo_sets=1).run()

    assert len(tries(found)["ins_main_1"]) == 16 - measured
    assert acceptances(found.history)


def test_a_tie_on_half_of_a_minibatch_is_a_failure(rig):
    given_settings = {"minibatch_size": 8, "num_generations": 1, "pareto_set_size": 12}
    found = rig(Gepa, settings=given_settings, online=tuple(range(60)))
    ground = rows_of(found).minibatch(0, 8)

    def reward(candidate, cell):
        if candidate.choices[0] == "ins_main_0" or cell.row in ground[:4]:
            return 0.0
        return None if cell.row in ground else 1.0

    found.reward = reward
    found.start(instructions=2, demo_sets=1).run()

    assert len(tries(found)["ins_main_1"]) == 8
    assert not acceptances(found.history)


@pytest.mark.parametrize("count", [13, 20, 40, 67])
def test_with_few_training_rows_there_is_still_something_to_try_children_on(rig, count):
    idle = 0
    for seed in range(10):

        def reward(candidate, cell, seed=seed):
            # The baseline fails on three rows in ten.
            return float(candidate.choices[0] != "ins_main_0" or (cell.seed * 7 + seed) % 10 > 2)

        found = rig(Gepa, settings={}, reward=reward, online=tuple(range(count)), seed=seed)
        found.start(instructions=4, demo_sets=1).run()
        idle += not tries(found)
        assert len(found.history.trials[0].cells) == max(10, count // 2)
    assert idle <= (5 if count == 13 else 1)


@pytest.mark.parametrize("size", [2, 8, 32])
def test_no_search_has_more_trials_than_its_plan_says(rig, size):
    given_settings = {"minibatch_size": size, "num_generations": 3, "patience_generations": 0}
    for share in range(2, 6):

        def reward(candidate, cell, share=share):
            return float(hash_of(candidate.choices[0], cell.seed) % 7 < share)

        found = rig(
            Gepa, settings=given_settings, reward=reward, online=tuple(range(200)), writes=True
        )
        found.start(instructions=20, demo_sets=1).run()
        plan = plan_of({**given_settings, "initial_size": 20}, online=200, stages=1)
        assert tries(found)
        assert len(found.history.trials) <= plan.trials


def hash_of(name, seed):
    """A number that is the same in every process."""
    return sum(map(ord, name)) * 31 + seed * seed * 17 + seed

"""How a search by generations ends: by patience, by a target, and for want of trials or cells."""

import pytest

from burnish_search.algorithms import ranking
from burnish_search.algorithms.gepa import Gepa
from burnish_search.algorithms.gepa.lines import acceptances
from burnish_search.algorithms.gepa.rows import Rows
from burnish_search.algorithms.gepa.settings import parse
from burnish_search.model import Cell, FinishReason, Observation, Pool, ProposalPlan, TrialKind

BRISK = {"minibatch_size": 4, "pareto_set_size": 12, "num_generations": 4}


def better(candidate, _):
    """Everybody gets everything right but the baseline, which gets nothing."""
    return float(candidate.choices[0] != "ins_main_0")


def nothing(*_):
    return 0.0


def briefs(found):
    return [work.plan for work in found.history.works if isinstance(work.plan, ProposalPlan)]


def winner(found):
    return found.study.rank(found.study.revision, 1)[0].candidate.choices[0]


@pytest.mark.parametrize("most", [1, 3, 8, 19])
def test_who_passed_is_accepted_however_little_patience_there_is(rig, most):
    given_settings = {**BRISK, "max_trials_without_improvement": most}
    found = rig(Gepa, settings=given_settings, reward=better, writes=True)
    found.start(instructions=20, demo_sets=1).run()

    assert len(acceptances(found.history)) == 19
    assert winner(found) != "ins_main_0"


@pytest.mark.parametrize("most", [1, 4, 7])
def test_children_of_a_later_generation_are_accepted_before_patience_ends(rig, most):
    def reward(candidate, cell):
        written = int(candidate.choices[0].split("_")[-1]) >= 100
        return float(written or (cell.seed % 2 == 0 and candidate.choices[0] == "ins_main_0"))

    given_settings = {"minibatch_size": 4, "max_trials_without_improvement": most}
    found = rig(Gepa, settings=given_settings, reward=reward, online=tuple(range(60)), writes=True)
    found.start(instructions=1, demo_sets=1).run()

    assert acceptances(found.history)
    assert winner(found) != "ins_main_0"


@pytest.mark.parametrize(("most", "generations"), [(5, 0), (6, 1), (10, 1), (11, 2)])
def test_patience_counts_children_and_neither_blocks_nor_their_parents(rig, most, generations):
    given_settings = {**BRISK, "minibatch_size": 8, "crossover_rate": 0}
    given_settings |= {"max_trials_without_improvement": most, "patience_generations": 0}
    found = rig(Gepa, settings=given_settings, reward=nothing, writes=True)
    found.start(instructions=6, demo_sets=1).run()

    assert found.reason is FinishReason.NO_IMPROVEMENT
    assert max((plan.iteration for plan in briefs(found)), default=0) == generations


def test_generations_in_which_nobody_could_be_tried_cost_no_patience(rig):
    given_settings = {**BRISK, "num_generations": 10, "patience_generations": 1}
    found = rig(Gepa, settings=given_settings, online=tuple(range(60)), writes=True)
    rows = Rows(found.history.spec, parse(given_settings)[0])
    late = set(rows.minibatch(5, 4)) - {row for n in range(5) for row in rows.minibatch(n, 4)}
    assert late

    def reward(candidate, cell):
        return float(candidate.choices[0] != "ins_main_0" or cell.row not in late)

    found.reward = reward
    found.start(instructions=1, demo_sets=1).run()

    assert acceptances(found.history)


@pytest.mark.parametrize("most", [4, *range(5, 31)])
def test_few_trials_are_enough_to_accept_somebody(rig, most):
    found = rig(
        Gepa,
        settings={"max_trials": most},
        reward=better,
        online=tuple(range(100)),
        writes=True,
    )
    found.start(instructions=20, demo_sets=1).run()

    assert len(found.history.trials) <= most
    assert acceptances(found.history)
    assert winner(found) != "ins_main_0"
    assert found.reason is FinishReason.BUDGET
    assert (TrialKind.TOP_K in found.kinds()) == (most >= 5)


@pytest.mark.parametrize("cap", [10, 20, 40, 100])
@pytest.mark.parametrize("count", [0, 10, 50])
def test_few_cells_are_enough_to_accept_somebody(rig, cap, count):
    found = rig(
        Gepa,
        settings={},
        reward=better,
        online=tuple(range(100)),
        validation=tuple(range(200, 200 + count)),
        max_cell_count=cap,
        writes=True,
    )
    found.start(instructions=20, demo_sets=1).run()

    assert found.history.suggested_cell_count <= cap
    assert acceptances(found.history)
    assert winner(found) != "ins_main_0"


@pytest.mark.parametrize("validation", [(), tuple(range(30, 40))])
def test_a_target_is_reached_by_who_was_looked_at_on_a_part_of_the_rows(rig, validation):
    def reward(candidate, _):
        return float("ins_main_2" in candidate.choices)

    table = {"level": "LOW", "val_subsample_size": 5}
    found = rig(
        Gepa,
        settings={**BRISK, "adaptive_batch": table, "target_reward": 0.9},
        reward=reward,
        validation=validation,
        writes=True,
    )
    found.start().run()

    assert found.reason is FinishReason.TARGET_REACHED
    assert not briefs(found)


def test_a_target_is_not_reached_by_the_few_rows_that_were_measured(rig):
    def reward(candidate, cell):
        if cell.pool is Pool.VALIDATION:
            return 1.0 if cell.seed == 30 else None
        return better(candidate, cell)

    found = rig(Gepa, settings={**BRISK, "target_reward": 0.9}, reward=reward, writes=True)
    found.start(instructions=3, demo_sets=1).run()

    assert found.reason is not FinishReason.TARGET_REACHED
    assert acceptances(found.history)


@pytest.mark.parametrize("pool", [Pool.ONLINE, Pool.VALIDATION])
@pytest.mark.parametrize(("measured", "reached"), [(0, False), (4, False), (5, True), (10, True)])
def test_half_of_the_rows_in_their_own_pool_say_whether_a_target_is_reached(
    rig, pool, measured, reached
):
    found = rig(Gepa, settings=BRISK, validation=())
    found.start(instructions=1, demo_sets=1)
    name = found.history.space.baseline().candidate_id
    cells = [Cell(candidate_id=name, pool=pool, seed=seed) for seed in range(10)]
    found.tell(
        [
            Observation(cell=cell, reward=1.0 if place < measured else None)
            for place, cell in enumerate(cells)
        ]
    )
    rows = [cell.row for cell in cells]

    assert ranking.reached(found.history, 0.9, rows=rows) is reached
    assert not ranking.reached(found.history, 0.9, rows=[*rows, (pool, 10)])
    assert not ranking.reached(found.history, 0.9, rows=())

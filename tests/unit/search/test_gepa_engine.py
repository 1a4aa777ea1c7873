"""How a search by generations goes, and what holds of it at any budget and with any sizes."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_search.algorithms.gepa import Gepa
from burnish_search.algorithms.gepa.lines import Lines
from burnish_search.model import (
    Cell,
    FinishReason,
    Observation,
    Pool,
    ProposalMode,
    ProposalPlan,
    TrialKind,
    Work,
)
from burnish_search.problems import StudyInvalid

MINIBATCH, FULL, TOP_K = TrialKind.MINIBATCH, TrialKind.FULL, TrialKind.TOP_K
BRISK = {"minibatch_size": 4, "pareto_set_size": 12, "num_generations": 4}


def world(seed=0, faults=0.0):
    """Options of some worth, rows of some ease, and cells that may stay without a measurement."""

    def draw(*key):
        return random.Random("/".join(map(str, (seed, *key)))).random()

    def reward(candidate, cell):
        key = (candidate.candidate_id, cell.pool, cell.seed)
        if draw("fault", *key) < faults:
            return None
        worths = [0.3 if one.endswith("_0") else draw(one) for one in candidate.choices]
        worth = sum(worths) / len(worths)
        ease = draw("row", cell.pool, cell.seed)
        return float(0.3 * draw("noise", *key) + 0.7 * ease < worth)

    return reward


def cells(found):
    return [cell for trial in found.history.trials for cell in trial.cells]


def briefs(found):
    return [work.plan for work in found.history.works if isinstance(work.plan, ProposalPlan)]


def accepted(found):
    """Ids of those compared on the Pareto rows, the baseline apart."""
    first = found.history.space.baseline().candidate_id
    return {
        trial.candidate.candidate_id
        for trial in found.history.trials
        if trial.kind is FULL and trial.cells[0].pool is Pool.ONLINE
    } - {first}


def rewards(found, name, kinds=(MINIBATCH,)):
    """Rewards of a candidate on the rows of its trials of some kinds."""
    return {
        cell.row: row.reward
        for trial in found.history.trials
        if trial.candidate.candidate_id == name and trial.kind in kinds
        for cell in trial.cells
        for row in found.history.rows
        if (row.candidate_id, row.pool, row.seed) == (name, *cell.row)
    }


def lines(found):
    return Lines(found.history, lambda _: 0.0)


def test_the_baseline_first_then_generations_then_the_best_on_validation(rig):
    found = rig(Gepa, settings=BRISK, reward=world(), writes=True).start().run()
    first, last = found.history.trials[0], found.history.trials[-1]

    assert (first.kind, len(first.cells)) == (FULL, 12)
    assert first.candidate == found.history.space.baseline()
    assert last.kind is TOP_K
    assert {cell.pool for cell in last.cells} == {Pool.VALIDATION}
    assert [trial.iteration for trial in found.history.trials] == sorted(
        trial.iteration for trial in found.history.trials
    )
    assert briefs(found)
    assert accepted(found)


def test_what_is_there_before_the_first_ask_is_the_first_generation(rig):
    found = rig(Gepa, settings=BRISK, reward=world()).start(instructions=3, demo_sets=2).run()
    looked = {
        trial.candidate.choices
        for trial in found.history.trials
        if trial.kind is MINIBATCH and trial.iteration == 0
    }

    assert looked == {
        ("ins_main_0", "dem_main_0"),
        ("ins_main_1", "dem_main_0"),
        ("ins_main_2", "dem_main_0"),
        ("ins_main_0", "dem_main_1"),
    }


def test_what_is_written_for_a_brief_is_a_child_of_its_parent(rig):
    found = rig(Gepa, settings=BRISK, reward=world(), writes=True).start().run()
    plan = next(plan for plan in briefs(found) if plan.mode is ProposalMode.REFLECTION)
    members = lines(found).members
    written = [
        member
        for member in members.values()
        if member.parents == plan.parent_candidate_ids and "_1" in member.candidate.choices[0]
    ]

    assert written
    parent = members[plan.parent_candidate_ids[0]].candidate
    assert all(member.candidate.choices[1] == parent.choices[1] for member in written)


def test_a_brief_shows_feedback_rows_that_its_parents_were_measured_on(rig):
    found = rig(Gepa, settings=BRISK, reward=world(), writes=True).start().run()
    compared = {cell.seed for cell in found.history.trials[0].cells}

    for plan in briefs(found):
        assert plan.evidence_seeds
        assert not compared & set(plan.evidence_seeds)
        assert len(set(plan.evidence_seeds)) == len(plan.evidence_seeds)
        for parent in plan.parent_candidate_ids:
            measured = {seed for _, seed in rewards(found, parent)}
            assert set(plan.evidence_seeds) <= measured


def test_stages_take_turns_along_a_line_of_descent(rig):
    given_settings = {**BRISK, "crossover_rate": 0, "patience_generations": 0}
    found = rig(
        Gepa, settings=given_settings, reward=world(2), writes=True, stages=("a", "b")
    ).start(instructions=1, demo_sets=1)
    found.run()

    asked = [plan.stage_ids for plan in briefs(found)]
    assert set(asked) == {("a",), ("b",)}
    first = found.history.space.baseline().candidate_id
    of_baseline = [p.stage_ids for p in briefs(found) if p.parent_candidate_ids == (first,)]
    assert of_baseline == [(("a",), ("b",))[place % 2] for place in range(len(of_baseline))]


def test_no_turn_is_spent_on_a_stage_that_nobody_writes_for(rig):
    given_settings = {**BRISK, "crossover_rate": 0, "patience_generations": 0}
    stages, written = ("a", "b", "c"), ("c", "a")
    found = rig(
        Gepa,
        settings=given_settings,
        reward=world(2),
        writes=True,
        stages=stages,
        written_stages=written,
    ).start(instructions=1, demo_sets=1)
    found.run()
    first = found.history.space.baseline().candidate_id
    of_baseline = [p.stage_ids for p in briefs(found) if p.parent_candidate_ids == (first,)]
    assert len(of_baseline) > 1
    assert of_baseline == [(("a",), ("c",))[place % 2] for place in range(len(of_baseline))]


def test_two_that_changed_different_stages_are_put_together(rig):
    def reward(candidate, cell):
        good = ("ins_a_1", "ins_b_1")[cell.seed % 2]
        return float(good in candidate.choices)

    given_settings = {**BRISK, "crossover_rate": 1, "mutation_rate": 0}
    found = rig(Gepa, settings=given_settings, reward=reward, stages=("a", "b"))
    found.start(instructions=2, demo_sets=1).run()
    best = found.study.rank(found.study.revision, 1)[0].candidate

    assert best.choices == ("ins_a_1", "dem_a_0", "ins_b_1", "dem_b_0")
    assert not any(plan.mode is ProposalMode.MERGE for plan in briefs(found))
    members = lines(found).members
    assert len(members[best.candidate_id].parents) == 2


def test_two_that_changed_the_same_instruction_are_merged_by_the_proposer(rig):
    def reward(candidate, cell):
        return float(candidate.choices[0] == ("ins_main_1", "ins_main_2")[cell.seed % 2])

    given_settings = {**BRISK, "crossover_rate": 1, "mutation_rate": 0}
    found = rig(Gepa, settings=given_settings, reward=reward, writes=True).start(demo_sets=1)
    found.run()
    merges = [plan for plan in briefs(found) if plan.mode is ProposalMode.MERGE]

    assert merges
    assert all(len(set(plan.parent_candidate_ids)) == 2 for plan in merges)


def test_a_parent_without_a_failure_is_not_reflected_on(rig):
    found = rig(Gepa, settings=BRISK, reward=lambda *_: 1.0, writes=True).start(
        instructions=1, demo_sets=1
    )
    found.run()

    assert not briefs(found)
    assert found.reason in (FinishReason.NO_IMPROVEMENT, FinishReason.SPACE_EXHAUSTED)


def test_no_child_that_cannot_pass_any_more_is_looked_at_again(rig):
    found = rig(Gepa, settings={**BRISK, "minibatch_size": 8}, reward=lambda *_: 0.0)
    found.start(demo_sets=1).run()
    first = found.history.space.baseline().candidate_id

    assert not accepted(found)
    # Their parent never succeeds, so that every row could still be won.
    looks = Counter(cell.candidate_id for cell in cells(found) if cell.candidate_id != first)
    assert set(looks.values()) == {8}

    def fragile(candidate, cell):
        return float("ins_main_0" in candidate.choices and cell.seed % 2 == 0)

    found = rig(Gepa, settings={**BRISK, "minibatch_size": 8}, reward=fragile)
    found.start(demo_sets=1).run()
    looks = Counter(cell.candidate_id for cell in cells(found) if cell.candidate_id != first)
    assert max(looks.values()) < 8


def test_nothing_written_makes_generations_smaller_and_ends_the_search(rig):
    given_settings = {**BRISK, "patience_generations": 0, "num_generations": 1000}
    found = rig(Gepa, settings=given_settings, reward=world(3)).start().run()

    assert found.reason is FinishReason.SPACE_EXHAUSTED
    assert len(found.history.works) < 100


@pytest.mark.parametrize("patience", [1, 3])
def test_generations_without_a_better_best_end_the_search(rig, patience):
    given_settings = {**BRISK, "patience_generations": patience, "num_generations": 50}
    found = rig(Gepa, settings=given_settings, reward=lambda *_: 0.0, writes=True).start().run()

    assert found.reason is FinishReason.NO_IMPROVEMENT
    assert max(plan.iteration for plan in briefs(found)) == patience


def test_trials_without_a_better_best_end_the_search(rig):
    given_settings = {**BRISK, "max_trials_without_improvement": 6}
    found = rig(Gepa, settings=given_settings, reward=lambda *_: 0.0, writes=True).start().run()

    assert found.reason is FinishReason.NO_IMPROVEMENT
    assert found.kinds().count(MINIBATCH) < 15


def test_all_generations_end_the_search(rig):
    given_settings = {**BRISK, "num_generations": 2, "patience_generations": 0}
    found = rig(Gepa, settings=given_settings, reward=world(), writes=True).start().run()

    assert found.reason is FinishReason.COMPLETED
    assert max(plan.iteration for plan in briefs(found)) == 2


def test_a_target_is_confirmed_on_validation(rig):
    def reward(candidate, _):
        return float("ins_main_2" in candidate.choices)

    found = rig(Gepa, settings={**BRISK, "target_reward": 0.9}, reward=reward).start().run()
    first = found.study.rank(found.study.revision, 1)[0]

    assert found.reason is FinishReason.TARGET_REACHED
    assert first.candidate.choices[0] == "ins_main_2"
    assert first.validation.mean == 1.0


def test_a_target_of_luck_does_not_end_the_search(rig):
    def reward(candidate, cell):
        return float("ins_main_2" in candidate.choices and cell.pool is Pool.ONLINE)

    found = rig(Gepa, settings={**BRISK, "target_reward": 0.9}, reward=reward).start().run()

    assert found.reason is not FinishReason.TARGET_REACHED
    names = [(cell.candidate_id, cell.row) for cell in cells(found)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("most", [1, 2, 5, 17])
def test_trials_are_no_more_than_allowed(rig, most):
    found = rig(Gepa, settings={**BRISK, "max_trials": most}, reward=world(), writes=True)
    found.start().run()

    assert len(found.history.trials) <= most


@pytest.mark.parametrize("level", ["LOW", "MODERATE", "HIGH"])
def test_batches_that_adapt_look_at_fewer_rows(rig, level):
    table = {"level": level, "val_subsample_size": 5}
    found = rig(Gepa, settings={**BRISK, "adaptive_batch": table}, reward=world(), writes=True)
    found.start().run()
    size = {"LOW": 5, "MODERATE": 3, "HIGH": 2}[level]
    first = found.history.space.baseline().candidate_id
    kept = [t for t in found.history.trials if t.kind is FULL and t.candidate.candidate_id != first]

    assert kept
    assert all(len(trial.cells) == 5 for trial in kept)
    tried = Counter(
        cell.candidate_id
        for trial in found.history.trials
        if trial.kind is MINIBATCH and trial.candidate.candidate_id not in accepted(found) | {first}
        for cell in trial.cells
    )
    assert max(tried.values()) <= size


def test_retired_instructions_get_no_more_cells(rig):
    found = rig(Gepa, settings=BRISK, reward=world()).start()
    found.study.retire(found.study.revision + 1, ["ins_main_1"])
    found.run()

    assert not any("ins_main_1" in trial.candidate.choices for trial in found.history.trials)


def test_a_work_that_is_never_answered_stalls_nothing(rig):
    found = rig(Gepa, settings=BRISK, reward=world(), writes=True).start()
    for _ in range(200):
        work = found.ask()
        if found.reason is not None:
            break
        if work.ask_index % 3:
            found.do(work)

    assert found.reason is not None
    names = [(cell.candidate_id, cell.row) for cell in cells(found)]
    assert len(names) == len(set(names))


def test_an_answer_that_comes_late_is_still_taken(rig):
    found = rig(Gepa, settings=BRISK, reward=world(4), writes=True).start()
    works = [found.ask() for _ in range(4)]
    for work in works:
        found.do(work)
    found.run()

    assert accepted(found)


def test_settings_that_cannot_be_used_are_refused_together(rig):
    wrong = {"minibatch_size": 0, "mutation_rate": 2, "selection_pressure": 0.5, "colour": 1}
    with pytest.raises(StudyInvalid) as told:
        rig(Gepa, settings=wrong, online=())

    for name in (*wrong, "online_pool"):
        assert name in str(told.value)


def test_what_is_meant_for_the_proposer_is_no_business_of_the_search(rig):
    given_settings = {
        **BRISK,
        "proposer_type": "dspy",
        "initial_size": 20,
        "max_prompt_tokens": 100,
        "enforce_prompt_tokens": True,
        "validation_pool": "val",
        "mutation_prompt": "any",
    }
    one = rig(Gepa, settings=given_settings, reward=world(), writes=True).start().run()
    other = rig(Gepa, settings=BRISK, reward=world(), writes=True).start().run()

    assert one.plans() == other.plans()


SIZES = st.fixed_dictionaries(
    {
        "minibatch_size": st.integers(1, 12),
        "num_generations": st.integers(1, 4),
        "children_per_generation": st.integers(1, 6),
        "archive_size": st.integers(1, 6),
        "crossover_rate": st.sampled_from([0.0, 0.5, 1.0]),
        "mutation_rate": st.sampled_from([0.0, 0.3]),
        "feedback_fraction": st.sampled_from([0.0, 0.5, 1.0]),
        "patience_generations": st.integers(0, 3),
        "validation_top_k": st.integers(1, 4),
    },
    optional={
        "pareto_set_size": st.integers(1, 30),
        "adaptive_batch": st.sampled_from(["LOW", "MODERATE", "HIGH"]),
        "target_reward": st.sampled_from([0.5, 0.9]),
        "max_trials": st.integers(1, 20),
        "max_trials_without_improvement": st.integers(1, 20),
    },
)


@st.composite
def searches(draw):
    """What a search is given: settings, pools of any size, a budget, a world."""
    return {
        "settings": draw(SIZES),
        "online": tuple(range(draw(st.integers(1, 40)))),
        "validation": tuple(range(100, 100 + draw(st.integers(0, 12)))),
        "reward": world(draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))),
        "stages": draw(st.sampled_from([("main",), ("a", "b")])),
        "seed": draw(st.integers(0, 9)),
        "writes": draw(st.booleans()),
        "max_cell_count": draw(st.none() | st.integers(1, 400)),
        "budget": draw(st.none() | st.integers(0, 400)),
    }


@settings(deadline=None, max_examples=120)
@given(searches())
def test_no_budget_is_exceeded_and_no_row_asked_twice(rig, drawn):
    found = rig(Gepa, **drawn).start(instructions=3, demo_sets=2).run()

    assert found.reason is not None
    names = [(cell.candidate_id, cell.row) for cell in cells(found)]
    assert len(names) == len(set(names))
    for most in (drawn["max_cell_count"], drawn["budget"]):
        assert most is None or len(names) <= most
    assert len(found.history.trials) <= drawn["settings"].get("max_trials", 10_000)
    assert sum(ranked.baseline for ranked in found.study.rank(found.study.revision, 1000)) == 1


@settings(deadline=None, max_examples=60)
@given(searches(), st.data())
def test_a_restored_search_goes_on_the_same(rig, drawn, data):
    whole = rig(Gepa, **drawn).start(instructions=2, demo_sets=2).run()
    point = data.draw(st.integers(0, len(whole.history.works) - 1))
    again = rig(Gepa, **drawn).start(instructions=2, demo_sets=2).run(most_asks=point)

    again.restored().run()

    assert again.plans() == whole.plans()
    ranks = [one.study.rank(one.study.revision, 100) for one in (again, whole)]
    assert ranks[0] == ranks[1]


@settings(deadline=None, max_examples=60)
@given(searches(), st.data())
def test_works_in_flight_are_answered_in_any_order(rig, drawn, data):
    found = rig(Gepa, **{**drawn, "budget": None}).start(instructions=3, demo_sets=2)
    waiting: list[Work] = []
    while len(found.history.works) < 300:
        if waiting and (len(waiting) == 4 or data.draw(st.booleans())):
            found.do(waiting.pop(data.draw(st.integers(0, len(waiting) - 1))))
            continue
        work = found.ask()
        if found.reason is not None:
            break
        waiting.append(work)

    assert found.reason is not None
    names = [(cell.candidate_id, cell.row) for cell in cells(found)]
    assert len(names) == len(set(names))
    assert drawn["max_cell_count"] is None or len(names) <= drawn["max_cell_count"]
    assert found.study.rank(found.study.revision, 3)


@settings(deadline=None, max_examples=80)
@given(searches())
def test_accepted_are_those_that_beat_their_parents_on_shared_rows(rig, drawn):
    given_settings = {k: v for k, v in drawn["settings"].items() if not k.startswith("max_")}
    plain = {**drawn, "max_cell_count": None, "budget": None, "settings": given_settings}
    found = rig(Gepa, **plain).start(instructions=4, demo_sets=1).run()
    taken, read = accepted(found), lines(found)
    tight = len(found.online) == 1 or "target_reward" in given_settings

    for member in read.children:
        if member.name not in read.tried or len(member.parents) > 1 or tight:
            continue
        mine = rewards(found, member.name)
        theirs = rewards(found, member.parents[0])
        shared = mine.keys() & theirs.keys()
        gain = sum(mine[row] - theirs[row] for row in shared)
        assert (member.name in taken) == (gain > 0)


def test_missing_measurements_are_no_failures(rig):
    def reward(candidate, cell):
        if candidate.choices[0] != "ins_main_0" and cell.seed % 3:
            return None
        return float(candidate.choices[0] != "ins_main_0")

    given_settings = {**BRISK, "minibatch_size": 6, "validation_top_k": 1}
    found = rig(Gepa, settings=given_settings, reward=reward).start(demo_sets=1).run()

    assert accepted(found) == {
        trial.candidate.candidate_id
        for trial in found.history.trials
        if trial.candidate.choices[0] != "ins_main_0"
    }


def test_where_too_little_was_measured_a_child_gets_further_rows_once(rig):
    def reward(candidate, cell):
        return None if candidate.choices[0] != "ins_main_0" else 0.0

    given_settings = {**BRISK, "minibatch_size": 4, "num_generations": 1}
    found = rig(Gepa, settings=given_settings, reward=reward).start(demo_sets=1).run()
    first = found.history.space.baseline().candidate_id
    looks = Counter(cell.candidate_id for cell in cells(found) if cell.candidate_id != first)

    assert set(looks.values()) == {8}
    assert not accepted(found)


def test_the_baseline_told_beforehand_is_not_measured_again(rig):
    found = rig(Gepa, settings=BRISK, reward=world(), writes=True)
    found.start()
    first = found.history.space.baseline()
    found.tell(
        [
            Observation(
                cell=Cell(candidate_id=first.candidate_id, pool=Pool.ONLINE, seed=seed), reward=0.5
            )
            for seed in range(30)
        ]
    )
    found.run()

    assert not any(cell.candidate_id == first.candidate_id for cell in cells(found))


def test_the_accepted_are_ranked_by_rows_that_they_were_not_chosen_on(rig):
    found = rig(Gepa, settings=BRISK, reward=world(4)).start(instructions=9, demo_sets=1)
    while not any(trial.iteration for trial in found.history.trials):
        work = found.ask()
        if not any(trial.iteration for trial in work.trials):
            found.do(work)
    ranks = found.study.rank(found.study.revision, 1000)
    compared = {cell.row for cell in found.history.trials[0].cells}
    names = {*accepted(found), found.history.space.baseline().candidate_id}
    order = [one.candidate.candidate_id for one in ranks]
    means = [
        sum(own[row] for row in compared) / len(compared)
        for name in order[: len(names)]
        for own in [rewards(found, name, (FULL,))]
    ]

    assert set(order[: len(names)]) == names
    assert len(names) > 3
    assert means == sorted(means, reverse=True)
    assert len(order) > len(names)


def test_the_final_look_comes_before_everything_else(rig):
    found = rig(Gepa, settings=BRISK, reward=world(4), writes=True).start().run()
    final = {t.candidate.candidate_id for t in found.history.trials if t.kind is TOP_K}
    ranks = found.study.rank(found.study.revision, 1000)
    first = {one.candidate.candidate_id for one in ranks[: len(final) + 1]}

    assert len(final) == 2
    assert first == {*final, found.history.space.baseline().candidate_id}

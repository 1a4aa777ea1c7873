"""The state machine of a study: revisions, repeats, staleness, restore."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_search.algorithms.mipro import Mipro
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.model import (
    Cell,
    EvaluationPlan,
    FinishPlan,
    Observation,
    Pool,
    StudyState,
    TrialKind,
    TrialPlan,
    TrialState,
)
from burnish_search.problems import AskOutOfOrder, ChangeInvalid, StudyStale, WorkUnknown


def cell(candidate_id, seed=0, pool=Pool.VALIDATION):
    return Cell(candidate_id=candidate_id, pool=pool, seed=seed)


@pytest.fixture
def started(rig):
    return rig(RandomSearch).start()


def test_a_repeated_change_changes_nothing(started):
    study = started.study
    told = [Observation(cell=cell(study.history.space.baseline().candidate_id, 99), reward=1.0)]
    study.tell(3, told)
    rows = len(study.history.rows)
    study.tell(3, told)
    assert (study.revision, len(study.history.rows)) == (3, rows)


def test_a_change_that_skips_a_revision_is_stale(started):
    with pytest.raises(StudyStale) as caught:
        started.study.tell(9, [])
    assert caught.value.reason == "STUDY_STALE"
    assert caught.value.metadata["revision"] == "2"


def test_another_change_at_a_revision_already_reached_is_stale(started):
    baseline = started.history.space.baseline().candidate_id
    with pytest.raises(StudyStale, match="by another change"):
        started.study.tell(2, [Observation(cell=cell(baseline), reward=0.125)])


def test_an_ask_as_of_another_revision_is_stale(started):
    for as_of in (0, 7):
        with pytest.raises(StudyStale):
            started.study.suggest(0, as_of, None)


def test_an_ask_repeated_at_its_revision_is_answered_from_the_record(started):
    work = started.study.suggest(0, 2, None)
    assert started.study.suggest(0, 2, 1) is work
    assert started.study.revision == 3


def test_an_ask_repeated_at_another_revision_is_stale(started):
    started.study.suggest(0, 2, None)
    with pytest.raises(StudyStale, match="was answered as of 2"):
        started.study.suggest(0, 3, None)


def test_an_ask_that_skips_an_index_is_refused(started):
    with pytest.raises(AskOutOfOrder, match="the next one is 0"):
        started.study.suggest(2, 2, None)


def test_a_refused_change_leaves_no_trace(started):
    baseline = started.history.space.baseline().candidate_id
    told = [
        Observation(cell=cell(baseline, 77), reward=0.5),
        Observation(cell=cell("cand_unknown"), reward=0.5),
        Observation(cell=cell(baseline), reward=1.5),
        Observation(cell=cell(baseline), reward=float("nan")),
    ]
    before = len(started.history.rows)
    with pytest.raises(ChangeInvalid) as caught:
        started.study.tell(3, told)
    assert "`cand_unknown`" in caught.value.message
    assert "reward 1.5" in caught.value.message
    assert "reward nan" in caught.value.message
    assert (started.study.revision, len(started.history.rows)) == (2, before)


def test_components_of_an_unknown_stage_are_refused(started, make):
    with pytest.raises(ChangeInvalid, match="stage `other`, which the study lacks"):
        started.study.add_components(3, [make["instruction"](9, "other")])


def test_a_work_is_closed_once(started):
    started.do(started.ask())
    with pytest.raises(ChangeInvalid, match="already closed"):
        started.study.close(started.study.revision + 1, 0)
    with pytest.raises(WorkUnknown):
        started.study.close(started.study.revision + 1, 5)


def test_a_trial_counts_what_was_observed_only(started):
    work = started.ask()
    (trial,) = work.trials
    told = [Observation(cell=c, reward=None) for c in trial.cells]
    told[0] = Observation(cell=trial.cells[0], reward=0.5)
    started.study.tell(started.study.revision + 1, told[:3])
    started.study.close(started.study.revision + 1, 0)
    assert (trial.mean_reward, trial.observed_count) == (0.5, 1)
    assert trial.state is TrialState.SUCCEEDED


def test_a_trial_of_which_nothing_was_observed_has_no_mean(rig):
    started = rig(RandomSearch, reward=lambda candidate, cell: None).start()
    started.do(started.ask())
    (trial,) = started.history.trials
    assert (trial.state, trial.mean_reward) == (TrialState.FAILED, None)
    assert started.history.rows == []


def test_a_failure_takes_no_reward_back_and_a_reward_mends_a_failure(started):
    baseline = started.history.space.baseline().candidate_id
    for place, reward in enumerate([None, 0.25, None, 0.75]):
        told = [Observation(cell=cell(baseline, 99), reward=reward)]
        started.study.tell(3 + place, told)
    assert [row.reward for row in started.history.rows if row.seed == 99] == [0.25]


def test_bootstrap_rows_and_other_fidelities_stay_out_of_the_estimates(started):
    baseline = started.history.space.baseline().candidate_id
    rows = len(started.history.rows)
    cheap = Cell(candidate_id=baseline, pool=Pool.VALIDATION, seed=99, fidelity=1)
    started.study.tell(
        3,
        [
            Observation(cell=cell(baseline, pool=Pool.BOOTSTRAP), reward=1.0),
            Observation(cell=cheap, reward=1.0),
        ],
    )
    assert len(started.history.rows) == rows


def test_the_end_is_the_answer_to_every_further_ask(started):
    started.run()
    last = started.history.works[-1]
    assert started.study.state is StudyState.COMPLETED
    assert started.ask().plan == last.plan
    assert started.ask().plan == last.plan


def test_recorded_work_is_taken_as_it_stands(rig):
    class Obstinate(RandomSearch):
        """Always wants the same candidate on the same row, as nobody would."""

        def suggest(self, history, ask):
            plan = TrialPlan(
                candidate=history.space.baseline(),
                kind=TrialKind.MINIBATCH,
                rows=((Pool.ONLINE, 7),),
                iteration=0,
            )
            return EvaluationPlan(trials=(plan,))

    recorded = rig(Obstinate).start().run(most_asks=2)
    recorded.algorithm = RandomSearch
    assert [t.cells[0].seed for t in recorded.restored().history.trials] == [7, 7]


def test_a_log_with_a_gap_is_refused(rig):
    recorded = rig(RandomSearch).start().run(most_asks=2)
    with pytest.raises(ChangeInvalid, match="entry 4 does not follow entry 0"):
        recorded.fresh().replay(4, recorded.log[3])


def test_recorded_work_of_unknown_components_is_refused(rig):
    recorded = rig(RandomSearch).start().run(most_asks=1)
    fresh = recorded.fresh()
    with pytest.raises(ChangeInvalid, match="components that the study lacks"):
        fresh.replay(1, recorded.log[2])
    assert fresh.revision == 0


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    algorithm=st.sampled_from([Mipro, RandomSearch]),
    seed=st.integers(0, 2**31),
    stages=st.sampled_from([("main",), ("one", "two")]),
    parallel=st.integers(1, 3),
    failing=st.sampled_from([0.0, 0.2, 1.0]),
    budget=st.one_of(st.none(), st.integers(0, 120)),
)
def test_a_study_restored_at_any_moment_goes_on_the_same(
    rig, make, data, algorithm, seed, stages, parallel, failing, budget
):
    def reward(candidate, cell):
        rng = random.Random(f"{seed}/{candidate.candidate_id}/{cell.pool}/{cell.seed}")
        return None if rng.random() < failing else round(rng.random(), 2)

    def begin():
        return rig(
            algorithm,
            reward=reward,
            seed=seed,
            stages=stages,
            budget=budget,
            settings={
                "batch_size": 4,
                "num_trials": 14,
                "num_evaluations_per_iteration": 4,
                "generate_at_iterations": [0, 2],
                "max_parallel_trials": parallel,
                "max_trials_without_improvement": 8,
                "tpe": {"n_startup_trials": 3},
            },
        ).start(instructions=3, demo_sets=2)

    def go_on(one):
        for _ in range(200):
            work = one.ask()
            if isinstance(work.plan, FinishPlan):
                return one
            one.do(work)
            if work.plan is not None:
                one.add([make["instruction"](7, stages[0]), make["instruction"](8, stages[-1])])
        raise AssertionError("no end")

    undisturbed = go_on(begin())
    disturbed = begin()
    kills = data.draw(st.sets(st.integers(0, len(undisturbed.history.works) - 1)), label="kills")
    for place in range(len(undisturbed.history.works)):
        if place in kills:
            disturbed.restored()
        work = disturbed.ask()
        if not isinstance(work.plan, FinishPlan):
            disturbed.do(work)
            if work.plan is not None:
                late = [make["instruction"](7, stages[0]), make["instruction"](8, stages[-1])]
                disturbed.add(late)
    assert disturbed.plans() == undisturbed.plans()
    assert disturbed.study.rank(disturbed.study.revision, 9) == undisturbed.study.rank(
        undisturbed.study.revision, 9
    )


def test_the_history_tells_after_which_work_a_component_came(rig, make):
    study = rig(RandomSearch).start(instructions=2, demo_sets=1)
    study.do(study.ask())
    study.add([make["instruction"](1), make["instruction"](2)])

    assert study.history.arrivals == {
        "ins_main_0": 0,
        "ins_main_1": 0,
        "dem_main_0": 0,
        "ins_main_2": 1,
    }

"""Rewards that were predicted lead a search on, and leave the last word to what was measured."""

from burnish_search.algorithms.mipro import tpe_engine
from burnish_search.changes import WorkClosed
from burnish_search.model import Observation, Pool, TrialKind


class Guessing:
    """Tells minibatches as predictions, the rest as measurements."""

    def __init__(self, run, *, guess, truth):
        self.run, self.guess, self.truth = run, guess, truth

    def do(self, *, restart=False):
        run = self.run
        while (work := run.ask()).plan is None:
            told = [
                Observation(
                    cell=cell,
                    reward=(self.guess if small else self.truth)(trial.candidate),
                    predicted=small,
                )
                for trial in work.trials
                for small in (trial.kind is TrialKind.MINIBATCH,)
                for cell in trial.cells
            ]
            run.tell(told)
            run.study.close(run.study.revision + 1, work.ask_index)
            run.log.append(WorkClosed(ask_index=work.ask_index))
            if restart:
                run.restored()
        return run


def place(candidate):
    return int(candidate.choices[0].rsplit("_", 1)[1])


def settings(**more):
    return {"batch_size": 4, "num_trials": 12, "full_eval_every_k": 50, "top_k": 3, **more}


def test_a_trial_of_predictions_has_their_mean_and_steers_the_choice_of_finalists(rig):
    run = rig(tpe_engine, settings=settings()).start(demo_sets=1)
    Guessing(run, guess=lambda one: place(one) / 4, truth=lambda one: place(one) / 4).do()

    for trial in run.history.trials:
        assert trial.mean_reward == place(trial.candidate) / 4
    final = [t.candidate for t in run.history.trials if t.kind is TrialKind.TOP_K]
    assert place(final[0]) == 3


def test_the_winner_is_chosen_by_what_was_measured(rig):
    run = rig(tpe_engine, settings=settings()).start(demo_sets=1)
    Guessing(run, guess=lambda one: place(one) / 4, truth=lambda one: 0.9 - place(one) / 4).do()

    ranked = run.study.rank(run.study.revision, 10)
    measured = {row.candidate_id for row in run.history.rows} - {
        one.candidate.candidate_id for one in ranked
    }

    assert place(ranked[0].candidate) == 1
    for one in ranked:
        rows = run.history.rewards(one.candidate.candidate_id, Pool.VALIDATION)
        assert one.pooled.row_count == len(rows)
    assert not measured & {one.candidate.candidate_id for one in ranked}


def test_rows_that_were_only_predicted_are_still_measured_in_the_final_re_score(rig):
    run = rig(tpe_engine, settings=settings(minibatch_source="validation")).start(demo_sets=1)
    Guessing(run, guess=lambda one: 0.5, truth=lambda one: 0.5).do()

    for trial in run.history.trials:
        if trial.kind is TrialKind.TOP_K:
            assert {cell.seed for cell in trial.cells} == set(run.validation)


def test_a_measurement_takes_the_place_of_a_prediction_and_not_the_other_way(rig):
    run = rig(tpe_engine, settings=settings()).start(demo_sets=1)
    work = run.ask()
    cell = work.trials[0].cells[0]
    name = cell.candidate_id
    run.tell([Observation(cell=cell, reward=0.25, predicted=True)])
    assert cell.row in run.history.asked(name)
    assert cell.row not in run.history.tried_on(name)
    assert list(run.history.rewards(name, Pool.ONLINE)) == []

    run.tell([Observation(cell=cell, reward=1.0)])
    run.tell([Observation(cell=cell, reward=0.0, predicted=True)])

    assert cell.row in run.history.tried_on(name)
    assert list(run.history.rewards(name, Pool.ONLINE)) == [1.0]
    assert len(run.history.rows) == len(run.history.measured) + 1
    run.study.close(run.study.revision + 1, work.ask_index)
    assert run.history.trials[0].mean_reward == 1.0


def test_without_predictions_everything_is_measured(rig):
    run = rig(tpe_engine, settings=settings()).start().run()

    assert run.history.measured is run.history.codes


def test_a_restored_study_goes_on_as_before(rig):
    plans = []
    for restart in (False, True):
        run = rig(tpe_engine, settings=settings()).start(demo_sets=1)
        Guessing(run, guess=lambda one: place(one) / 4, truth=lambda one: 0.5).do(restart=restart)
        plans.append((run.plans(), run.study.rank(run.study.revision, 9)))

    assert plans[0] == plans[1]

"""Settings: every problem at once, with what to write instead."""

import pytest

from burnish_search.algorithms import settings
from burnish_search.algorithms.mipro import Mipro
from burnish_search.model import Pool, StudySpec
from burnish_search.problems import StudyInvalid


def spec(**given):
    return StudySpec(
        name="studies/a",
        algorithm="mipro",
        settings=given,
        stage_ids=("main",),
        online=(1, 2),
        validation=(3,),
    )


def test_nothing_given_means_the_documented_defaults():
    parsed, problems = settings.parse({})
    assert problems == []
    assert (parsed.num_iterations, parsed.num_evaluations_per_iteration) == (20, 5)
    assert (parsed.batch_size, parsed.full_eval_every_k, parsed.top_k) == (32, 5, 2)
    assert (parsed.minibatch_pool, parsed.trial_count(2)) == (Pool.ONLINE, 100)


@pytest.mark.parametrize(
    ("auto", "one_predictor", "two_predictors"),
    [("light", 10, 20), ("medium", 18, 28), ("heavy", 27, 33)],
)
def test_presets_fix_the_number_of_trials(auto, one_predictor, two_predictors):
    parsed, problems = settings.parse({"auto": auto})
    assert problems == []
    assert (parsed.trial_count(2), parsed.trial_count(4)) == (one_predictor, two_predictors)
    assert (parsed.batch_size, parsed.minibatch_pool) == (35, Pool.VALIDATION)


def test_given_settings_go_before_a_preset():
    parsed, _ = settings.parse({"auto": "light", "batch_size": 20, "minibatch_source": "online"})
    assert (parsed.batch_size, parsed.minibatch_pool) == (20, Pool.ONLINE)


def test_a_preset_and_a_number_of_trials_contradict():
    _, problems = settings.parse({"auto": "light", "num_trials": 9})
    assert len(problems) == 1
    assert "`num_trials` is 9" in problems[0]


def test_whole_numbers_may_come_as_floats_as_json_structs_have_them():
    parsed, problems = settings.parse({"batch_size": 8.0, "generate_at_iterations": [0.0, 3.0]})
    assert problems == []
    assert (parsed.batch_size, parsed.generate_at_iterations) == (8, (0, 3))


def test_every_problem_is_told_at_once_with_its_place_and_its_value():
    with pytest.raises(StudyInvalid) as caught:
        Mipro(
            spec(
                batch_sise=4,
                num_trials=0,
                top_k=True,
                auto="huge",
                minibatch_source="test",
                generate_at_iterations=[1, -1],
                target_reward=1.5,
                tpe={"n_candidats": 3, "epsilon": 2},
            )
        )
    message = caught.value.message
    for part in (
        "`batch_sise` is unknown; did you mean `batch_size`?",
        "`num_trials` is 0; give a whole number",
        "`top_k` is True",
        "`auto` is 'huge'; give one of `light`, `medium`, `heavy`",
        "`minibatch_source` is 'test'",
        "`generate_at_iterations` is [1, -1]",
        "`target_reward` is 1.5; give a number in [0, 1]",
        "`tpe.n_candidats` is unknown; did you mean `tpe.n_candidates`?",
        "`tpe.epsilon` is 2",
    ):
        assert part in message
    assert caught.value.metadata["problem_count"] == "9"


def test_deprecated_sampler_arguments_are_taken_and_said_to_do_nothing():
    algorithm = Mipro(spec(tpe={"gamma": 0.25, "prior_weight": 0.05, "n_candidates": 32}))
    assert [warning.split("`")[1] for warning in algorithm.warnings] == [
        "tpe.gamma",
        "tpe.prior_weight",
    ]
    assert algorithm.settings.tpe.n_candidates == 32


@pytest.mark.parametrize(("online", "validation"), [((), (1,)), ((1,), ())])
def test_an_empty_pool_is_refused(online, validation):
    with pytest.raises(StudyInvalid, match="is empty"):
        Mipro(
            StudySpec(
                name="studies/a",
                algorithm="mipro",
                stage_ids=("main",),
                online=online,
                validation=validation,
            )
        )

"""What candidates cost beside what they earn, and which one a study with two objectives takes."""

import random
from typing import cast

import pytest

from burnish.tradeoffs import Standing
from burnish_search import objectives
from burnish_search.algorithms.base import Algorithm
from burnish_search.algorithms.engines import MiproEngines
from burnish_search.costs import Costs
from burnish_search.features import Features
from burnish_search.model import Cell, Component, Kind, Observation, Pool, StudySpec
from burnish_search.problems import StudyInvalid
from burnish_search.studies import Studies

SETTINGS = {"engine": "race", "max_evaluations": 200}
TPE = {"engine": "tpe", "num_trials": 8, "batch_size": 5}


def built(settings):
    spec = StudySpec(
        name="studies/a",
        algorithm="mipro",
        settings=settings,
        stage_ids=("main",),
        online=tuple(range(40)),
        validation=tuple(range(40, 50)),
        random_seed=5,
    )
    return Studies({"mipro": cast(type[Algorithm], MiproEngines)}).build(spec)


def added(study, lengths=(900, 400, 100)):
    parts = [
        Component(
            component_id=f"ins_{place}",
            stage_id="main",
            kind=Kind.INSTRUCTION,
            baseline=place == 0,
            features=None if length is None else Features(character_count=length),
        )
        for place, length in enumerate(lengths)
    ]
    parts.append(
        Component(
            component_id="dem_0",
            stage_id="main",
            kind=Kind.DEMO_SET,
            zero_shot=True,
            features=Features(character_count=0),
        )
    )
    study.add_components(study.revision + 1, parts)


def played(settings, chances, *, costs=None, lengths=(900, 400, 100)):
    """Plays a study whose candidates pass with fixed chances; costs come by instruction."""
    study = built(settings)
    added(study, lengths)
    dice = random.Random(1)
    for ask in range(200):
        work = study.suggest(ask, study.revision, 400)
        if not work.trials:
            break
        told = []
        for trial in work.trials:
            place = int(trial.candidate.choices[0].removeprefix("ins_"))
            for cell in trial.cells:
                known = () if costs is None else (("cost_usd", costs[place]),)
                known = () if costs is not None and costs[place] is None else known
                reward = float(dice.random() < chances[place])
                told.append(Observation(cell=cell, reward=reward, costs=known))
        study.tell(study.revision + 1, told)
        study.close(study.revision + 1, ask)
    return study


def names(ranking):
    return [one.candidate.choices[0] for one in ranking.candidates]


@pytest.mark.parametrize("settings", [SETTINGS, TPE])
def test_of_equally_good_prompts_the_cheapest_is_taken_whatever_the_engine(settings):
    rule = {"minimise": "cost_usd", "tolerance": 0.2}
    study = played({**settings, "objective": rule}, (0.0, 1.0, 1.0), costs=(0.1, 0.9, 0.3))
    found = study.preferred(study.revision, 3)
    assert names(found)[0] == "ins_2"
    assert "the lowest `cost_usd` within 0.2" in found.choice
    standing = {one.candidate.choices[0]: one.standing for one in found.candidates}
    assert standing["ins_2"] is Standing.FRONT


def test_without_a_second_objective_the_order_is_the_rewards_and_costs_are_told():
    study = played(SETTINGS, (0.0, 1.0, 0.5), costs=(0.1, 0.9, 0.3))
    found = study.preferred(study.revision, 3)
    assert names(found) == [one.candidate.choices[0] for one in study.rank(study.revision, 3)]
    assert found.choice == ""
    # Without an objective of its own a study shows them by the length of prompts.
    lengths = [one.objectives["prompt_length"].mean for one in found.candidates]
    assert found.candidates[lengths.index(min(lengths))].standing is Standing.FRONT
    assert found.candidates[0].objectives["cost_usd"].mean == pytest.approx(0.9)


@pytest.mark.parametrize(("settings", "modelled"), [(SETTINGS, True), (TPE, False)])
def test_only_an_engine_that_models_rows_says_what_to_expect_on_others(settings, modelled):
    study = built(settings)
    added(study)
    assert study.rank(study.revision, 1)[0].expected is None
    found = played(settings, (0.2, 0.9, 0.4))
    for one in found.preferred(found.revision, 3).candidates:
        assert one.expected == (one.pooled if modelled else None)


def test_prompt_length_is_told_of_components_whose_features_are_known():
    study = played(SETTINGS, (0.5, 0.5, 0.5), lengths=(900, None, 100))
    lengths = {
        one.candidate.choices[0]: one.objectives.get("prompt_length")
        for one in study.preferred(study.revision, 3).candidates
    }
    assert lengths["ins_0"].mean == 900
    assert lengths["ins_1"] is None


def test_a_short_prompt_wins_over_one_that_is_hardly_better():
    rule = {"minimise": "prompt_length", "tolerance": 0.3}
    study = played({**SETTINGS, "objective": rule}, (0.5, 0.5, 0.5))
    assert names(study.preferred(study.revision, 1)) == ["ins_2"]


def test_a_candidate_of_unknown_cost_is_compared_with_none_and_it_is_said():
    rule = {"minimise": "cost_usd", "tolerance": 1.0}
    study = played({**SETTINGS, "objective": rule}, (0.2, 1.0, 0.4), costs=(0.1, None, 0.3))
    found = study.preferred(study.revision, 3)
    standing = {one.candidate.choices[0]: one.standing for one in found.candidates}
    assert standing["ins_1"] is Standing.UNKNOWN
    assert names(found)[0] == "ins_1"
    assert "its own `cost_usd` is not known" in found.choice


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "`objective.minimise` is missing"),
        ({"minimise": "money"}, "`objective.minimise` is 'money'"),
        ({"minimise": "tokens", "tolerance": 2}, "`objective.tolerance` is 2"),
        ({"minimise": "tokens", "limit": -1}, "`objective.limit` is -1"),
        ({"minimise": "tokens", "weight": True}, "`objective.weight` is True"),
        ({"minimise": "tokens", "wait": 1}, "did you mean `objective.weight`"),
        ({"minimise": "tokens", "weight": 1, "tolerance": 0.1}, "give one or the other"),
        ("tokens", "`objective` is 'tokens'"),
    ],
)
def test_a_wrong_objective_is_refused_with_the_place(table, problem):
    with pytest.raises(StudyInvalid) as caught:
        built({**SETTINGS, "objective": table, "max_evaluatons": 3})
    told = "\n".join(caught.value.problems)
    assert problem in told
    assert "`max_evaluatons` is unknown" in told


def test_costs_are_not_distorted_by_the_rows_that_a_candidate_saw():
    costs = Costs()
    dear_rows = {seed: 10.0 if seed < 5 else 0.0 for seed in range(10)}
    for seed in range(10):
        own = {"cheap": 1.0, "dear": 2.0}
        if seed >= 3:
            costs.add("dear", (Pool.ONLINE, seed), (("tokens", own["dear"] + dear_rows[seed]),))
        if seed < 8:
            costs.add("cheap", (Pool.ONLINE, seed), (("tokens", own["cheap"] + dear_rows[seed]),))
    means = costs.means("tokens", ["cheap", "dear"])
    assert means["dear"].mean - means["cheap"].mean == pytest.approx(1.0, abs=0.01)
    assert means["cheap"].mean == pytest.approx(6.0, abs=0.05)


def test_a_cost_is_known_only_when_that_of_every_scored_cell_is():
    costs = Costs()
    costs.add("a", (Pool.ONLINE, 1), (("cost_usd", 0.5),))
    costs.add("a", (Pool.ONLINE, 2), ())
    costs.add("b", (Pool.ONLINE, 1), (("cost_usd", 0.25),))
    assert set(costs.means("cost_usd", ["a", "b", "never"])) == {"b"}
    assert costs.means("tokens", ["a"]) == {}


def test_a_failure_tells_no_cost():
    study = built(SETTINGS)
    added(study)
    baseline = study.history.space.baseline().candidate_id
    cell = Cell(candidate_id=baseline, pool=Pool.ONLINE, seed=1)
    study.tell(2, [Observation(cell=cell, reward=None, costs=(("cost_usd", 5.0),))])
    assert study.history.costs.means("cost_usd", [baseline]) == {}


def test_a_length_is_that_of_every_choice():
    study = built(SETTINGS)
    added(study)
    assert objectives.prompt_length(study.history, study.history.space.baseline()) == 900

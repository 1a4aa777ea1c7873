"""What a file says of costs and repeats, and what of it reaches the search."""

import pytest

from burnish.config import ConfigError, PromptLearningConfig, resolve_job
from burnish.config.mipro import MIPROConfig
from burnish.search_settings import algorithm_settings
from burnish_search.algorithms.engines import MiproEngines
from burnish_search.model import StudySpec
from burnish_search.objectives import split


def read(algorithm: str = "mipro", **search: object) -> PromptLearningConfig:
    return PromptLearningConfig.from_mapping(
        {
            "job": {
                "algorithm": algorithm,
                "task_app": "http://localhost:8002",
                "search": search,
                "pools": {"online": [1, 2], "validation": [3, 4, 5]},
            }
        },
        env={"ENVIRONMENT_API_KEY": "k"},
    )


def settings(algorithm: str = "mipro", **search: object) -> dict[str, object]:
    return algorithm_settings(resolve_job(read(algorithm, **search), dataset_size=100))


@pytest.mark.parametrize("engine", ["tpe", "race"])
def test_the_objective_reaches_the_search_as_it_reads_it(engine):
    table = {"minimise": "cost_usd", "tolerance": 0.02, "limit": 0.5}
    told = settings(engine=engine, objective=table, repeats=3)
    assert told["objective"] == table
    rest, objective, problems = split(told)
    assert problems == []
    assert objective is not None
    assert (objective.rule.tolerance, objective.rule.limit) == (0.02, 0.5)
    spec = StudySpec(
        name="studies/a",
        algorithm="mipro",
        settings=rest,
        stage_ids=("main",),
        online=(1, 2),
        validation=(3, 4, 5),
    )
    assert MiproEngines(spec).warnings is not None


def test_random_search_has_the_objective_and_says_that_it_repeats_nothing():
    told = settings("random", objective={"minimise": "tokens"}, repeats=3)
    assert told["objective"] == {"minimise": "tokens"}
    assert "repeats" not in told
    warnings = read("random", repeats=3).warnings
    assert any("repeats" in one and "no effect" in one for one in map(str, warnings))


def test_without_them_nothing_is_told():
    assert {"objective", "repeats"}.isdisjoint(settings())


@pytest.mark.parametrize(
    ("table", "path", "why"),
    [
        ({"minimise": "money"}, "job.search.objective.minimise", "'prompt_length'"),
        ({}, "job.search.objective.minimise", "is required"),
        ({"minimise": "tokens", "tolerance": 1.5}, "job.search.objective.tolerance", "1"),
        ({"minimise": "tokens", "weight": 1, "tolerance": 0.1}, "objective.weight", "one or the"),
        ({"minimise": "tokens", "weigth": 1}, "job.search.objective.weigth", "weight"),
    ],
)
def test_a_wrong_objective_is_refused_with_its_place(table, path, why):
    with pytest.raises(ConfigError) as caught:
        read(objective=table)
    assert path in str(caught.value)
    assert why in str(caught.value)


def test_the_objective_survives_a_round_trip():
    table = {"objective": {"minimise": "tokens", "weight": 0.001}, "repeats": 4}
    config = MIPROConfig.model_validate(table)
    again = MIPROConfig.model_validate(config.model_dump(exclude_none=True))
    assert again.objective == config.objective
    assert again.repeats == 4

"""Which engine a MIPRO file asks for, and what of it reaches the search."""

import pytest

from burnish.config import PromptLearningConfig, resolve_job
from burnish.config.enums import SearchEngine
from burnish.config.mipro import MIPROConfig
from burnish.config.resolve_search import resolve_mipro
from burnish.search_settings import algorithm_settings
from burnish_search.algorithms.engines import MiproEngines
from burnish_search.algorithms.mipro_parity import MiproParity
from burnish_search.model import StudySpec


def settings(**search: object) -> dict[str, object]:
    """Returns what the search service is told for a file's `[job.search]`."""
    budget = {"max_trials": 7, "max_trials_without_improvement": 3}
    table = {"algorithm": "mipro", "task_app": "http://localhost:8002", "budget": budget}
    config = PromptLearningConfig.from_mapping(
        {"job": {**table, "search": search, "pools": {"online": [1, 2], "validation": [3, 4, 5]}}},
        env={"ENVIRONMENT_API_KEY": "k"},
    )
    return algorithm_settings(resolve_job(config, dataset_size=100))


@pytest.mark.parametrize(
    ("table", "engine"),
    [
        ({}, "race"),
        ({"engine": "tpe"}, "tpe"),
        ({"auto": "light"}, "tpe"),
        ({"tpe": {"n_startup_trials": 10}}, "tpe"),
        ({"protocol": "miprov2"}, "tpe"),
        ({"adaptive_pool": {"level": "LOW"}}, "tpe"),
        ({"adaptive_pool": {"level": "NONE"}}, "race"),
        ({"auto": "light", "engine": "race"}, "race"),
        ({"tpe": {"epsilon": 0.2}, "engine": "RACE"}, "race"),
    ],
)
def test_what_only_one_engine_has_asks_for_it_unless_one_is_named(table, engine):
    config = MIPROConfig.model_validate(table)
    assert config.engine is SearchEngine(engine)
    assert resolve_mipro(config, []).engine == engine


def test_the_engine_survives_a_round_trip():
    for table in ({}, {"auto": "light"}, {"engine": "tpe"}):
        config = MIPROConfig.model_validate(table)
        assert (
            MIPROConfig.model_validate(config.model_dump(exclude_none=True)).engine is config.engine
        )


@pytest.mark.parametrize("engine", ["tpe", "race"])
def test_engine_and_caps_on_trials_reach_the_search(engine):
    told = settings(engine=engine)

    assert told["engine"] == engine
    assert told["max_trials"] == 7
    assert told["max_trials_without_improvement"] == 3
    assert "protocol" not in told


@pytest.mark.parametrize("more", [{"batch_size": 2}, {"preset": "light"}], ids=["sizes", "preset"])
def test_miprov2s_protocol_reaches_the_engine_that_has_it(more):
    told = settings(protocol="miprov2", **more)
    spec = StudySpec(
        name="studies/one",
        algorithm="mipro",
        settings=told,
        random_seed=1,
        stage_ids=("main",),
        online=(3, 4, 5),
        validation=(3, 4, 5),
    )

    assert told["protocol"] == "miprov2"
    assert told["minibatch_source"] == "validation"
    assert isinstance(MiproEngines(spec)._engine, MiproParity)


def test_the_protocol_survives_a_round_trip():
    config = MIPROConfig.model_validate({"protocol": "MIPROv2"})
    again = MIPROConfig.model_validate(config.model_dump(exclude_none=True))
    assert again.protocol == config.protocol == "miprov2"

"""Which engine a MIPRO file asks for, and what of it reaches the search."""

import pytest

from burnish.config import PromptLearningConfig, resolve_job
from burnish.config.mipro import MIPROConfig
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


PROXY = {
    "hi_provider": "openai",
    "hi_model": "gpt-4o",
    "lo_provider": "local",
    "lo_model": "local-reader",
}
# What is given beside the rest of a file, and who then searches.
ASKED = [
    ({}, "race"),
    ({"engine": "tpe"}, "tpe"),
    ({"engine": "RACE"}, "race"),
    ({"tpe": {}}, "tpe"),
    ({"tpe": {"n_startup_trials": 10}}, "tpe"),
    ({"tpe": {"epsilon": 0.2}, "engine": "RACE"}, "race"),
    ({"protocol": "MIPROv2"}, "tpe"),
    ({"protocol": "Burnish"}, "race"),
    ({"adaptive_pool": {"level": "LOW"}}, "tpe"),
    ({"adaptive_pool": {}}, "tpe"),
    ({"adaptive_pool": {"level": "none"}}, "race"),
    ({"adaptive_pool": "low"}, "tpe"),
    ({"batch_size": 4}, "race"),
]
SYNTH = [
    ({"auto": "light"}, "tpe"),
    ({"auto": "light", "engine": "race"}, "race"),
    ({"tpe_gamma": 0.2}, "tpe"),
    ({"proxy_models": PROXY}, "tpe"),
    ({"proxy_models": PROXY, "engine": "race"}, "race"),
]
NATIVE = [
    ({"preset": "light"}, "tpe"),
    ({"preset": "none"}, "race"),
    ({"preset": "light", "engine": "race"}, "race"),
]


def synth(mipro: dict[str, object], **more: object) -> PromptLearningConfig:
    """Returns a file in Synth's form."""
    table = {"algorithm": "mipro", "task_app_url": "http://localhost:8002"}
    return PromptLearningConfig.from_mapping(
        {"prompt_learning": {**table, "task_app_api_key": "k", "mipro": mipro, **more}}, env={}
    )


def native(search: dict[str, object], **more: object) -> PromptLearningConfig:
    """Returns a file in our own form."""
    table = {"algorithm": "mipro", "task_app": "http://localhost:8002", "search": search}
    return PromptLearningConfig.from_mapping(
        {"job": {**table, **more}}, env={"ENVIRONMENT_API_KEY": "k"}
    )


def searched_by(config: PromptLearningConfig) -> str:
    """Returns the engine that the search is told, once the file was written and read again."""
    again = PromptLearningConfig.from_mapping(config.to_dict(), env={"ENVIRONMENT_API_KEY": "k"})
    engines = {algorithm_settings(resolve_job(one))["engine"] for one in (config, again)}
    assert len(engines) == 1
    return str(engines.pop())


@pytest.mark.parametrize(("table", "engine"), [*ASKED, *SYNTH])
def test_what_only_one_engine_has_asks_for_it_unless_one_is_named(table, engine):
    assert searched_by(synth(table)) == engine


@pytest.mark.parametrize(("table", "engine"), [*ASKED, *NATIVE])
def test_our_own_form_asks_for_an_engine_by_the_same_rule(table, engine):
    assert searched_by(native(table)) == engine


@pytest.mark.parametrize("build", [synth, native])
def test_a_cheap_model_is_led_by_the_engine_that_takes_predictions(build):
    assert searched_by(build({}, proxy_models=PROXY)) == "tpe"


def test_a_preset_that_nobody_asked_for_gives_sizes_and_no_engine():
    told = settings()
    assert (told["engine"], told["auto"]) == ("race", "light")
    asked = settings(preset="light")
    assert (asked["engine"], asked["auto"]) == ("tpe", "light")


@pytest.mark.parametrize(
    ("mipro", "more", "engine"),
    [
        ({}, {}, "race"),
        ({"auto": "light"}, {}, "tpe"),
        ({"tpe": {"n_startup_trials": 4}}, {}, "tpe"),
        ({}, {"proxy_models": PROXY}, "tpe"),
    ],
)
def test_one_that_was_built_by_hand_asks_for_what_was_set_on_it(mipro, more, engine):
    table = {"task_app_url": "http://localhost:8002", "task_app_api_key": "k", **more}
    config = PromptLearningConfig.model_validate({**table, "mipro": MIPROConfig(**mipro)})
    assert searched_by(config) == engine


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

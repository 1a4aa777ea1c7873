"""Which engine a MIPRO file asks for."""

import pytest

from burnish.config.enums import SearchEngine
from burnish.config.mipro import MIPROConfig
from burnish.config.resolve_search import resolve_mipro


@pytest.mark.parametrize(
    ("table", "engine"),
    [
        ({}, "tpe"),
        ({"engine": "tpe"}, "tpe"),
        ({"engine": "race"}, "race"),
        ({"auto": "light", "engine": "race"}, "race"),
        ({"tpe": {"epsilon": 0.2}, "engine": "RACE"}, "race"),
    ],
)
def test_the_engine_is_miprov2s_own_unless_another_is_named(table, engine):
    config = MIPROConfig.model_validate(table)
    assert config.engine is SearchEngine(engine)
    assert resolve_mipro(config, []).engine == engine


def test_the_engine_survives_a_round_trip():
    for table in ({}, {"auto": "light"}, {"engine": "tpe"}):
        config = MIPROConfig.model_validate(table)
        assert (
            MIPROConfig.model_validate(config.model_dump(exclude_none=True)).engine is config.engine
        )

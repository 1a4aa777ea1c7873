"""Every algorithm that ships keeps the contract of a search algorithm."""

from burnish.testing.search_suite import SearchAlgorithmSuite
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_search.app import SearchApp


class _OverTheWire(SearchAlgorithmSuite):
    def serve(self):
        return running(SearchApp(ServiceSettings(service="search")))


class TestMipro(_OverTheWire):
    algorithm = "mipro"
    settings = {"engine": "tpe", "batch_size": 5, "num_trials": 12}  # noqa: RUF012


class TestMiproInParallel(_OverTheWire):
    algorithm = "mipro"
    settings = {  # noqa: RUF012
        "engine": "tpe",
        "batch_size": 5,
        "num_trials": 12,
        "max_parallel_trials": 4,
    }


class TestRace(_OverTheWire):
    algorithm = "mipro"
    settings = {"engine": "race", "batch_size": 5, "num_trials": 12}  # noqa: RUF012


class TestRaceOnTheValidationPool(_OverTheWire):
    algorithm = "mipro"
    settings = {  # noqa: RUF012
        "engine": "race",
        "batch_size": 5,
        "num_trials": 12,
        "minibatch_source": "validation",
    }


class TestRandomSearch(_OverTheWire):
    algorithm = "random"

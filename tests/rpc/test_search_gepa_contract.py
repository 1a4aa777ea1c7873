"""The contract of search algorithms, kept by GEPA's engine."""

from typing import ClassVar

from burnish.testing.search_suite import SearchAlgorithmSuite
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_search.app import SearchApp


class TestGepa(SearchAlgorithmSuite):
    algorithm = "gepa"
    settings: ClassVar = {
        "minibatch_size": 5,
        "pareto_set_size": 12,
        "num_generations": 4,
        "children_per_generation": 3,
    }

    def serve(self):
        return running(SearchApp(ServiceSettings(service="search")))

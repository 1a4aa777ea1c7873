"""The contract of search algorithms, kept by the `tpe` engine under MIPROv2's own protocol."""

from typing import ClassVar

import pytest

from burnish import errors, rpc
from burnish.testing.search_driver import World
from burnish.testing.search_suite import SearchAlgorithmSuite
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_search.app import SearchApp


class TestMiproProtocol(SearchAlgorithmSuite):
    algorithm = "mipro"
    settings: ClassVar = {
        "engine": "tpe",
        "protocol": "miprov2",
        "batch_size": 5,
        "num_trials": 12,
    }

    def serve(self):
        return running(SearchApp(ServiceSettings(service="search")))

    async def test_instructions_added_later_are_tried(self) -> None:
        """The protocol has a space that is fixed: it says so instead."""
        async with self.serve() as channel:
            driver = self.driver(channel, World())
            await driver.create()
            await driver.run(most_asks=3)
            await driver.add([driver.world.instruction("main", 3)])
            with pytest.raises(errors.InvalidArgument, match="a space that is fixed"):
                async with rpc.translated():
                    await driver.ask()

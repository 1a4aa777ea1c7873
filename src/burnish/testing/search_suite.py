"""The contract of a search algorithm, as tests to inherit. They run over the wire.

    class TestMine(SearchAlgorithmSuite):
        algorithm = "mine"

        def serve(self):
            return running(SearchApp(ServiceSettings(service="search")))

needs pytest with pytest-asyncio in auto mode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import pytest
from grpc import aio

from burnish import errors, rpc
from burnish.api.search import v1 as search_v1
from burnish.testing.search_driver import TIMEOUT_SECONDS, StudyDriver, World

_ONLINE = 40
_VALIDATION = 12


class SearchAlgorithmSuite(ABC):
    """What every algorithm must do.

    Attributes:
        algorithm: Name that it is registered under.
        settings: Settings that make a search of a few hundred cells.
    """

    algorithm: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {"batch_size": 5, "num_trials": 12}

    @abstractmethod
    def serve(self) -> AbstractAsyncContextManager[aio.Channel]:
        """Returns a search service that is running, fresh, with the algorithm installed."""

    def driver(
        self, channel: aio.Channel, world: World, *, max_cell_count: int = 0, random_seed: int = 7
    ) -> StudyDriver:
        """Returns a driver of a study of this algorithm, not created yet."""
        study = search_v1.Study(
            name="studies/contract",
            algorithm=self.algorithm,
            random_seed=random_seed,
            stage_ids=world.stage_ids,
            max_cell_count=max_cell_count,
        )
        study.settings.update(dict(self.settings))
        study.online_pool.seeds.extend(range(_ONLINE))
        study.validation_pool.seeds.extend(range(_ONLINE, _ONLINE + _VALIDATION))
        return StudyDriver(channel=channel, world=world, study=study)

    async def test_a_search_comes_to_an_end_that_stays(self) -> None:
        """Every ask after the end is answered with the same end."""
        async with self.serve() as channel:
            driver = self.driver(channel, World())
            await driver.create()
            await driver.run()
            last, again = driver.works[-1], await driver.ask()
        assert last.WhichOneof("action") == "finished"
        assert again.finished == last.finished

    async def test_the_same_seed_gives_the_same_works(self) -> None:
        """Two services agree from the first ask to the last."""
        runs = []
        for _ in range(2):
            async with self.serve() as channel:
                driver = self.driver(channel, World(failure_share=0.1))
                await driver.create()
                await driver.run()
                runs.append((driver.works, list(await driver.rank())))
        assert runs[0] == runs[1]

    async def test_another_seed_gives_other_works(self) -> None:
        """The seed is used."""
        runs = []
        for seed in (1, 2):
            async with self.serve() as channel:
                driver = self.driver(channel, World(), random_seed=seed)
                await driver.create()
                await driver.run()
                runs.append(driver.works)
        assert runs[0] != runs[1]

    async def test_an_ask_repeated_at_its_revision_is_answered_the_same(self) -> None:
        """A controller that died before it wrote the answer down gets it again."""
        async with self.serve() as channel:
            driver = self.driver(channel, World())
            await driver.create()
            request = search_v1.SuggestWorkRequest(
                study=driver.study.name, ask_index=0, as_of_revision=driver.revision
            )
            first = await driver.stub.SuggestWork(request, timeout=TIMEOUT_SECONDS)
            second = await driver.stub.SuggestWork(request, timeout=TIMEOUT_SECONDS)
        assert first == second

    async def test_a_restored_study_goes_on_as_if_nothing_had_happened(self) -> None:
        """Killed after any number of works, the rest is the same."""
        world = World(failure_share=0.1)
        async with self.serve() as channel:
            undisturbed = self.driver(channel, world)
            await undisturbed.create()
            await undisturbed.run()
        for survived in range(0, len(undisturbed.works), 3):
            async with self.serve() as first, self.serve() as second:
                driver = self.driver(first, world)
                await driver.create()
                await driver.run(most_asks=survived)
                await driver.restore(second)
                await driver.run()
            assert driver.works == undisturbed.works

    async def test_no_budget_is_ever_exceeded(self) -> None:
        """Neither the study's limit nor what the controller has left."""
        for cells in (0, 1, 7, 30, 61):
            async with self.serve() as channel:
                driver = self.driver(channel, World(), max_cell_count=cells)
                driver.budget = 45
                await driver.create()
                await driver.run()
                assert driver.cell_count() <= min(cells or 45, 45)

    async def test_no_row_is_asked_of_a_candidate_twice(self) -> None:
        """A cell that was asked before would be paid without teaching anything."""
        async with self.serve() as channel:
            driver = self.driver(channel, World(instruction_count=2, demo_set_count=2))
            await driver.create()
            await driver.run()
        cells = [
            (cell.candidate_id, cell.pool, cell.seed, cell.repeat)
            for work in driver.works
            for trial in work.evaluation.trials
            for cell in trial.cells
        ]
        assert len(cells) == len(set(cells))

    async def test_candidates_are_made_of_known_components_and_named_by_content(self) -> None:
        """The id of a candidate is the hash of its choices."""
        world = World(stage_ids=("first", "second"))
        async with self.serve() as channel:
            driver = self.driver(channel, world)
            await driver.create()
            await driver.run()
        known = {component.component_id for component in world.components()}
        for work in driver.works:
            for trial in work.evaluation.trials:
                stages = trial.candidate.stages
                assert set(stages) == set(world.stage_ids)
                for choice in stages.values():
                    assert {choice.instruction_id, choice.demo_set_id} <= known

    async def test_a_failed_cell_is_no_reward_of_zero(self) -> None:
        """Where everything measured is a success, failures lower nobody's mean."""
        async with self.serve() as channel:
            driver = self.driver(channel, _Flawless(failure_share=0.4))
            await driver.create()
            await driver.run()
            listed = await driver.stub.ListTrials(
                search_v1.ListTrialsRequest(study=driver.study.name), timeout=10
            )
        means = [trial.mean_reward for trial in listed.trials if trial.HasField("mean_reward")]
        assert means
        assert set(means) == {1.0}

    async def test_a_search_of_which_nothing_is_measured_still_ends_with_the_baseline(self) -> None:
        """An app that is down all the time makes no winner."""
        async with self.serve() as channel:
            driver = self.driver(channel, World(failure_share=1.0))
            await driver.create()
            await driver.run()
            ranked = await driver.rank()
        assert ranked[0].baseline

    async def test_the_baseline_is_always_ranked(self) -> None:
        """Also among few, and before any work."""
        async with self.serve() as channel:
            driver = self.driver(channel, World())
            await driver.create()
            before = await driver.rank()
            await driver.run()
            after = await driver.rank(count=1000)
        assert [entry.baseline for entry in before] == [True]
        assert sum(entry.baseline for entry in after) == 1

    async def test_instructions_added_later_are_tried(self) -> None:
        """The space may grow at any time."""
        world = World(instruction_count=2, demo_set_count=2)
        later = world.instruction("main", 5)
        async with self.serve() as channel:
            driver = self.driver(channel, world)
            await driver.create()
            await driver.run(most_asks=3)
            await driver.add([later])
            await driver.run()
        tried = {
            trial.candidate.stages["main"].instruction_id
            for work in driver.works
            for trial in work.evaluation.trials
        }
        assert later.component_id in tried

    async def test_an_unknown_setting_is_refused_by_name(self) -> None:
        """A setting that nothing reads is a mistake of the caller."""
        async with self.serve() as channel:
            driver = self.driver(channel, World())
            driver.study.settings.update({"surely_no_such_setting": 1})
            with pytest.raises(errors.InvalidArgument, match="surely_no_such_setting"):
                async with rpc.translated():
                    await driver.create()


class _Flawless(World):
    """A world in which everything that is measured is a success."""

    def quality(self, candidate: Any) -> float:  # noqa: ANN401 - the base names the type
        """Returns a quality that no row can spoil."""
        return 2.0

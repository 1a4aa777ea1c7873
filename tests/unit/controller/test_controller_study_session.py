"""A change of a study: one entry however often it is made, and no harm when its commit fails."""

from typing import Any

import pytest

from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import Unimplemented
from burnish_controller.peers import Peers
from burnish_controller.study import StudySession
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.servicer import SearchServicer
from burnish_search.studies import Studies

STUDY = search_v1.Study(name="studies/job1", algorithm="random", stage_ids=["main"])
STUDY.online_pool.seeds.extend(range(20))
STUDY.validation_pool.seeds.extend(range(20, 30))


class DiskFull(Exception):
    """What a commit that fails raises here."""


class Search:
    """The search service without a wire; notes what it was asked for."""

    def __init__(self):
        self._servicer = SearchServicer(Studies({"random": RandomSearch}))
        self.calls = []

    def StreamStudies(self, requests):
        raise Unimplemented("there is no stream here")

    def __getattr__(self, rpc):
        async def call(request, **given):
            self.calls.append(rpc)
            return await getattr(self._servicer, rpc)(request, None)

        return call


def session(stores, search):
    nobody: Any = None
    peers = Peers(search=search, proposer=nobody, verifier=nobody, channels=())
    return StudySession(peers, stores.log, "job1", lambda: STUDY)


def components():
    found = []
    for place in range(3):
        found += [
            types_v1.Component(component_id=f"{kind}_{place}", stage_id="main")
            for kind in ("ins", "dem")
        ]
        found[-2].instruction.SetInParent()
        found[-1].demo_set.SetInParent()
    return found


async def observe(opened, work):
    cells = [cell for trial in work.evaluation.trials for cell in trial.cells]
    await opened.tell("0", [types_v1.Observation(cell=cell, reward=1.0) for cell in cells])


async def test_a_change_that_is_made_again_adds_no_entry(stores):
    search = Search()
    for one in (stores, stores, stores.restarted()):
        opened = session(one, search)
        await opened.add_components("first", components())
        work = await opened.ask(0, remaining=None)
        await observe(opened, work)
        await opened.close(0)
        assert await one.log.revision("job1") == 4
    assert [one.revision for one in await stores.log.entries("job1")] == [1, 2, 3, 4]
    assert search.calls.count("SuggestWork") == 1


async def test_a_commit_that_fails_is_told_and_the_change_may_be_made_again(stores, monkeypatch):
    search = Search()
    opened = session(stores, search)
    await opened.add_components("first", components())
    work = await opened.ask(0, remaining=None)

    async def fail(*given):
        raise DiskFull

    with monkeypatch.context() as broken:
        broken.setattr(stores.log, "append", fail)
        with pytest.raises(DiskFull):
            await observe(opened, work)
    assert await stores.log.revision("job1") == 2
    # The service knows of what the ledger lacks, and is refilled by the next change.
    await opened.close(0)
    await observe(opened, work)
    assert await opened.ask(1, remaining=None) == await session(stores, Search()).ask(
        1, remaining=None
    )
    revisions = [one.revision for one in await stores.log.entries("job1")]
    assert revisions == [1, 2, 3, 4, 5]
    ranked = await opened.rank(3)
    assert ranked == await session(stores.restarted(), Search()).rank(3)

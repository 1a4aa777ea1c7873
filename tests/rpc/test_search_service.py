"""The RPCs of the search service through a real channel: states, errors, pages, restore."""

from collections.abc import AsyncIterator

import pytest
from grpc import aio

from burnish import errors, rpc, tradeoffs
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.testing.search_driver import StudyDriver, World
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_search import model
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.app import SearchApp
from burnish_search.servicer import SearchServicer
from burnish_search.studies import Studies

SERVICE = "burnish.api.search.v1.SearchService"


def app() -> SearchApp:
    return SearchApp(ServiceSettings(service="search"))


@pytest.fixture
async def channel() -> AsyncIterator[aio.Channel]:
    async with running(app()) as opened:
        yield opened


def study(name="studies/a", world=None, **fields) -> search_v1.Study:
    message = search_v1.Study(
        name=name,
        algorithm="mipro",
        random_seed=1,
        stage_ids=(world or World()).stage_ids,
        **fields,
    )
    message.settings.update({"batch_size": 5, "num_trials": 6})
    message.online_pool.seeds.extend(range(20))
    message.validation_pool.seeds.extend(range(20, 28))
    return message


def driver(channel, message=None) -> StudyDriver:
    return StudyDriver(channel=channel, world=World(), study=message or study())


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (model.TrialKind, search_v1.TrialKind, "TRIAL_KIND_"),
        (model.TrialState, search_v1.TrialState, "TRIAL_STATE_"),
        (model.StudyState, search_v1.StudyState, "STUDY_STATE_"),
        (model.FinishReason, search_v1.FinishReason, "FINISH_REASON_"),
        (model.Pool, types_v1.Pool, "POOL_"),
        (tradeoffs.Standing, types_v1.Standing, "STANDING_"),
    ],
)
def test_enums_have_the_numbers_of_the_wire(ours, theirs, prefix):
    wire = dict(theirs.items())
    assert {prefix + one.name: one.value for one in ours}.items() <= wire.items()
    unused = {"UNSPECIFIED", "TEST"}
    assert set(wire) - {prefix + one.name for one in ours} <= {prefix + name for name in unused}


async def test_a_study_is_created_read_and_deleted(channel):
    stub = search_v1.SearchServiceStub(channel)
    created = await stub.CreateStudy(search_v1.CreateStudyRequest(study=study()), timeout=10)
    assert (created.study.revision, created.study.state) == (0, search_v1.STUDY_STATE_ACTIVE)
    got = await stub.GetStudy(search_v1.GetStudyRequest(name="studies/a"), timeout=10)
    assert got.study == created.study
    await stub.DeleteStudy(search_v1.DeleteStudyRequest(name="studies/a"), timeout=10)
    with pytest.raises(errors.NotFound, match="`studies/a`"):
        async with rpc.translated():
            await stub.GetStudy(search_v1.GetStudyRequest(name="studies/a"), timeout=10)


async def test_a_study_that_is_only_validated_is_not_kept(channel):
    stub = search_v1.SearchServiceStub(channel)
    await stub.CreateStudy(
        search_v1.CreateStudyRequest(study=study(), validate_only=True), timeout=10
    )
    with pytest.raises(errors.NotFound):
        async with rpc.translated():
            await stub.GetStudy(search_v1.GetStudyRequest(name="studies/a"), timeout=10)


async def test_a_study_created_again_begins_anew(channel):
    one = driver(channel)
    await one.create()
    created = await one.stub.CreateStudy(search_v1.CreateStudyRequest(study=one.study), timeout=10)
    assert created.study.revision == 0


async def test_everything_that_is_wrong_with_a_study_is_told_at_once(channel):
    message = search_v1.Study(
        name="studies/a",
        algorithm="mipro",
        max_cell_count=-1,
        stage_ids=["one", "one"],
        written_stage_ids=["one", "two"],
    )
    message.settings.update({"batch_sise": 3})
    message.online_pool.seeds.extend([1, 1])
    message.validation_pool.ranges.add(start=0, end=10**12)
    with pytest.raises(errors.InvalidArgument) as caught:
        async with rpc.translated():
            await driver(channel, message).create()
    assert caught.value.reason == "STUDY_INVALID"
    for part in (
        "`batch_sise` is unknown",
        "a repeated stage",
        "`max_cell_count` is -1",
        "`written_stage_ids` has ['two']",
        "`online_pool` repeats 1",
        "`validation_pool` has 1000000000000 seeds",
    ):
        assert part in caught.value.message


async def test_an_algorithm_that_is_not_installed_is_refused_with_those_that_are(channel):
    message = study()
    message.algorithm = "annealing"
    with pytest.raises(errors.InvalidArgument, match="there are `gepa`, `mipro`, `random`"):
        async with rpc.translated():
            await driver(channel, message).create()


async def test_ranges_of_seeds_are_used(channel):
    message = study()
    message.online_pool.Clear()
    message.online_pool.ranges.add(start=100, end=200, step=10)
    one = driver(channel, message)
    await one.create()
    work = await one.ask()
    assert {c.seed for t in work.evaluation.trials for c in t.cells} <= set(range(100, 200, 10))


async def test_a_study_that_is_not_in_the_cache_is_stale(channel):
    one = driver(channel)
    for call in (one.add([]), one.tell([]), one.ask(), one.rank()):
        with pytest.raises(errors.FailedPrecondition) as caught:
            async with rpc.translated():
                await call
        assert caught.value.reason == "STUDY_STALE"
        assert caught.value.metadata["study"] == "studies/a"


async def test_a_service_that_lags_is_stale_until_it_is_refilled(channel):
    async with running(app()) as ahead:
        one = driver(ahead)
        await one.create()
        await one.run(most_asks=2)
        lagging = driver(channel)
        await lagging.create()
        one.channel = channel
        with pytest.raises(errors.FailedPrecondition) as caught:
            async with rpc.translated():
                await one.ask()
        assert caught.value.reason == "STUDY_STALE"
        assert caught.value.metadata["revision"] == "2"
        await one.restore(channel)
        work = await one.ask()
    assert work.ask_index == 2


async def test_a_restore_that_fails_leaves_the_study_as_it_was(channel):
    one = driver(channel)
    await one.create()
    revision = one.revision
    one.entries[1].revision = 7
    with pytest.raises(errors.InvalidArgument, match="entry 7 does not follow entry 1"):
        async with rpc.translated():
            await one.restore(channel)
    got = await one.stub.GetStudy(search_v1.GetStudyRequest(name="studies/a"), timeout=10)
    assert got.study.revision == revision


@pytest.mark.parametrize(
    "requests", [[], [search_v1.RestoreStudyRequest(entry=search_v1.StudyEntry(revision=1))]]
)
async def test_a_restore_begins_with_the_study(channel, requests):
    stub = search_v1.SearchServiceStub(channel)
    with pytest.raises(errors.InvalidArgument, match="the study"):
        async with rpc.translated():
            await stub.RestoreStudy(iter(requests), timeout=10)


async def test_a_finished_study_says_so_also_when_restored(channel):
    one = driver(channel)
    await one.create()
    await one.run()
    await one.restore(channel)
    got = await one.stub.GetStudy(search_v1.GetStudyRequest(name="studies/a"), timeout=10)
    assert got.study.state == search_v1.STUDY_STATE_COMPLETED
    assert got.study.revision == one.revision


async def test_observations_that_no_search_may_see_are_refused(channel):
    one = driver(channel)
    await one.create()
    cell = types_v1.Cell(candidate_id=one.world.baseline_id(), pool=types_v1.POOL_TEST, seed=1)
    empty = types_v1.Cell(candidate_id=one.world.baseline_id(), pool=types_v1.POOL_ONLINE)
    told = [types_v1.Observation(cell=cell, reward=1.0), types_v1.Observation(cell=empty)]
    with pytest.raises(errors.InvalidArgument) as caught:
        async with rpc.translated():
            await one.tell(told)
    assert "observation 0 is of pool 4" in caught.value.message
    assert "observation 1 has no outcome" in caught.value.message


async def test_components_may_come_without_content_when_their_ids_tell_it(channel):
    one = driver(channel)
    await one.create()
    bare = one.world.instruction("main", 7)
    bare.ClearField("instruction")
    await one.add([bare])
    odd = types_v1.Component(component_id="what_is_it", stage_id="main")
    with pytest.raises(errors.InvalidArgument, match="`what_is_it` is neither"):
        async with rpc.translated():
            await one.add([odd])


async def test_closing_a_work_returns_its_trials_with_their_means(channel):
    one = driver(channel)
    await one.create()
    work = await one.ask()
    assert not work.evaluation.trials[0].HasField("mean_reward")
    closed, *_ = await one.do(work)
    assert closed.state == search_v1.TRIAL_STATE_SUCCEEDED
    assert closed.observed_count == len(work.evaluation.trials[0].cells)
    assert 0.0 <= closed.mean_reward <= 1.0


async def test_trials_are_listed_page_by_page(channel):
    one = driver(channel)
    await one.create()
    await one.run()
    request = search_v1.ListTrialsRequest(study="studies/a", page_size=3)
    seen = []
    while True:
        page = await one.stub.ListTrials(request, timeout=10)
        assert len(page.trials) <= 3
        seen += [trial.trial_index for trial in page.trials]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == list(range(sum(len(work.evaluation.trials) for work in one.works)))


@pytest.mark.parametrize(
    "request_fields", [{"page_size": -1}, {"page_token": "x"}, {"page_token": "-3"}]
)
async def test_a_page_that_cannot_be_is_refused(channel, request_fields):
    one = driver(channel)
    await one.create()
    with pytest.raises(errors.InvalidArgument):
        async with rpc.translated():
            await one.stub.ListTrials(
                search_v1.ListTrialsRequest(study="studies/a", **request_fields), timeout=10
            )


async def test_a_ranking_has_intervals_and_validation_means(channel):
    one = driver(channel)
    await one.create()
    await one.run()
    ranked = await one.rank(count=2)
    assert len(ranked) == 2
    for entry in ranked:
        assert entry.pooled.lower < entry.pooled.mean < entry.pooled.upper
        assert entry.pooled.confidence == 0.95
        assert entry.validation.row_count == 8


async def test_a_negative_count_is_refused(channel):
    one = driver(channel)
    await one.create()
    with pytest.raises(errors.InvalidArgument, match="`count` is -1"):
        async with rpc.translated():
            await one.rank(count=-1)


async def test_installed_algorithms_are_listed_by_name(channel):
    stub = search_v1.SearchServiceStub(channel)
    listed = await stub.ListAlgorithms(search_v1.ListAlgorithmsRequest(), timeout=10)
    assert [algorithm.name for algorithm in listed.algorithms] == ["gepa", "mipro", "random"]
    assert all(algorithm.description for algorithm in listed.algorithms)


class OneStudyApp(SearchApp):
    """A service with room for one study."""

    async def start(self, server):
        studies: Studies[search_v1.Study] = Studies({"mipro": RandomSearch}, capacity=1)
        search_v1.add_SearchServiceServicer_to_server(SearchServicer(studies), server)
        return [SERVICE]


async def test_a_study_dropped_for_room_is_stale_and_can_be_refilled():
    async with running(OneStudyApp(ServiceSettings(service="search"))) as channel:
        first = driver(channel, study("studies/first"))
        await first.create()
        await first.run(most_asks=2)
        await driver(channel, study("studies/second")).create()
        with pytest.raises(errors.FailedPrecondition) as caught:
            async with rpc.translated():
                await first.ask()
        assert caught.value.reason == "STUDY_STALE"
        await first.restore(channel)
        await first.run()
    assert first.works[-1].WhichOneof("action") == "finished"


async def test_a_study_with_two_objectives_says_what_it_chose_by(channel):
    message = study()
    message.settings.update({"objective": {"minimise": "prompt_length", "tolerance": 1.0}})
    stub = search_v1.SearchServiceStub(channel)
    await stub.CreateStudy(search_v1.CreateStudyRequest(study=message), timeout=10)
    parts = [types_v1.Component(component_id=f"ins_{place}", stage_id="main") for place in range(2)]
    parts[0].source = types_v1.COMPONENT_SOURCE_BASELINE
    parts[0].features.character_count = 700
    parts[1].features.character_count = 70
    parts.append(types_v1.Component(component_id="dem_0", stage_id="main"))
    parts[-1].features.demo_count = 0
    await stub.AddComponents(
        search_v1.AddComponentsRequest(study="studies/a", revision=1, components=parts), timeout=10
    )
    suggested = await stub.SuggestWork(
        search_v1.SuggestWorkRequest(study="studies/a", ask_index=0, as_of_revision=1), timeout=10
    )
    told = [
        types_v1.Observation(cell=cell, reward=0.5, cost_usd=0.25, objectives={"tokens": 9})
        for trial in suggested.work.evaluation.trials
        for cell in trial.cells
    ]
    await stub.TellObservations(
        search_v1.TellObservationsRequest(study="studies/a", revision=3, observations=told),
        timeout=10,
    )
    ranked = await stub.RankCandidates(
        search_v1.RankCandidatesRequest(study="studies/a", as_of_revision=3), timeout=10
    )
    first = ranked.candidates[0]
    shortest = min(one.objectives["prompt_length"].mean for one in ranked.candidates)
    assert first.objectives["prompt_length"].mean == shortest
    assert first.standing == types_v1.STANDING_FRONT
    assert "the lowest `prompt_length`" in ranked.choice
    seen = next(one for one in ranked.candidates if one.pooled.row_count)
    assert seen.objectives["cost_usd"].mean == 0.25
    assert seen.objectives["tokens"].mean == 9

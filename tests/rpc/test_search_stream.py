"""Studies over one open stream: as by calls, side by side, and again after it broke."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import aio

from burnish import rpc
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, Unavailable
from burnish_controller.search_stream import SearchStream
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_search.app import SearchApp

SECONDS = 20.0


@pytest.fixture
async def channel() -> AsyncIterator[aio.Channel]:
    async with running(SearchApp(ServiceSettings(service="search"))) as opened:
        yield opened


@pytest.fixture
async def stream(channel) -> AsyncIterator[SearchStream]:
    opened = SearchStream(search_v1.SearchServiceStub(channel))
    yield opened
    await opened.close()


async def created(channel, name="studies/a", *, batch=2):
    study = search_v1.Study(name=name, algorithm="random", random_seed=1, stage_ids=["main"])
    study.settings.update({"batch_size": batch, "num_trials": 50})
    study.online_pool.ranges.add(start=0, end=200)
    study.validation_pool.seeds.extend(range(200, 204))
    stub = search_v1.SearchServiceStub(channel)
    await stub.CreateStudy(search_v1.CreateStudyRequest(study=study), timeout=SECONDS)
    return name


def added(name="studies/a", revision=1):
    parts = [
        types_v1.Component(component_id=one, stage_id="main") for one in ("ins_0", "ins_1", "dem_0")
    ]
    return search_v1.AddComponentsRequest(study=name, revision=revision, components=parts)


def ask(index, revision, name="studies/a"):
    return search_v1.SuggestWorkRequest(study=name, ask_index=index, as_of_revision=revision)


async def test_a_study_is_played_over_the_stream_as_by_calls(channel, stream):
    name = await created(channel)
    changed = await stream.send(added(name), search_v1.AddComponentsResponse, seconds=SECONDS)
    assert changed.revision == 1
    asked = await stream.send(ask(0, 1), search_v1.SuggestWorkResponse, seconds=SECONDS)
    stub = search_v1.SearchServiceStub(channel)
    assert asked == await stub.SuggestWork(ask(0, 1), timeout=SECONDS)
    told = [
        types_v1.Observation(cell=cell, reward=1.0)
        for trial in asked.work.evaluation.trials
        for cell in trial.cells
    ]
    tell = search_v1.TellObservationsRequest(study=name, revision=3, observations=told)
    assert (
        await stream.send(tell, search_v1.TellObservationsResponse, seconds=SECONDS)
    ).revision == 3
    close = search_v1.CloseWorkRequest(study=name, revision=4, ask_index=0)
    closed = await stream.send(close, search_v1.CloseWorkResponse, seconds=SECONDS)
    assert [one.mean_reward for one in closed.trials] == [1.0]
    rank = search_v1.RankCandidatesRequest(study=name, as_of_revision=4)
    ranked = await stream.send(rank, search_v1.RankCandidatesResponse, seconds=SECONDS)
    assert ranked == await stub.RankCandidates(rank, timeout=SECONDS)
    retire = search_v1.RetireComponentsRequest(study=name, revision=5, component_ids=["ins_1"])
    retired = await stream.send(retire, search_v1.RetireComponentsResponse, seconds=SECONDS)
    assert retired.revision == 5


@pytest.mark.parametrize(
    ("request_made", "kind", "reason"),
    [
        (ask(0, 7), FailedPrecondition, "STUDY_STALE"),
        (ask(-1, 0), InvalidArgument, "ARGUMENT_INVALID"),
        (ask(0, 0, "nonsense"), InvalidArgument, None),
    ],
)
async def test_a_refused_request_has_the_error_of_its_call_and_the_stream_goes_on(
    channel, stream, request_made, kind, reason
):
    name = await created(channel)
    with pytest.raises(kind) as by_call:
        async with rpc.translated():
            await search_v1.SearchServiceStub(channel).SuggestWork(request_made, timeout=SECONDS)
    with pytest.raises(kind) as caught:
        await stream.send(request_made, search_v1.SuggestWorkResponse, seconds=SECONDS)
    assert caught.value.reason == by_call.value.reason == (reason or caught.value.reason)
    assert caught.value.metadata == by_call.value.metadata
    assert caught.value.message == by_call.value.message
    changed = await stream.send(added(name), search_v1.AddComponentsResponse, seconds=SECONDS)
    assert changed.revision == 1


async def test_changes_of_a_study_that_are_sent_together_are_made_in_their_order(channel, stream):
    name = await created(channel)
    every = [added(name, revision) for revision in range(1, 60)]
    answers = await asyncio.gather(
        *(stream.send(one, search_v1.AddComponentsResponse, seconds=SECONDS) for one in every)
    )
    assert [one.revision for one in answers] == list(range(1, 60))


async def test_studies_are_served_side_by_side_on_one_stream(channel, stream):
    names = [await created(channel, f"studies/s{place}") for place in range(8)]

    async def play(name):
        await stream.send(added(name), search_v1.AddComponentsResponse, seconds=SECONDS)
        return await stream.send(ask(0, 1, name), search_v1.SuggestWorkResponse, seconds=SECONDS)

    answers = await asyncio.gather(*map(play, names))
    assert all(one.work.HasField("evaluation") for one in answers)


async def test_a_broken_stream_fails_as_unavailable_and_the_next_request_opens_another(
    channel, stream
):
    name = await created(channel)
    await stream.send(added(name), search_v1.AddComponentsResponse, seconds=SECONDS)
    await stream.close()
    asked = await stream.send(ask(0, 1), search_v1.SuggestWorkResponse, seconds=SECONDS)
    assert asked.revision == 2


class Silent(search_v1.SearchServiceServicer):
    """Takes requests and answers none; ends its streams when told to."""

    def __init__(self):
        self.seen = asyncio.Event()
        self.leave = asyncio.Event()

    async def StreamStudies(self, request_iterator, context):
        async for _ in request_iterator:
            self.seen.set()
            await self.leave.wait()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going")
        yield search_v1.StreamStudiesResponse()


class Older(search_v1.SearchServiceServicer):
    """A service without the stream."""

    async def SuggestWork(self, request, context):
        return search_v1.SuggestWorkResponse(revision=request.as_of_revision + 1)


async def served(servicer, work):
    server = aio.server()
    search_v1.add_SearchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    opened = rpc.connect(f"127.0.0.1:{port}")
    stream = SearchStream(search_v1.SearchServiceStub(opened))
    try:
        await work(stream)
    finally:
        await stream.close()
        await opened.close()
        await server.stop(grace=None)


async def test_what_is_unanswered_when_the_stream_breaks_may_be_repeated():
    silent = Silent()  # type: ignore[abstract]

    async def work(stream):
        waiting = asyncio.create_task(
            stream.send(ask(0, 0), search_v1.SuggestWorkResponse, seconds=SECONDS)
        )
        await asyncio.wait_for(silent.seen.wait(), SECONDS)
        silent.leave.set()
        with pytest.raises(Unavailable) as caught:
            await waiting
        assert caught.value.retryable

    await served(silent, work)


async def test_a_request_without_an_answer_in_time_fails_alone():
    async def work(stream):
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            await stream.send(ask(0, 0), search_v1.SuggestWorkResponse, seconds=0.05)

    await served(Silent(), work)  # type: ignore[abstract]


async def test_a_service_without_the_stream_is_asked_by_calls():
    async def work(stream):
        for revision in (3, 4):
            answer = await stream.send(
                ask(0, revision), search_v1.SuggestWorkResponse, seconds=SECONDS
            )
            assert answer.revision == revision + 1

    await served(Older(), work)  # type: ignore[abstract]

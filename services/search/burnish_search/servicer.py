"""The RPCs of the search service: convert, ask the study, convert back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import structlog
from grpc import aio

from burnish.api.search import v1 as search_v1
from burnish.errors import InvalidArgument
from burnish.resources import StudyName
from burnish_search import convert, convert_log
from burnish_search.streams import RequestStream
from burnish_search.studies import Studies
from burnish_search.study import Study

_log = structlog.get_logger("burnish.search")
_DEFAULT_PAGE_SIZE = 100
_MOST_PAGE_SIZE = 1000
_DEFAULT_RANK_COUNT = 10
_MOST_RANKED = 1000
_MOST_TOLD_AT_ONCE = 64  # So few take less time than to hand them to a thread.

_Context: TypeAlias = "aio.ServicerContext[Any, Any]"  # generic in the stubs only


class ArgumentInvalid(InvalidArgument):
    """A field of a request is out of its range."""

    default_reason = "ARGUMENT_INVALID"


class SearchServicer(search_v1.SearchServiceServicer):
    """Serves studies. Engines run in threads: most decisions take milliseconds."""

    def __init__(self, studies: Studies[search_v1.Study]) -> None:
        self._studies = studies

    async def CreateStudy(
        self, request: search_v1.CreateStudyRequest, context: _Context
    ) -> search_v1.CreateStudyResponse:
        """Creates a study at revision 0, or replaces one of the same name."""
        study = await asyncio.to_thread(self._build, request.study)
        if not request.validate_only:
            self._studies.keep(study, request.study)
        return search_v1.CreateStudyResponse(study=convert.study(request.study, study))

    async def GetStudy(
        self, request: search_v1.GetStudyRequest, context: _Context
    ) -> search_v1.GetStudyResponse:
        """Gets a study."""
        async with self._studies.read(str(StudyName.parse(request.name))) as held:
            return search_v1.GetStudyResponse(study=convert.study(held.message, held.study))

    async def DeleteStudy(
        self, request: search_v1.DeleteStudyRequest, context: _Context
    ) -> search_v1.DeleteStudyResponse:
        """Deletes a study from the cache."""
        self._studies.drop(str(StudyName.parse(request.name)))
        return search_v1.DeleteStudyResponse()

    async def RestoreStudy(
        self, request_iterator: AsyncIterator[search_v1.RestoreStudyRequest], context: _Context
    ) -> search_v1.RestoreStudyResponse:
        """Refills a study from the controller's ledger; it is replaced when the stream ends."""
        message, study = None, None
        async for request in request_iterator:
            if request.WhichOneof("item") == "study" and study is None:
                message = request.study
                study = await asyncio.to_thread(self._build, message)
            elif request.WhichOneof("item") == "entry" and study is not None:
                told = len(request.entry.observations_told.observations)
                if told > _MOST_TOLD_AT_ONCE:
                    await asyncio.to_thread(_replay, study, request.entry)
                else:
                    _replay(study, request.entry)
            else:
                raise ArgumentInvalid("the stream must be the study once, then its entries")
        if study is None or message is None:
            raise ArgumentInvalid("the stream is empty; send the study, then its entries")
        self._studies.keep(study, message)
        return search_v1.RestoreStudyResponse(study=convert.study(message, study))

    async def AddComponents(
        self, request: search_v1.AddComponentsRequest, context: _Context
    ) -> search_v1.AddComponentsResponse:
        """Adds components to the search space."""
        name = str(StudyName.parse(request.study))
        added = convert.components(name, request.components)
        async with self._studies.advance(name, wanted=request.revision - 1) as study:
            study.add_components(request.revision, added)
            return search_v1.AddComponentsResponse(revision=study.revision)

    async def RetireComponents(
        self, request: search_v1.RetireComponentsRequest, context: _Context
    ) -> search_v1.RetireComponentsResponse:
        """Takes components out of the search space."""
        name = str(StudyName.parse(request.study))
        async with self._studies.advance(name, wanted=request.revision - 1) as study:
            study.retire(request.revision, list(request.component_ids))
            return search_v1.RetireComponentsResponse(revision=study.revision)

    async def SuggestWork(
        self, request: search_v1.SuggestWorkRequest, context: _Context
    ) -> search_v1.SuggestWorkResponse:
        """Answers an ask, with the recorded work when it was answered before."""
        remaining = (
            request.remaining_cell_count if request.HasField("remaining_cell_count") else None
        )
        if request.ask_index < 0 or (remaining is not None and remaining < 0):
            raise ArgumentInvalid(
                f"`ask_index` is {request.ask_index} and `remaining_cell_count` is {remaining}; "
                "neither may be negative"
            )
        name = str(StudyName.parse(request.study))
        async with self._studies.advance(name, wanted=request.as_of_revision) as study:
            given = (request.ask_index, request.as_of_revision, remaining)
            if study.is_quick(request.ask_index):
                work = study.suggest(*given)
            else:
                work = await asyncio.to_thread(study.suggest, *given)
            return search_v1.SuggestWorkResponse(
                work=convert_log.work(work), revision=work.revision
            )

    async def TellObservations(
        self, request: search_v1.TellObservationsRequest, context: _Context
    ) -> search_v1.TellObservationsResponse:
        """Records measurements."""
        name = str(StudyName.parse(request.study))
        async with self._studies.advance(name, wanted=request.revision - 1) as study:
            if len(request.observations) > _MOST_TOLD_AT_ONCE:
                await asyncio.to_thread(_tell, study, request)
            else:
                _tell(study, request)
            return search_v1.TellObservationsResponse(revision=study.revision)

    async def CloseWork(
        self, request: search_v1.CloseWorkRequest, context: _Context
    ) -> search_v1.CloseWorkResponse:
        """Ends a work."""
        name = str(StudyName.parse(request.study))
        async with self._studies.advance(name, wanted=request.revision - 1) as study:
            work = study.close(request.revision, request.ask_index)
            trials = [convert_log.trial(trial) for trial in work.trials]
            return search_v1.CloseWorkResponse(revision=study.revision, trials=trials)

    async def RankCandidates(
        self, request: search_v1.RankCandidatesRequest, context: _Context
    ) -> search_v1.RankCandidatesResponse:
        """Ranks the candidates seen, best first."""
        if not 0 <= request.count <= _MOST_RANKED:
            raise ArgumentInvalid(f"`count` is {request.count}; give at most {_MOST_RANKED}")
        name = str(StudyName.parse(request.study))
        async with self._studies.advance(name, wanted=request.as_of_revision) as study:
            ranked = await asyncio.to_thread(
                study.preferred, request.as_of_revision, request.count or _DEFAULT_RANK_COUNT
            )
        return search_v1.RankCandidatesResponse(
            candidates=[convert.ranked(one) for one in ranked.candidates], choice=ranked.choice
        )

    async def StreamStudies(  # type: ignore[override]  # it writes its answers itself
        self, request_iterator: AsyncIterator[search_v1.StreamStudiesRequest], context: _Context
    ) -> None:
        """Serves requests of one stream, each as its own RPC would be."""
        await RequestStream(
            {
                "suggest_work": self.SuggestWork,
                "tell_observations": self.TellObservations,
                "close_work": self.CloseWork,
                "add_components": self.AddComponents,
                "retire_components": self.RetireComponents,
                "rank_candidates": self.RankCandidates,
            },
            context,
        ).serve(request_iterator)

    async def ListTrials(
        self, request: search_v1.ListTrialsRequest, context: _Context
    ) -> search_v1.ListTrialsResponse:
        """Lists the trials in the order they were suggested."""
        first = _page_start(request.page_token)
        if request.page_size < 0:
            raise ArgumentInvalid(f"`page_size` is {request.page_size}; give at least 0")
        size = min(request.page_size or _DEFAULT_PAGE_SIZE, _MOST_PAGE_SIZE)
        async with self._studies.read(str(StudyName.parse(request.study))) as held:
            trials = held.study.history.trials
            more = first + size < len(trials)
            return search_v1.ListTrialsResponse(
                trials=[convert_log.trial(trial) for trial in trials[first : first + size]],
                next_page_token=str(first + size) if more else "",
            )

    async def ListAlgorithms(
        self, request: search_v1.ListAlgorithmsRequest, context: _Context
    ) -> search_v1.ListAlgorithmsResponse:
        """Lists the algorithms that are installed."""
        return search_v1.ListAlgorithmsResponse(
            algorithms=[
                search_v1.Algorithm(name=name, description=algorithm.description)
                for name, algorithm in self._studies.algorithms.items()
            ]
        )

    def _build(self, message: search_v1.Study) -> Study:
        StudyName.parse(message.name)
        study = self._studies.build(*convert.study_spec(message))
        for warning in study.warnings:
            _log.warning("setting_has_no_effect", study=message.name, detail=warning)
        return study


def _replay(study: Study, entry: search_v1.StudyEntry) -> None:
    change = convert_log.change(study.spec.name, entry, study.spec.stage_ids)
    study.replay(entry.revision, change)


def _tell(study: Study, request: search_v1.TellObservationsRequest) -> None:
    told = convert.observations(study.spec.name, request.observations)
    study.tell(request.revision, told)


def _page_start(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdecimal() and len(token) < 19):
        raise ArgumentInvalid(f"page token `{token[:40]}` was not given by this service")
    return int(token)

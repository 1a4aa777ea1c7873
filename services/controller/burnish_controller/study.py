"""One job's study: our ledger of entries is the truth, the search service a cache of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, NotFound
from burnish_controller.features import features_of
from burnish_controller.peers import CALL_SECONDS, Peers, patiently
from burnish_controller.store.study_log import StudyLog

_Response = TypeVar("_Response", bound=Message)


class StudySession:
    """Asks and tells one study. Every method may be called again after a crash."""

    def __init__(
        self, peers: Peers, log: StudyLog, job_id: str, study: Callable[[], search_v1.Study]
    ) -> None:
        """Asks nothing yet.

        Args:
            peers: Where the search service is.
            log: The ledger of entries.
            job_id: The job.
            study: Builds the study as the search service is given it, which is seldom.
        """
        self._search = peers.search
        self._studies = peers.studies
        self._log = log
        self._job_id = job_id
        self._name = f"studies/{job_id}"
        self._study = study

    async def add_components(self, key: str, found: Sequence[types_v1.Component]) -> None:
        """Adds components to the space."""
        slim = [_without_text(component) for component in found]
        await self._change(
            f"space/{key}",
            lambda revision: search_v1.StudyEntry(
                revision=revision, components_added=search_v1.ComponentsAdded(components=slim)
            ),
        )

    async def retire(self, key: str, component_ids: Sequence[str]) -> None:
        """Takes components out of the space; what was observed of them stays."""
        await self._change(
            f"retired/{key}",
            lambda revision: search_v1.StudyEntry(
                revision=revision,
                components_retired=search_v1.ComponentsRetired(component_ids=component_ids),
            ),
        )

    async def tell(self, key: str, observations: Sequence[types_v1.Observation]) -> None:
        """Tells observations in canonical order."""
        await self._change(
            f"told/{key}",
            lambda revision: search_v1.StudyEntry(
                revision=revision,
                observations_told=search_v1.ObservationsTold(observations=observations),
            ),
        )

    async def close(self, ask_index: int) -> None:
        """Closes a work."""
        await self._change(
            f"closed/{ask_index}",
            lambda revision: search_v1.StudyEntry(
                revision=revision, work_closed=search_v1.WorkClosed(ask_index=ask_index)
            ),
        )

    async def asked(self, ask_index: int) -> search_v1.Work | None:
        """Returns the work of an ask that was answered before, else None."""
        entry = await self._log.entry(self._job_id, f"work/{ask_index}")
        return None if entry is None else entry.work_suggested

    async def ask(self, ask_index: int, *, remaining: int | None) -> search_v1.Work:
        """Returns the work of an ask, the same however often it is called.

        Args:
            ask_index: From 0, without gaps.
            remaining: Most cells that the budget still allows; None means no limit.
        """
        known = await self.asked(ask_index)
        if known is not None:
            return known
        revision = await self._log.revision(self._job_id)
        request = search_v1.SuggestWorkRequest(
            study=self._name, ask_index=ask_index, as_of_revision=revision
        )
        if remaining is not None:
            request.remaining_cell_count = remaining
        response = await self._send(request, search_v1.SuggestWorkResponse)
        entry = await self._log.append(
            self._job_id,
            f"work/{ask_index}",
            lambda revision: search_v1.StudyEntry(revision=revision, work_suggested=response.work),
        )
        return entry.work_suggested

    async def rank(self, count: int) -> list[search_v1.RankedCandidate]:
        """Returns the candidates seen, best first."""
        return list((await self.preferred(count)).candidates)

    async def preferred(self, count: int) -> search_v1.RankCandidatesResponse:
        """Returns the candidates seen, the one to take first, and what it was chosen by."""
        revision = await self._log.revision(self._job_id)
        request = search_v1.RankCandidatesRequest(
            study=self._name, as_of_revision=revision, count=count
        )
        return await self._send(request, search_v1.RankCandidatesResponse)

    async def _change(self, key: str, build: Callable[[int], search_v1.StudyEntry]) -> None:
        """Makes a change, once however often it is called: in the ledger and in the service.

        Both at once, for a commit takes as long as the call. When it comes to nothing, the service
        is ahead of the ledger, finds the next change to be another one, and is refilled.
        """
        foreseen = await self._log.entry(self._job_id, key)
        if foreseen is None:
            foreseen = build(await self._log.revision(self._job_id) + 1)
        append = asyncio.ensure_future(self._log.append(self._job_id, key, build))
        try:
            await self._push(foreseen)
        finally:
            entry = await append
        if entry.revision != foreseen.revision:
            await self._push(entry)

    async def _push(self, entry: search_v1.StudyEntry) -> None:
        name, revision = self._name, entry.revision
        match entry.WhichOneof("change"):
            case "components_added":
                added = search_v1.AddComponentsRequest(
                    study=name, revision=revision, components=entry.components_added.components
                )
                await self._send(added, search_v1.AddComponentsResponse)
            case "components_retired":
                retired = search_v1.RetireComponentsRequest(
                    study=name,
                    revision=revision,
                    component_ids=entry.components_retired.component_ids,
                )
                await self._send(retired, search_v1.RetireComponentsResponse)
            case "observations_told":
                told = search_v1.TellObservationsRequest(
                    study=name, revision=revision, observations=entry.observations_told.observations
                )
                await self._send(told, search_v1.TellObservationsResponse)
            case "work_closed":
                closed = search_v1.CloseWorkRequest(
                    study=name, revision=revision, ask_index=entry.work_closed.ask_index
                )
                await self._send(closed, search_v1.CloseWorkResponse)

    async def _send(self, request: Message, response: type[_Response]) -> _Response:
        """Sends a request, after refilling the search service when it does not know the study."""

        async def call() -> _Response:
            return await self._studies.send(request, response, seconds=CALL_SECONDS)

        try:
            return await patiently(call)
        except BurnishError as error:
            if error.reason != "STUDY_STALE" and not isinstance(error, NotFound):
                raise
        await patiently(self._restore)
        return await patiently(call)

    async def _restore(self) -> search_v1.RestoreStudyResponse:
        entries = await self._log.entries(self._job_id)

        async def items() -> AsyncIterator[search_v1.RestoreStudyRequest]:
            yield search_v1.RestoreStudyRequest(study=self._study())
            for entry in entries:
                yield search_v1.RestoreStudyRequest(entry=entry)

        return await self._search.RestoreStudy(items(), timeout=4 * CALL_SECONDS)


def _without_text(component: types_v1.Component) -> types_v1.Component:
    """Returns a component as search needs it: what it is like, and not a word of it."""
    slim = types_v1.Component()
    slim.CopyFrom(component)
    slim.features.CopyFrom(features_of(component))
    if slim.WhichOneof("content") == "instruction":
        slim.instruction.CopyFrom(types_v1.Instruction())
    else:
        del slim.demo_set.demos[:]
    return slim

"""Search and proposer in memory: simple, deterministic, and told what to do wrong."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc import aio

from burnish import identity
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.tradeoffs import Offer, standings
from burnish_controller.pools import expand

Context = aio.ServicerContext[Any, Any]


class FakeSearch(search_v1.SearchServiceServicer):
    """Tries every candidate in turn on a batch of rows.

    Attributes:
        asks: Works before the search is finished.
        batch: Rows per work.
        briefs: Asks that are answered with a brief for the proposer, each an iteration of its own.
        greedy: Suggests rows without a look at what the budget still allows.
        refusal: What CreateStudy says; empty when it takes the study.
        choice: What it says that it chose the first candidate by.
        expected: What its model expects the first to earn; None without a model.
        away: Observations are answered as if nobody was there.
        created: Studies that were checked or created.
        told: Observations, in order.
        retired: Components that were retired.
        components: Components that it was told of.
    """

    def __init__(self) -> None:
        self.asks = 3
        self.batch = 4
        self.briefs: Sequence[int] = ()
        self.greedy = False
        self.refusal = ""
        self.choice = ""
        self.expected: types_v1.Estimate | None = None
        self.away = False
        self.created: list[search_v1.Study] = []
        self.told: list[types_v1.Observation] = []
        self.components: list[types_v1.Component] = []
        self.retired: set[str] = set()
        self._pool: Sequence[int] = ()

    @property
    def known(self) -> set[str]:
        """Ids of the components that it was told of."""
        return {one.component_id for one in self.components}

    async def CreateStudy(
        self, request: search_v1.CreateStudyRequest, context: Context
    ) -> search_v1.CreateStudyResponse:
        """Takes a study, or refuses it as it was told."""
        self.created.append(request.study)
        if self.refusal:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, self.refusal)
        self._pool = expand(request.study.online_pool)
        return search_v1.CreateStudyResponse(study=request.study)

    async def RestoreStudy(
        self, request_iterator: AsyncIterator[search_v1.RestoreStudyRequest], context: Context
    ) -> search_v1.RestoreStudyResponse:
        """Takes over a study's entries."""
        self.components = []
        async for item in request_iterator:
            if item.HasField("study"):
                self._pool = expand(item.study.online_pool)
            self.components += item.entry.components_added.components
        return search_v1.RestoreStudyResponse()

    async def AddComponents(
        self, request: search_v1.AddComponentsRequest, context: Context
    ) -> search_v1.AddComponentsResponse:
        """Adds components."""
        known = {one.component_id for one in self.components}
        self.components += [one for one in request.components if one.component_id not in known]
        return search_v1.AddComponentsResponse(revision=request.revision)

    async def RetireComponents(
        self, request: search_v1.RetireComponentsRequest, context: Context
    ) -> search_v1.RetireComponentsResponse:
        """Leaves components out from now on; the baseline's are not among them."""
        self.retired |= set(request.component_ids)
        return search_v1.RetireComponentsResponse(revision=request.revision)

    async def SuggestWork(
        self, request: search_v1.SuggestWorkRequest, context: Context
    ) -> search_v1.SuggestWorkResponse:
        """Suggests the next candidate on the next rows."""
        index = request.ask_index
        work = search_v1.Work(ask_index=index)
        rows = self.batch
        if request.HasField("remaining_cell_count") and not self.greedy:
            rows = min(rows, request.remaining_cell_count)
        if index >= self.asks or rows == 0:
            work.finished.reason = search_v1.FINISH_REASON_COMPLETED
            return search_v1.SuggestWorkResponse(work=work)
        if index in self.briefs:
            ranked = self._ranked()[:2]
            work.proposal.proposal_id = f"ask-{index}"
            work.proposal.count = 2
            work.proposal.iteration = list(self.briefs).index(index) + 1
            work.proposal.parent_candidate_ids.extend(one.candidate.candidate_id for one in ranked)
            return search_v1.SuggestWorkResponse(work=work, revision=request.as_of_revision + 1)
        candidates = self._candidates()
        trial = work.evaluation.trials.add(trial_index=index, kind=search_v1.TRIAL_KIND_MINIBATCH)
        trial.candidate.CopyFrom(candidates[(index + 1) % len(candidates)])
        for place in range(rows):
            trial.cells.add(
                candidate_id=trial.candidate.candidate_id,
                pool=types_v1.POOL_ONLINE,
                seed=self._pool[(index * self.batch + place) % len(self._pool)],
            )
        return search_v1.SuggestWorkResponse(work=work, revision=request.as_of_revision + 1)

    async def TellObservations(
        self, request: search_v1.TellObservationsRequest, context: Context
    ) -> search_v1.TellObservationsResponse:
        """Takes observations."""
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        self.told += request.observations
        return search_v1.TellObservationsResponse(revision=request.revision)

    async def CloseWork(
        self, request: search_v1.CloseWorkRequest, context: Context
    ) -> search_v1.CloseWorkResponse:
        """Takes note of nothing."""
        return search_v1.CloseWorkResponse(revision=request.revision)

    async def RankCandidates(
        self, request: search_v1.RankCandidatesRequest, context: Context
    ) -> search_v1.RankCandidatesResponse:
        """Ranks by the mean of what was told; the first candidate wins a tie."""
        ranked = self._ranked()[: request.count or 10]
        self._weigh(ranked)
        if self.expected is not None:
            ranked[0].expected.CopyFrom(self.expected)
        return search_v1.RankCandidatesResponse(candidates=ranked, choice=self.choice)

    def _weigh(self, ranked: Sequence[search_v1.RankedCandidate]) -> None:
        lengths = {one.component_id: one.features.character_count for one in self.components}
        offers = []
        for one in ranked:
            parts = one.candidate.stages.values()
            length = sum(lengths[part.instruction_id] + lengths[part.demo_set_id] for part in parts)
            one.objectives["prompt_length"].mean = length
            offers.append(Offer(reward=one.pooled.mean, deviation=0.0, cost=length))
        for one, standing in zip(ranked, standings(offers), strict=True):
            one.standing = types_v1.Standing.ValueType(standing)

    def _ranked(self) -> list[search_v1.RankedCandidate]:
        rewards: dict[str, list[float]] = defaultdict(list)
        for one in self.told:
            if one.WhichOneof("outcome") == "reward":
                rewards[one.cell.candidate_id].append(one.reward)
        ranked = [
            search_v1.RankedCandidate(
                candidate=one,
                pooled=types_v1.Estimate(
                    mean=sum(rewards[one.candidate_id]) / max(1, len(rewards[one.candidate_id]))
                ),
            )
            for one in self._candidates()
        ]
        ranked.sort(key=lambda one: -one.pooled.mean)
        return ranked

    def _candidates(self) -> list[types_v1.Candidate]:
        by_stage: dict[str, tuple[list[str], list[str]]] = {}
        for one in self.components:
            if one.component_id in self.retired:
                continue
            instructions, demo_sets = by_stage.setdefault(one.stage_id, ([], []))
            (instructions if one.HasField("instruction") else demo_sets).append(one.component_id)
        # Demo sets outside, so that the first candidates differ in their instruction.
        choices = [
            [(instruction, demos) for demos in demo_sets for instruction in instructions]
            for instructions, demo_sets in by_stage.values()
        ]
        return [
            _candidate(dict(zip(by_stage, choice, strict=True)))
            for choice in itertools.product(*choices)
        ]


class FakeProposer(proposer_v1.ProposerServiceServicer):
    """Writes `Better 1.`, `Better 2.` and so on, without a call of any model.

    Attributes:
        text: What it writes for a request, by position from 1.
        requests: What it was asked.
    """

    def __init__(self) -> None:
        self.text: Callable[[proposer_v1.ProposeInstructionsRequest, int], str] = (
            lambda request, index: f"Better {index}."
        )
        self.requests: list[proposer_v1.ProposeInstructionsRequest] = []

    async def ProposeInstructions(
        self, request: proposer_v1.ProposeInstructionsRequest, context: Context
    ) -> AsyncIterator[proposer_v1.ProposeInstructionsResponse]:
        """Streams the baseline, then the new ones."""
        stage = request.stage
        self.requests.append(request)
        for index in range(request.count + 1):
            text = self.text(request, index) if index else stage.baseline_instruction
            yield proposer_v1.ProposeInstructionsResponse(
                instruction=proposer_v1.ProposedInstruction(
                    index=index, stage_id=stage.stage_id, text=text, model="fake"
                )
            )
        yield proposer_v1.ProposeInstructionsResponse(
            summary=proposer_v1.ProposalSummary(description="fake, shown nothing")
        )

    async def SummarizeDataset(
        self, request: proposer_v1.SummarizeDatasetRequest, context: Context
    ) -> proposer_v1.SummarizeDatasetResponse:
        """Says how many rows there are."""
        return proposer_v1.SummarizeDatasetResponse(summary=f"{len(request.examples)} rows")

    async def ListProposers(
        self, request: proposer_v1.ListProposersRequest, context: Context
    ) -> proposer_v1.ListProposersResponse:
        """Lists itself."""
        return proposer_v1.ListProposersResponse(proposers=[proposer_v1.Proposer(name="fake")])


def _candidate(choices: Mapping[str, tuple[str, str]]) -> types_v1.Candidate:
    return types_v1.Candidate(
        candidate_id=identity.candidate_id(choices),
        stages={
            stage: types_v1.StageChoice(instruction_id=instruction, demo_set_id=demos)
            for stage, (instruction, demos) in choices.items()
        },
    )

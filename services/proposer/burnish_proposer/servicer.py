"""The proposer's RPCs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import aclosing

import grpc

from burnish.api.proposer import v1 as proposer_v1
from burnish_proposer import convert
from burnish_proposer.brief import Effort
from burnish_proposer.grounded import GroundedProposer
from burnish_proposer.summary import summarize
from burnish_proposer.tiers import ModelChoice
from burnish_runtime.llm.accounts import CallDesk, LedgeredModel
from burnish_runtime.llm.registry import ProviderRegistry

ProposeContext = grpc.aio.ServicerContext[
    proposer_v1.ProposeInstructionsRequest,
    AsyncIterator[proposer_v1.ProposeInstructionsResponse],
]
SummarizeContext = grpc.aio.ServicerContext[
    proposer_v1.SummarizeDatasetRequest, Awaitable[proposer_v1.SummarizeDatasetResponse]
]
ListContext = grpc.aio.ServicerContext[
    proposer_v1.ListProposersRequest, Awaitable[proposer_v1.ListProposersResponse]
]


class ProposerServicer(proposer_v1.ProposerServiceServicer):
    """Writes instructions and summaries; keeps nothing."""

    def __init__(
        self, *, registry: ProviderRegistry, desk: CallDesk, models: Mapping[Effort, ModelChoice]
    ) -> None:
        """Takes what the calls are made with.

        Args:
            registry: Providers.
            desk: Where paid calls are made.
            models: Model of each effort, for requests that name none.
        """
        self._registry = registry
        self._desk = desk
        self._models = models

    async def ProposeInstructions(
        self, request: proposer_v1.ProposeInstructionsRequest, context: ProposeContext
    ) -> AsyncIterator[proposer_v1.ProposeInstructionsResponse]:
        """Streams instructions as they are written."""
        payment, brief = convert.proposal(request, models=self._models)
        model = await self._open(payment)
        proposer = GroundedProposer(brief, model=model, settings=payment.settings)
        async with aclosing(proposer.run()) as events:
            async for event in events:
                yield convert.outcome(event, stage_id=brief.stage_id, model=payment.spec.model)
        text = convert.description(
            payment, brief, rows=proposer.rows_shown, failures=proposer.failures_shown
        )
        yield proposer_v1.ProposeInstructionsResponse(
            summary=proposer_v1.ProposalSummary(usage=model.spent, description=text)
        )

    async def SummarizeDataset(
        self, request: proposer_v1.SummarizeDatasetRequest, context: SummarizeContext
    ) -> proposer_v1.SummarizeDatasetResponse:
        """Describes a data set in a few sentences."""
        payment = convert.summary_payment(request, models=self._models)
        model = await self._open(payment)
        summary = await summarize(
            convert.examples(list(request.examples)),
            model=model,
            settings=payment.settings,
            limits=convert.summary_limits(payment),
        )
        return proposer_v1.SummarizeDatasetResponse(summary=summary, usage=model.spent)

    async def ListProposers(
        self, request: proposer_v1.ListProposersRequest, context: ListContext
    ) -> proposer_v1.ListProposersResponse:
        """Lists the proposers that are installed."""
        return convert.proposers({})

    async def _open(self, payment: convert.Payment) -> LedgeredModel:
        provider = await asyncio.to_thread(
            self._registry.get, payment.spec.provider, base_url=payment.spec.base_url
        )
        return self._desk.model(provider, spec=payment.spec, account=payment.account)

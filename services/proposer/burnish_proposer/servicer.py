"""The proposer's RPCs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing

import grpc

from burnish.api.proposer import v1 as proposer_v1
from burnish_proposer import convert
from burnish_proposer.batch import Batch
from burnish_proposer.brief import Brief, Effort
from burnish_proposer.given import GivenTexts, NoModel
from burnish_proposer.grounded import NAME as BUILT_IN
from burnish_proposer.plugins import find_writer
from burnish_proposer.summary import summarize
from burnish_proposer.tiers import ModelChoice
from burnish_proposer.writers import Writer
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
        self,
        *,
        registry: ProviderRegistry,
        desk: CallDesk,
        models: Mapping[Effort, ModelChoice],
        writers: Mapping[str, Writer],
    ) -> None:
        """Takes what the calls are made with.

        Args:
            registry: Providers.
            desk: Where paid calls are made.
            models: Model of each effort, for requests that name none.
            writers: Who may write, by name; the built-in writer is among them.
        """
        self._writers = writers
        self._registry = registry
        self._desk = desk
        self._models = models

    async def ProposeInstructions(
        self, request: proposer_v1.ProposeInstructionsRequest, context: ProposeContext
    ) -> AsyncIterator[proposer_v1.ProposeInstructionsResponse]:
        """Streams instructions as they are written."""
        payment, brief = convert.proposal(request, models=self._models)
        name = request.proposer or BUILT_IN
        if request.given_texts:
            async for outcome in _judged(request.given_texts, payment, brief):
                yield outcome
            return
        writer = find_writer(self._writers, name)
        model = await self._open(payment)
        batch = Batch(brief, model=model, settings=payment.settings, writer=writer)
        async with aclosing(batch.run()) as events:
            async for event in events:
                author = payment.spec.model if name == BUILT_IN else name
                yield convert.outcome(event, stage_id=brief.stage_id, model=author)
        written = convert.Written(proposer=name, brief=brief)
        yield convert.summary(batch, written, payment=payment, usage=model.spent)

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
        return convert.proposers(self._writers)

    async def _open(self, payment: convert.Payment) -> LedgeredModel:
        provider = await asyncio.to_thread(
            self._registry.get, payment.spec.provider, base_url=payment.spec.base_url
        )
        return self._desk.model(provider, spec=payment.spec, account=payment.account)


async def _judged(
    texts: Sequence[str], payment: convert.Payment, brief: Brief
) -> AsyncIterator[proposer_v1.ProposeInstructionsResponse]:
    """Streams what the guards say of texts that someone else wrote."""
    batch = Batch(brief, model=NoModel(), settings=payment.settings, writer=GivenTexts(texts))
    async with aclosing(batch.run()) as events:
        async for event in events:
            yield convert.outcome(event, stage_id=brief.stage_id, model="")
    written = convert.Written(proposer="given", brief=brief)
    yield convert.summary(batch, written, payment=payment, usage=convert.nothing_spent())

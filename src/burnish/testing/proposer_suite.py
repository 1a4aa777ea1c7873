"""The contract of a proposer, as tests to inherit. They run over the wire, so for any language.

    class TestMine(ProposerSuite):
        def serve(self):
            return connected_to_my_proposer()

A plug-in of the suite's own proposer service is named by `proposer`. Needs pytest with
pytest-asyncio in auto mode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import grpc
import pytest
from grpc import aio

from burnish.api.proposer import v1 as proposer_v1

_SECONDS = 60.0
_BASELINE = "Sort {query} into delivery, refund or account. Answer with the label only."
_ROWS = {
    "delivery": ("where is my parcel today", "the courier never rang the bell at all"),
    "refund": ("i want my money back now", "you charged my card twice for one order"),
    "account": ("my password does not work", "please change the email of my login today"),
}


class ProposerSuite(ABC):
    """What every proposer must do.

    Attributes:
        proposer: Name of the plug-in that is asked for; empty for a service of its own.
        options: More fields of the requests, such as the meta-model.
    """

    proposer: ClassVar[str] = ""
    options: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def serve(self) -> AbstractAsyncContextManager[aio.Channel]:
        """Returns a channel to a proposer that is running."""

    def request(self, **fields: Any) -> proposer_v1.ProposeInstructionsRequest:  # noqa: ANN401
        """Returns a request for three instructions of a small task; fields replace what it says."""
        given: dict[str, Any] = {
            "context": proposer_v1.ProposalContext(
                job="jobs/contract", request_id="contract/1", attempt=1
            ),
            "stage": proposer_v1.StageBrief(
                stage_id="sort",
                baseline_instruction=_BASELINE,
                placeholders=["query"],
                protected_texts=["Answer with the label only."],
            ),
            "count": 3,
            "retry_limit": 3,
            "random_seed": 5,
            "examples": [
                proposer_v1.ExamplePair(input=f"{text} {number}", output=label)
                for label, texts in _ROWS.items()
                for text in texts
                for number in range(4)
            ],
            "proposer": self.proposer,
        }
        return proposer_v1.ProposeInstructionsRequest(**(given | self.options | fields))

    async def ask(
        self, channel: aio.Channel, request: proposer_v1.ProposeInstructionsRequest
    ) -> list[proposer_v1.ProposeInstructionsResponse]:
        """Returns everything that a proposer streams for a request."""
        stub = proposer_v1.ProposerServiceStub(channel)
        return [one async for one in stub.ProposeInstructions(request, timeout=_SECONDS)]

    async def test_the_baseline_comes_first_and_unchanged(self) -> None:
        """Position 0 is the baseline, by nobody."""
        async with self.serve() as channel:
            first, *_ = await self.ask(channel, self.request())
        assert first.instruction.index == 0
        assert first.instruction.text == _BASELINE
        assert first.instruction.model == ""

    async def test_positions_come_in_order_and_a_summary_last(self) -> None:
        """Every position is answered or refused, in order; the summary says who wrote."""
        async with self.serve() as channel:
            responses = await self.ask(channel, self.request())
        *outcomes, last = responses
        assert last.HasField("summary")
        assert last.summary.description
        places = [
            one.instruction.index if one.HasField("instruction") else one.refusal.index
            for one in outcomes
        ]
        assert places == sorted(places)
        assert set(places) == {0, 1, 2, 3}

    async def test_instructions_are_new_and_keep_what_must_be_kept(self) -> None:
        """Placeholders and protected texts are there, and no two instructions are the same."""
        async with self.serve() as channel:
            responses = await self.ask(channel, self.request())
        texts = [one.instruction.text for one in responses if one.HasField("instruction")]
        assert len(texts) > 1
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert "{query}" in text
            assert "Answer with the label only." in text

    async def test_no_row_is_copied(self) -> None:
        """No row of six words or more stands in an instruction."""
        request = self.request()
        async with self.serve() as channel:
            responses = await self.ask(channel, request)
        rows = [row.input for row in request.examples if len(row.input.split()) >= 6]
        for one in responses:
            assert not [row for row in rows if row in one.instruction.text]

    async def test_the_same_request_is_answered_the_same(self) -> None:
        """A request that is repeated after a crash gives the same instructions."""
        async with self.serve() as channel:
            first = await self.ask(channel, self.request())
            again = await self.ask(channel, self.request())
        assert [one.instruction for one in first] == [one.instruction for one in again]

    async def test_a_stage_without_rows_is_written_for_as_well(self) -> None:
        """Nothing known but the baseline is enough not to fail."""
        async with self.serve() as channel:
            responses = await self.ask(channel, self.request(examples=[], count=1))
        assert responses[0].instruction.text == _BASELINE
        assert responses[-1].HasField("summary")

    async def test_a_request_without_a_stage_is_refused(self) -> None:
        """A fault of the request is INVALID_ARGUMENT, told before anything is written."""
        async with self.serve() as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await self.ask(channel, self.request(stage=proposer_v1.StageBrief()))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

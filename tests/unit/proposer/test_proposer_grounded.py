"""One batch of proposals, with a model that is a function."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from burnish_proposer.batch import Batch, Proposed, Refused
from burnish_proposer.brief import Brief, Effort, Example, OutputTier
from burnish_proposer.guards import RefusalReason
from burnish_proposer.summary import SummaryLimits, summarize
from burnish_proposer.tips import TIPS, draw_tip
from burnish_proposer.writers import CallSettings
from burnish_runtime.llm.base import Completion, CompletionRequest

BRIEF = Brief(
    stage_id="s",
    baseline="Answer the question.",
    count=8,
    random_seed=1,
    effort=Effort.LOW,
    output_tier=OutputTier.FAST,
    retry_limit=2,
    examples=(Example(input="how tall is the tower of Pisa", output="tall"),),
)
SETTINGS = CallSettings(model="m", max_output_tokens=10_000, temperature=1.0)


def variant_of(request: CompletionRequest) -> int:
    found = re.search(r"<variant>(\d+)</variant>", request.messages[-1].content)
    assert found is not None
    return int(found.group(1))


class Model:
    """Answers by variant; an answer may take a while, and the most at once is counted."""

    def __init__(
        self, answer: Callable[[int], str], *, turns: Callable[[int], int] = lambda variant: 0
    ) -> None:
        self.requests: list[CompletionRequest] = []
        self.running = 0
        self.most = 0
        self._answer = answer
        self._turns = turns

    async def complete(self, request: CompletionRequest) -> Completion:
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(self._turns(variant_of(request))):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        text = self._answer(variant_of(request))
        finish = "length" if text.endswith("cut") else "stop"
        return Completion(text=text, body=text.encode(), finish_reason=finish)


def different(variant: int) -> str:
    return json.dumps({"instruction": f"Idea {variant}: " + "abcdefghijklmnop"[variant] * 9})


async def outcomes(model: Model, brief: Brief = BRIEF) -> list[Proposed | Refused]:
    proposer = Batch(brief, model=model, settings=SETTINGS)
    async with aclosing(proposer.run()) as events:
        return [event async for event in events]


async def test_outcomes_come_in_order_whatever_the_order_of_the_answers():
    slow_first = await outcomes(Model(different, turns=lambda variant: 50 - 5 * variant))
    assert [event.index for event in slow_first] == list(range(9))
    assert slow_first == await outcomes(Model(different, turns=lambda variant: 5 * variant))


async def test_at_most_four_calls_run_at_once():
    full = asyncio.Event()

    class Meeting(Model):
        async def complete(self, request: CompletionRequest) -> Completion:
            if self.running == 3:
                full.set()
            self.running += 1
            self.most = max(self.most, self.running)
            await full.wait()
            self.running -= 1
            return await super().complete(request)

    model = Meeting(different)
    async with asyncio.timeout(60):
        await outcomes(model)
    assert model.most == 4


async def test_equal_briefs_make_equal_calls_and_another_seed_makes_others():
    first, second, other = Model(different), Model(different), Model(different)
    await outcomes(first)
    await outcomes(second)
    await outcomes(other, replace(BRIEF, random_seed=2))

    def sent(model: Model) -> dict[int, CompletionRequest]:
        return {variant_of(request): request for request in model.requests}

    assert sent(first) == sent(second)
    assert sent(first) != sent(other)


async def test_every_call_of_a_batch_is_another_request():
    model = Model(lambda variant: different(variant) if variant != 3 else "{}")
    await outcomes(model)
    variants = [variant_of(request) for request in model.requests]
    assert sorted(variants) == [0, 1, 2, 3, 4, 5, 6, 7, 11]
    assert len({request.seed for request in model.requests}) == 9


async def test_siblings_that_are_the_same_are_refused_but_the_first():
    events = await outcomes(
        Model(lambda variant: different(0)), replace(BRIEF, count=2, retry_limit=1)
    )
    assert [type(event) for event in events] == [Proposed, Proposed, Refused, Refused]
    assert isinstance(events[2], Refused)
    assert events[2].refusal.reason is RefusalReason.DUPLICATE


async def test_an_answer_that_ran_into_the_limit_is_told_so():
    events = await outcomes(
        Model(lambda variant: '{"instruction": "cut'), replace(BRIEF, count=1, retry_limit=0)
    )
    assert isinstance(events[1], Refused)
    assert events[1].refusal.reason is RefusalReason.UNPARSABLE
    assert "output limit" in events[1].refusal.message


async def test_leaving_early_stops_the_calls_that_run():
    model = Model(different, turns=lambda variant: 10 if variant == 0 else 1_000_000)
    proposer = Batch(BRIEF, model=model, settings=SETTINGS)
    async with aclosing(proposer.run()) as events:
        async for event in events:
            if event.index == 1:
                break
    assert model.running == 0


async def test_a_failure_of_one_call_ends_the_batch_after_what_came_before():
    class Broken(Exception):
        pass

    def answer(variant: int) -> str:
        if variant == 2:
            raise Broken
        return different(variant)

    seen: list[int] = []

    async def run() -> None:
        async with aclosing(Batch(BRIEF, model=Model(answer), settings=SETTINGS).run()) as events:
            async for event in events:
                seen.append(event.index)

    with pytest.raises(Broken):
        await run()
    assert seen == [0, 1, 2]


def test_tips_are_drawn_by_seed_and_all_occur():
    draws = [draw_tip(random_seed=1, variant=variant) for variant in range(200)]
    assert draws == [draw_tip(random_seed=1, variant=variant) for variant in range(200)]
    assert set(draws) == set(TIPS)


async def test_a_summary_keeps_the_last_usable_answer():
    answers = iter(['{"summary": "One."}', "{}", '{"summary": "Two."}'])

    def answer(variant: int) -> str:
        return next(answers)

    rows = [Example(input=str(number), output="x") for number in range(30)]
    limits = SummaryLimits(calls=3, batch_rows=10, max_tokens=10_000)
    text = await summarize(rows, model=Model(answer), settings=SETTINGS, limits=limits)
    assert text == "Two."


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (10, 1), (11, 2), (25, 3), (500, 3)])
async def test_a_summary_looks_at_no_more_than_it_may(count, calls):
    rows = [Example(input=str(number), output="x") for number in range(count)]
    limits = SummaryLimits(calls=3, batch_rows=10, max_tokens=10_000)
    model = Model(lambda variant: json.dumps({"summary": f"s{variant}"}))
    await summarize(rows, model=model, settings=SETTINGS, limits=limits)
    assert len(model.requests) == calls
    for request in model.requests:
        assert 1 <= request.messages[-1].content.count('"output"') <= 10

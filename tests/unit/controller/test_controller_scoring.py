"""Rollouts are scored in shared requests, none is forgotten, each waiter gets its own answer."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument
from burnish_controller.peers import Peers
from burnish_controller.scoring import Scorer, ScoringOrder, judgement_scope

WEIGHTS = types_v1.RewardWeights(outcome=1.0)


class Verifier:
    """Answers each request after some turns of the loop."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.error: Exception | None = None
        self.turns = 1
        self.in_flight = 0
        self.most = 0

    async def ScoreRollouts(self, request: Any, timeout: float) -> Any:  # noqa: ASYNC109
        self.sizes.append(len(request.rollouts))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        for _ in range(self.turns):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if self.error is not None:
            raise self.error
        return verifier_v1.ScoreRolloutsResponse(
            scored_rollouts=[
                verifier_v1.ScoredRollout(
                    rollout_id=one.rollout_id, reward=types_v1.Reward(fused=0.5)
                )
                for one in request.rollouts
            ]
        )


def scorer(bank: Any, verifier: Verifier, *, graph: str) -> Scorer:
    order = ScoringOrder(
        job_id="job1", graph=graph, weights=WEIGHTS, judge_options=verifier_v1.JudgeOptions()
    )
    peers = cast(Peers, SimpleNamespace(verifier=verifier))
    return Scorer(peers, bank.ledger(), order)


async def scored(one: Scorer, name: str) -> str:
    result = types_v1.RolloutResult(rollout_id=name)
    found = await one.score(result, closing=False, before=False)
    return str(found.scored.rollout_id)


@pytest.mark.parametrize("graph", ["", "verifierGraphs/g/versions/1"])
@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_whenever_a_rollout_comes_it_gets_its_own_answer(bank, graph, turns):
    verifier = Verifier()
    verifier.turns = turns
    one = scorer(bank, verifier, graph=graph)

    async def late(number: int) -> str:
        # Each at another turn of the loop, some just as a request before ends.
        for _ in range(number):
            await asyncio.sleep(0)
        return await scored(one, f"r{number}")

    async with asyncio.timeout(20):
        names = await asyncio.gather(*(late(number) for number in range(60)))
    assert names == [f"r{number}" for number in range(60)]
    assert sum(verifier.sizes) == 60


async def test_without_a_graph_what_waits_shares_one_request_at_a_time(bank):
    verifier = Verifier()
    verifier.turns = 3
    one = scorer(bank, verifier, graph="")
    await asyncio.gather(*(scored(one, f"r{number}") for number in range(300)))
    assert verifier.most == 1
    assert max(verifier.sizes) <= 256
    assert len(verifier.sizes) < 10


async def test_with_a_graph_no_rollout_waits_for_anothers_judge_while_few_are_asked(bank):
    verifier = Verifier()
    verifier.turns = 50
    one = scorer(bank, verifier, graph="verifierGraphs/g/versions/1")

    async def late(number: int) -> str:
        for _ in range(3 * number):
            await asyncio.sleep(0)
        return await scored(one, f"r{number}")

    await asyncio.gather(*(late(number) for number in range(8)))
    assert verifier.sizes == [1] * 8
    assert verifier.most > 1


async def test_an_error_reaches_everyone_who_waits_and_the_next_is_scored(bank):
    verifier = Verifier()
    verifier.error = InvalidArgument("no such graph")
    one = scorer(bank, verifier, graph="")
    found = await asyncio.gather(
        *(scored(one, f"r{number}") for number in range(3)), return_exceptions=True
    )
    assert all(isinstance(error, InvalidArgument) for error in found)
    verifier.error = None
    assert await scored(one, "r9") == "r9"


def test_judgements_have_scopes_of_their_own():
    assert judgement_scope("job1", "r1") == "judgements/job1/r1"

"""The shipped graphs through a real channel, judged by the simulated judge of a real server."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.local.server import start_local_server
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import running
from burnish_verifier.app import VerifierApp
from burnish_verifier.shipped import shipped_graphs

SECONDS = 60.0
RUBRIC = {
    "event": [{"id": "spoke", "description": "Is not empty"}],
    "outcome": {
        "criteria": [
            {"name": "right", "description": "Is exactly the reference", "weight": 3},
            {"name": "looked", "description": 'The trace mentions "price list opened"'},
        ]
    },
}


def trace_of(*texts: str) -> bytes:
    messages: list[dict[str, Any]] = []
    events = []
    for text in texts:
        reply = {"role": "assistant", "content": text}
        asked = [*messages, {"role": "user", "content": "go on"}]
        events.append({"llm_request": {"messages": asked}, "llm_response": {"message": reply}})
        messages = [*asked, reply]
    return json.dumps({"event_history": events}).encode()


TRACES = {
    "good": trace_of("price list opened", "49"),
    "lazy": trace_of("guess", "49"),
    "wrong": trace_of("guess", "50"),
}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[verifier_v1.VerifierServiceStub]:
    server = await start_local_server()
    try:
        settings = ServiceSettings(
            service="verifier", state_dir=folder, local_model_url=server.base_url
        )
        async with running(VerifierApp(settings)) as channel:
            yield verifier_v1.VerifierServiceStub(channel)
    finally:
        await server.stop()


async def scored(
    stub: verifier_v1.VerifierServiceStub, graph: str, **more: Any
) -> Sequence[verifier_v1.ScoredRollout]:
    good = json.dumps({"event_history": []}).encode()
    options = verifier_v1.JudgeOptions(
        rubric_source=json.dumps(RUBRIC).encode(),
        model=types_v1.ModelSpec(provider="local", model="local-judge"),
        calibration_examples=[
            verifier_v1.CalibrationExample(session_trace=TRACES["good"], outcome_reward=1.0)
        ],
        gold_examples=[
            verifier_v1.GoldExample(summary="49", gold_reward=1.0, session_trace=TRACES["good"]),
            verifier_v1.GoldExample(summary="none", gold_reward=0.0, session_trace=good),
        ],
    )
    request = verifier_v1.ScoreRolloutsRequest(
        verifier_graph=f"verifierGraphs/{graph}",
        rollouts=[
            types_v1.RolloutResult(
                rollout_id=name,
                output=b'"50"' if name == "wrong" else b'"49"',
                reference=b'"49"',
                environment_reward=0.5,
            )
            for name in TRACES
        ],
        session_traces=TRACES,
        judge_options=options,
        include_node_results=True,
        **more,
    )
    async with rpc.translated():
        response = await stub.ScoreRollouts(request, timeout=SECONDS)
    found: Sequence[verifier_v1.ScoredRollout] = response.scored_rollouts
    return found


@pytest.mark.parametrize("graph", sorted(shipped_graphs()))
async def test_every_shipped_graph_ranks_work_by_the_rubric_of_the_request(tmp_path, graph):
    weights = types_v1.RewardWeights(environment=1.0, event=1.0, outcome=2.0)
    async with served(tmp_path) as stub:
        found = {each.rollout_id: each for each in await scored(stub, graph, weights=weights)}
    outcomes = {name: each.reward.outcome for name, each in found.items()}
    assert outcomes["good"] > outcomes["lazy"] > outcomes["wrong"]
    if "contrastive" not in graph:
        assert outcomes == pytest.approx({"good": 1.0, "lazy": 0.75, "wrong": 0.0})
    for each in found.values():
        reward = each.reward
        assert reward.event == 1.0
        assert reward.fused == pytest.approx((0.5 + reward.event + 2 * reward.outcome) / 4)
        judges = [node for node in each.node_results if node.criteria]
        assert judges
        assert all(node.simulated for node in judges)
        assert all("(simulated)" in one.reason for node in judges for one in node.criteria)


async def test_a_judgement_is_kept_and_a_repeat_is_judged_anew(tmp_path):
    graph = "zero_shot_verifier_rubric_single"
    async with served(tmp_path) as stub:
        first, again, repeat = [
            (await scored(stub, graph, repeat=number))[0].node_results[0] for number in (0, 0, 1)
        ]
    assert (first.cached, again.cached, repeat.cached) == (False, True, False)
    assert first.usage.call_count == repeat.usage.call_count == 2
    assert again.usage.call_count == 0
    assert first.score == again.score == repeat.score


async def test_a_reading_judge_shows_where_it_read(tmp_path):
    async with served(tmp_path) as stub:
        node = (await scored(stub, "zero_shot_verifier_rubric_rlm"))[0].node_results[0]
    assert any("price list opened" in each.snippet for each in node.evidence)

"""Rollouts and verifier graphs through the SDK, asynchronous and plain."""

import asyncio

import pytest

from burnish import AsyncClient, Client
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import NotFound
from burnish.graphs import ScoreOptions, graph_name
from burnish_controller.testing import small_job
from burnish_controller.testing.world import world

HALF = types_v1.RewardWeights(environment=0.5, outcome=0.5)


def graph() -> verifier_v1.VerifierGraph:
    found = verifier_v1.VerifierGraph(output_node="exact", description="same words")
    found.nodes.add(node_id="exact").builtin.check = "exact_match"
    return found


async def test_a_graph_is_checked_registered_and_found_again(tmp_path):
    async with (
        world(tmp_path) as running,
        AsyncClient(running.target, token="test-token") as client,
    ):
        checked = await client.graphs.check(graph())
        assert (checked.name, checked.version) == ("", 0)
        made = await client.graphs.register(graph(), name="mine")
        found = await client.graphs.get("mine")
        with pytest.raises(NotFound):
            await client.graphs.get("none")
    assert made.graph_id == found.graph_id == "mine"
    assert found.version == 1
    assert found.nodes == (("exact", "builtin"),)
    assert found.description == "same words"


async def test_rollouts_are_scored_with_their_parts_and_without_a_job(tmp_path):
    async with world(tmp_path) as running:
        running.verifier.outcome = lambda name, one: 0.25
        async with AsyncClient(running.target, token="test-token") as client:
            await client.graphs.register(graph(), name="mine")
            given = types_v1.RolloutResult(rollout_id="r1", environment_reward=1.0)
            (score,) = await client.graphs.score(
                "mine", [given], options=ScoreOptions(weights=HALF)
            )
    assert score.reward == pytest.approx(0.625)
    assert score.parts == {"environment": 1.0, "outcome": 0.25}
    assert score.failure is None


async def test_a_jobs_rollouts_are_read_by_plain_code_with_parts_and_weights(tmp_path):
    scoring = job_v1.ScoringSpec(verifier_graph=graph(), weights=HALF)
    async with world(tmp_path) as running:
        running.verifier.outcome = lambda name, one: 0.0
        await running.create(small_job(scoring=scoring))
        await running.finished()

        def read() -> list[tuple[float | None, dict[str, float], dict[str, float]]]:
            with Client(running.target, token="test-token") as client:
                found = client.rollouts.of_job("job1", phase="test")
                return [(one.reward, dict(one.parts), dict(one.weights)) for one in found]

        rows = await asyncio.to_thread(read)
        everything = await running.rollouts(phase="test")
    assert len(rows) == len(everything) > 0
    for reward, parts, weights in rows:
        assert weights == {"environment": 0.5, "outcome": 0.5}
        assert reward == pytest.approx(parts["environment"] / 2)
        assert parts["outcome"] == 0.0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mine", "verifierGraphs/mine"),
        ("mine@3", "verifierGraphs/mine/versions/3"),
        ("verifierGraphs/mine/versions/3", "verifierGraphs/mine/versions/3"),
        ("mine@latest", "verifierGraphs/mine@latest"),
    ],
)
def test_a_graph_is_named_by_id_by_id_and_version_or_in_full(text, name):
    assert graph_name(text) == name

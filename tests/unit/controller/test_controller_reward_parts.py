"""The parts of a reward and their weights stand beside it, by rollout and version of the graph."""

from dataclasses import replace

from sqlalchemy import insert, select

from burnish.api.types import v1 as types_v1
from burnish_controller.store.rollouts import FinishedRollout, RolloutPage
from burnish_controller.store.tables import rewards

GRAPH = "verifierGraphs/g/versions/2"
WEIGHTS = types_v1.RewardWeights(environment=0.5, outcome=0.5)


def rollout(
    name: str = "r1", *, graph: str = GRAPH, candidate: str = "c", phase: str = "search"
) -> FinishedRollout:
    cell = types_v1.Cell(candidate_id=candidate, pool=types_v1.POOL_ONLINE, seed=1)
    return FinishedRollout(
        job_id="job1",
        phase=phase,
        attempt=1,
        result=types_v1.RolloutResult(rollout_id=name, cell=cell),
        reward=types_v1.Reward(fused=0.75, environment=1.0, outcome=0.5),
        cost_usd=None,
        graph=graph,
        weights=WEIGHTS,
    )


async def test_parts_weights_and_graph_are_read_back_with_the_reward(stores):
    await stores.rollouts.save(rollout())
    found = (await stores.restarted().rollouts.by_ids(["r1"]))["r1"]
    assert (found.reward.environment, found.reward.outcome) == (1.0, 0.5)
    assert not found.reward.HasField("event")
    assert found.weights == WEIGHTS
    assert found.graph == GRAPH
    assert found.end_time > 0


async def test_a_part_that_was_not_given_is_no_zero_in_the_table(stores):
    await stores.rollouts.save(rollout())
    async with stores.database.engine.connect() as connection:
        row = (await connection.execute(select(rewards))).mappings().one()
    assert (row["environment"], row["event"], row["outcome"]) == (1.0, None, 0.5)
    assert (row["weight_environment"], row["weight_event"], row["weight_outcome"]) == (0.5, 0, 0.5)


async def test_another_graphs_reward_of_the_same_rollout_is_not_taken_for_the_jobs_own(stores):
    await stores.rollouts.save(rollout())
    other = {
        "tenant": "default", "rollout_id": "r1", "graph": "verifierGraphs/g/versions/3",
        "data": types_v1.Reward(fused=0.1).SerializeToString(),
    }  # fmt: skip
    with stores.database.write_engine.begin() as connection:
        connection.execute(insert(rewards).values(other))
    assert [one.fused for one in await stores.rollouts.of_job("job1")] == [0.75]


async def test_a_rollout_that_was_not_scored_has_no_weights(stores):
    cell = types_v1.Cell(candidate_id="c", pool=types_v1.POOL_ONLINE, seed=1)
    failure = types_v1.Failure(reason="JUDGE_REPLY_INVALID")
    unscored = FinishedRollout(
        job_id="job1",
        phase="search",
        attempt=1,
        result=types_v1.RolloutResult(
            rollout_id="r1", cell=cell, environment_reward=1.0, failure=failure
        ),
        reward=None,
        cost_usd=None,
        graph=GRAPH,
        weights=WEIGHTS,
    )
    await stores.rollouts.save(unscored)
    found = (await stores.rollouts.by_ids(["r1"]))["r1"]
    assert (found.fused, found.weights, found.graph) == (None, None, GRAPH)


async def test_pages_are_in_order_of_id_and_may_be_narrowed(stores):
    for name, candidate, phase in (
        ("r3", "a", "search"), ("r1", "a", "test"), ("r2", "b", "search"), ("r4", "b", "test"),
    ):  # fmt: skip
        await stores.rollouts.save(rollout(name, candidate=candidate, phase=phase))

    async def ids(**wanted: object) -> list[str]:
        page = RolloutPage(count=2, **wanted)  # type: ignore[arg-type]
        return [one.result.rollout_id for one in await stores.rollouts.page("job1", page)]

    assert await ids() == ["r1", "r2"]
    assert await ids(after="r2") == ["r3", "r4"]
    assert await ids(phase="test") == ["r1", "r4"]
    assert await ids(candidate_id="a") == ["r1", "r3"]
    assert await ids(candidate_id="a", phase="search") == ["r3"]


async def test_a_simulated_judges_part_in_a_reward_is_kept(stores):
    await stores.rollouts.save(replace(rollout(), simulated=True))
    assert (await stores.rollouts.by_ids(["r1"]))["r1"].simulated

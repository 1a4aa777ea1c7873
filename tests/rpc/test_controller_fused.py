"""Fused rewards through the controller: parts beside every reward, judges paid by the job."""

from collections import Counter

import pytest

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument, NotFound
from burnish.report import render_report
from burnish.results import outcome, snapshot
from burnish_controller.testing import small_job
from burnish_controller.testing.world import world

PRICE = types_v1.Price(input_usd_per_million=1_000.0, output_usd_per_million=1_000.0)
JUDGE = types_v1.ModelSpec(provider="openai_compatible", model="fake-judge", price=PRICE)
HALF = types_v1.RewardWeights(environment=0.5, outcome=0.5)


def graph(name: str = "", *, field: str = "answer") -> verifier_v1.VerifierGraph:
    found = verifier_v1.VerifierGraph(name=name, output_node="exact")
    found.nodes.add(node_id="exact").builtin.check = "exact_match"
    found.nodes[0].builtin.settings.update({"field": field})
    return found


def fused(asked: verifier_v1.VerifierGraph, **fields: object) -> job_v1.JobSpec:
    scoring = job_v1.ScoringSpec(verifier_graph=asked, weights=HALF)
    return small_job(scoring=scoring, **fields)


def score_of(*seeds: int, **fields: object) -> verifier_v1.ScoreRolloutsRequest:
    rollouts = [
        types_v1.RolloutResult(rollout_id=f"r{seed}", environment_reward=1.0) for seed in seeds
    ]
    return verifier_v1.ScoreRolloutsRequest(
        rollouts=rollouts,
        verifier_graph="verifierGraphs/mine",
        weights=HALF,
        **fields,  # type: ignore[arg-type]
    )


async def test_every_rollout_shows_its_parts_their_weights_and_the_version_that_scored(tmp_path):
    async with world(tmp_path) as running:
        running.verifier.outcome = lambda name, one: 0.25 if one.cell.seed % 2 else 0.75
        job = await running.create(fused(graph()))
        await running.finished()
        found = await running.rollouts()
    assert job.reward_weights == HALF
    assert len(found) == len({one.rollout_id for one in found}) > 20
    for one in found:
        assert one.verifier_graph == job.verifier_graph
        assert one.weights == HALF
        assert one.reward.outcome == (0.25 if one.cell.seed % 2 else 0.75)
        assert one.reward.environment == one.environment_reward
        expected = (one.reward.environment + one.reward.outcome) / 2
        assert one.reward.fused == pytest.approx(expected)
        assert not one.reward.HasField("event")


async def test_the_result_and_the_report_show_the_mean_of_each_part(tmp_path):
    async with world(tmp_path) as running:
        running.verifier.outcome = lambda name, one: 0.25
        running.verifier.simulated = True
        job = await running.create(fused(graph()))
        await running.finished()
        result = await running.result()
        job = await running.job()
        rollouts = await running.rollouts()
    assert result.verifier_graph == job.verifier_graph
    assert result.reward_weights == HALF
    assert result.best.parts["outcome"].mean == pytest.approx(0.25)
    assert result.best.parts["outcome"].row_count == 6
    expected = (result.best.parts["environment"].mean + 0.25) / 2
    assert result.best.test.mean == pytest.approx(expected)
    assert "event" not in result.best.parts
    assert result.simulated_count == len(rollouts)
    assert all(one.simulated for one in rollouts)
    report = render_report(snapshot(job), outcome(result))
    assert "environment x0.5" in report
    assert "outcome x0.5" in report
    assert "simulated judge" in report


async def test_a_judge_that_cannot_judge_leaves_a_rollout_unscored_and_never_to_the_app_alone(
    tmp_path,
):
    broken = types_v1.Failure(reason="JUDGE_REPLY_INVALID", message="not JSON", retryable=False)
    async with world(tmp_path) as running:
        running.verifier.outcome = lambda name, one: broken if one.cell.seed == 30 else 1.0
        await running.create(fused(graph()))
        await running.finished()
        found = await running.rollouts()
        result = await running.result()
    unscored = [one for one in found if not one.HasField("reward")]
    assert unscored
    assert {one.cell.seed for one in unscored} == {30}
    assert {one.failure.reason for one in unscored} == {"JUDGE_REPLY_INVALID"}
    assert all(one.HasField("environment_reward") for one in unscored)
    assert not any(one.HasField("weights") for one in unscored)
    assert result.unscored_by_reason["JUDGE_REPLY_INVALID"] == len(unscored)


async def test_a_failure_that_may_pass_is_scored_again_and_the_judge_is_paid_once(tmp_path):
    away = types_v1.Failure(reason="JUDGE_AWAY", message="try again", retryable=True)
    tries: Counter[str] = Counter()

    def judged(name: str, one: types_v1.RolloutResult) -> float | types_v1.Failure:
        tries[one.rollout_id] += 1
        return away if tries[one.rollout_id] == 1 and one.cell.seed % 3 == 0 else 1.0

    async with world(tmp_path) as running:
        running.verifier.outcome, running.verifier.judge = judged, JUDGE
        await running.create(fused(graph()))
        await running.finished()
        found = await running.rollouts()
        usage = (await running.result()).usage_by_role["judge"]
    assert all(one.HasField("reward") for one in found)
    assert max(tries.values()) == 2
    assert set(running.verifier.judged.values()) == {1}
    assert usage.call_count == len(found)
    assert usage.cost_usd == pytest.approx(len(found) * 40 * 1e-3)


async def test_judges_stop_at_their_cap_and_what_they_could_not_judge_is_unscored(tmp_path):
    async with world(tmp_path) as running:
        running.verifier.judge = JUDGE
        spec = fused(graph(), max_concurrency=1)
        spec.budget.max_cost_usd_by_role["judge"] = 0.9
        await running.create(spec)
        await running.finished()
        found = await running.rollouts()
        usage = (await running.result()).usage_by_role["judge"]
    assert usage.cost_usd <= 0.9
    unscored = [one for one in found if not one.HasField("reward")]
    assert unscored
    assert {one.failure.reason for one in unscored} == {"BUDGET_EXHAUSTED"}
    assert sum(running.verifier.judged.values()) == len(found) - len(unscored)


async def test_which_rollouts_a_cap_of_judges_leaves_unscored_does_not_depend_on_speed(tmp_path):
    found = []
    for concurrency in (1, 8):
        async with world(tmp_path / str(concurrency)) as running:
            running.verifier.judge = JUDGE
            spec = fused(graph(), max_concurrency=concurrency)
            spec.budget.max_cost_usd_by_role["judge"] = 1.1
            await running.create(spec)
            await running.finished()
            rollouts = await running.rollouts()
            usage = (await running.result()).usage_by_role["judge"]
        assert usage.cost_usd <= 1.1
        found.append({one.rollout_id: one.reward.fused or one.failure.reason for one in rollouts})
    assert found[0] == found[1]
    assert "BUDGET_EXHAUSTED" in found[0].values()


async def test_a_running_job_keeps_its_graph_and_a_new_one_takes_the_new_version(tmp_path):
    async with world(tmp_path) as running:
        running.verifier.add(graph("verifierGraphs/mine"))
        asked = verifier_v1.VerifierGraph(name="verifierGraphs/mine")
        running.program.gate.clear()
        first = await running.create(fused(asked))
        running.verifier.add(graph("verifierGraphs/mine", field="other"))
        second = await running.create(fused(asked), "job2")
        await running.stop()
        await running.start()
        running.program.gate.set()
        await running.finished()
        await running.finished("job2")
        graphs = [
            {one.verifier_graph for one in await running.rollouts(job)} for job in ("job1", "job2")
        ]
    assert first.verifier_graph == "verifierGraphs/mine/versions/1"
    assert second.verifier_graph == "verifierGraphs/mine/versions/2"
    assert graphs == [{first.verifier_graph}, {second.verifier_graph}]


async def test_an_unknown_graph_refuses_the_job_with_every_other_fault(tmp_path):
    async with world(tmp_path) as running:
        spec = fused(verifier_v1.VerifierGraph(name="verifierGraphs/none"), algorithm="")
        spec.max_concurrency = 5000
        with pytest.raises(InvalidArgument) as refused:
            await running.create(spec)
    assert "verifierGraphs/none" in refused.value.message
    assert "max_concurrency" in refused.value.message


async def test_rollouts_may_be_listed_by_phase_and_candidate(tmp_path):
    async with world(tmp_path) as running:
        await running.create(fused(graph()))
        await running.finished()
        everything = await running.rollouts()
        phases = Counter(one.phase for one in everything)
        assert {phase: len(await running.rollouts(phase=phase)) for phase in phases} == phases
        candidate = everything[0].cell.candidate_id
        mine = await running.rollouts(candidate_id=candidate)
        with pytest.raises(NotFound):
            await running.rollouts("job9")
    assert {one.cell.candidate_id for one in mine} == {candidate}
    assert len(mine) < len(everything)


async def test_clients_have_rollouts_scored_without_a_job_and_pay_once_for_the_same(tmp_path):
    async with world(tmp_path) as running:
        running.verifier.add(graph("verifierGraphs/mine"))
        running.verifier.judge = JUDGE
        running.verifier.outcome = lambda name, one: 0.5
        for _ in range(2):
            async with rpc.translated():
                answer = await running.graphs.ScoreRollouts(
                    score_of(1, 2, max_cost_usd=1.0), timeout=20
                )
            assert [one.reward.fused for one in answer.scored_rollouts] == [0.75, 0.75]
    assert running.verifier.judged == {"r1": 1, "r2": 1}


@pytest.mark.parametrize(("cap", "judged"), [({}, 0), ({"max_cost_usd": 0.1}, 1)])
async def test_clients_pay_no_more_than_they_allow(tmp_path, cap, judged):
    async with world(tmp_path) as running:
        running.verifier.add(graph("verifierGraphs/mine"))
        running.verifier.judge = JUDGE
        async with rpc.translated():
            answer = await running.graphs.ScoreRollouts(score_of(1, 2, 3, **cap), timeout=20)
    refused = [one for one in answer.scored_rollouts if one.HasField("failure")]
    assert len(refused) == 3 - judged
    assert {one.failure.reason for one in refused} == {"BUDGET_EXHAUSTED"}


async def test_clients_cannot_have_a_job_pay_for_what_is_not_its_own(tmp_path):
    async with world(tmp_path) as running:
        with pytest.raises(InvalidArgument) as refused:
            async with rpc.translated():
                await running.graphs.ScoreRollouts(score_of(1, job="jobs/job1"), timeout=20)
    assert refused.value.reason == "SCORING_PAYER_INVALID"

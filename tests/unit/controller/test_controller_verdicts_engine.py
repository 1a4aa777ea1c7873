"""What a job's rollouts are judged to be: only what every one of them speaks for."""

import json

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.verdicts import corrected
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.verdicts import challenger_of, is_over, judge

JOB = job_v1.Job(
    name="jobs/j",
    spec=job_v1.JobSpec(
        offline=job_v1.OfflineMode(test_pool=types_v1.SeedPool(seeds=range(100, 140)))
    ),
)


def rollout(
    candidate: str,
    seed: int,
    reward: float | None,
    phase: str = "test",
    *,
    outcome: float | None = None,
):
    """A finished rollout; one without a reward could not be scored."""
    pool = types_v1.POOL_TEST if phase == "test" else types_v1.POOL_VALIDATION
    return FinishedRollout(
        job_id="j",
        phase=phase,
        attempt=1,
        result=types_v1.RolloutResult(
            cell=types_v1.Cell(candidate_id=candidate, pool=pool, seed=seed),
            output=json.dumps({"answer": "same"}).encode(),
        ),
        reward=None if reward is None else types_v1.Reward(fused=reward, outcome=outcome),
        cost_usd=None,
    )


def both(challenger: float | None, baseline: float | None) -> list[FinishedRollout]:
    return [
        rollout(name, seed, reward)
        for seed in range(100, 140)
        for name, reward in (("new", challenger), ("old", baseline))
    ]


def test_a_sure_winner_is_promoted_and_has_no_causes():
    found = judge(JOB, both(1.0, 0.0), challenger="new", baseline="old")
    assert found.promoted
    assert found.held_out is not None
    assert found.held_out.verdict == job_v1.VERDICT_BETTER
    assert found.held_out.gained_row_count == 40
    assert list(found.held_out.no_gain_causes) == []


def test_a_test_of_which_nothing_could_be_scored_promotes_nobody():
    found = judge(JOB, both(None, 1.0), challenger="new", baseline="old")
    assert not found.promoted
    assert "could be scored" in found.sentence
    assert found.held_out is not None
    assert found.held_out.verdict == job_v1.VERDICT_CANNOT_TELL
    assert not found.held_out.HasField("difference")


def test_a_search_that_prefers_the_baseline_found_nothing_better():
    found = judge(JOB, [rollout("old", 1, 1.0, "baseline")], challenger="old", baseline="old")
    assert found.held_out is not None
    assert found.held_out.verdict == job_v1.VERDICT_NOT_BETTER
    causes = {one.cause for one in found.held_out.no_gain_causes}
    assert causes == {"SATURATED_BASELINE", "NO_FAILURES", "BUDGET_TOO_SMALL"}


def test_a_judge_that_contradicts_itself_on_the_same_answer_is_named():
    noisy = [
        rollout(name, seed, 0.5, "search", outcome=score)
        for seed in range(12)
        for name, score in (("new", 0.1), ("old", 0.9))
    ]
    found = judge(JOB, [*noisy, *both(0.0, 0.0)], challenger="new", baseline="old")
    assert found.held_out is not None
    assert "NOISY_JUDGE" in {one.cause for one in found.held_out.no_gain_causes}
    steady = [rollout(n, seed, 0.5, "search", outcome=0.5) for seed in range(12) for n in "ab"]
    found = judge(JOB, [*steady, *both(0.0, 0.0)], challenger="new", baseline="old")
    assert found.held_out is not None
    assert "NOISY_JUDGE" not in {one.cause for one in found.held_out.no_gain_causes}


def test_half_of_a_test_is_no_test():
    half = both(1.0, 0.0)[:40]
    assert challenger_of(half, best="old", baseline="old") == "new"
    assert not is_over(JOB, half, kept=False)
    assert is_over(JOB, both(1.0, 0.0), kept=False)
    assert challenger_of([], best="old", baseline="old") == "old"


def searched(pool: types_v1.Pool.ValueType = types_v1.POOL_ONLINE) -> list[FinishedRollout]:
    """A search in which the challenger is clearly ahead, and a test that shows half as much."""
    done = [
        rollout(name, seed, float(seed % 10 < tens), "search")
        for name, tens in (("old", 4), ("other", 5), ("new", 7))
        for seed in range(60)
    ]
    for one in done:
        one.result.cell.pool = pool
    tested = {"old": range(100, 120), "new": range(97, 125)}
    return done + [
        rollout(name, seed, float(seed in right))
        for seed in range(100, 140)
        for name, right in tested.items()
    ]


def job_of(algorithm: str = "mipro", *, online=range(60), bootstrap=(), **settings) -> job_v1.Job:
    spec = job_v1.JobSpec(
        algorithm=algorithm,
        offline=job_v1.OfflineMode(
            bootstrap_pool=types_v1.SeedPool(seeds=bootstrap),
            online_pool=types_v1.SeedPool(seeds=online),
            test_pool=types_v1.SeedPool(seeds=range(100, 140)),
        ),
    )
    spec.algorithm_settings.update(settings)
    return job_v1.Job(name="jobs/j", spec=spec)


def judged(job: job_v1.Job, done: list[FinishedRollout]) -> job_v1.HeldOutVerdict:
    found = judge(job, done, challenger="new", baseline="old").held_out
    assert found is not None
    return found


def test_a_claim_is_less_the_luck_of_the_choice_where_the_search_has_no_model_of_rows():
    found = judged(job_of(), searched(types_v1.POOL_VALIDATION))
    assert found.corrected_by == "shrinkage"
    assert found.raw.mean == pytest.approx(0.7)
    assert found.raw.row_count == 60
    assert 0.5 < found.corrected.mean < found.raw.mean


def test_a_claim_by_two_models_is_their_mean_and_stands_beside_all_that_they_went_by():
    job = job_of()
    done = [*searched(), rollout("new", 90, 1.0, "search")]
    known = judged(job, done)
    assert known.raw.row_count == 1
    job.expected_reward.CopyFrom(
        types_v1.Estimate(mean=0.61, lower=0.5, upper=0.72, row_count=61, confidence=0.95)
    )
    found = judged(job, done)
    every: dict[str, dict[int, float]] = {name: {} for name in ("old", "other", "new")}
    for one in done:
        if one.phase == "search" and one.fused is not None:
            every[one.result.cell.candidate_id][one.result.cell.seed] = one.fused
    shrunk = corrected(every, "new", prior_deviation=0.1)
    assert shrunk is not None
    assert found.corrected.mean == pytest.approx((shrunk.corrected.mean + 0.61) / 2)
    assert found.corrected.upper - found.corrected.lower == pytest.approx(0.22)
    assert found.corrected.row_count == found.raw.row_count == 61
    assert found.corrected_by == "both_models"
    assert found.probability == known.probability


def test_what_a_cheaper_model_earned_is_no_symptom():
    done = searched()
    for one in done:
        one.result.cell.fidelity = int(one.phase == "search")
    causes = {one.cause for one in judged(job_of(), done).no_gain_causes}
    assert "BUDGET_TOO_SMALL" in causes


def test_what_the_search_saw_counts_beside_the_held_out_rows():
    found = judged(job_of(), searched())
    assert found.search_reward_count == 180
    assert found.probability != found.held_out_probability
    assert 0 < found.expected_gain.mean < 0.3
    assert found.expected_gain.lower < found.expected_gain.mean < found.expected_gain.upper


@pytest.mark.parametrize(
    "job",
    [
        job_of(bootstrap=range(60)),
        job_of(generate_at_iterations=[0, 4]),
        job_of("gepa"),
        job_of("plugin:mine"),
    ],
    ids=["demos", "later round", "reflection", "unknown"],
)
def test_rows_that_prompts_were_made_from_do_not_count(job):
    found = judged(job, searched())
    assert found.search_reward_count == 0
    assert found.probability == found.held_out_probability
    assert not found.HasField("expected_gain")


def test_rows_that_later_rounds_never_saw_do_count():
    job = job_of(generate_at_iterations=[0, 4], online=range(200, 220))
    assert judged(job, searched(types_v1.POOL_VALIDATION)).search_reward_count == 180


def test_rewards_of_a_cheaper_model_do_not_count():
    done = searched()
    for one in done[:60]:
        one.result.cell.fidelity = 1
    assert judged(job_of(), done).search_reward_count == 120


def test_a_job_may_have_held_out_rows_decide_alone():
    job = job_of()
    job.spec.promotion.search_evidence = False
    found = judged(job, searched())
    assert found.search_reward_count == 0
    assert found.probability == found.held_out_probability

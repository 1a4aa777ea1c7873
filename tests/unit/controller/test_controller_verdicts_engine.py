"""What a job's rollouts are judged to be: only what every one of them speaks for."""

import json

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
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

import random

import pytest

from burnish.verdicts import (
    Cause,
    Rule,
    Symptoms,
    compare,
    corrected,
    detectable_gain,
    rows_for,
    size_warning,
    why_no_gain,
)


def causes(**changes) -> list[Cause]:
    seen = {
        "comparison": None,
        "baseline_mean": 0.6,
        "baseline_rows": 50,
        "failures": 20,
        "candidates": 12,
        "search_rows": 600,
    }
    return [one.cause for one in why_no_gain(Symptoms(**(seen | changes)))]


def cannot_tell(rows: int = 40):
    won = {seed: float(seed % 3 == 0) for seed in range(rows)}
    return compare(won, {seed: float(seed % 4 == 0) for seed in range(rows)})


def test_more_rows_find_smaller_gains():
    gains = [detectable_gain(rows) for rows in (1, 20, 50, 100, 300, 1000)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == 1.0
    assert detectable_gain(0) == 1.0
    assert detectable_gain(1000) == pytest.approx(0.0289, abs=1e-3)


def test_the_rows_for_a_gain_are_the_fewest_that_find_it():
    rows = rows_for(0.05)
    assert detectable_gain(rows) <= 0.05 < detectable_gain(rows - 1)


@pytest.mark.parametrize("gain", [0.08, 0.12])
def test_a_detectable_gain_is_found_about_four_times_out_of_five(gain):
    rows, rng = rows_for(gain), random.Random(1)
    rate = max(0.35**2 + gain**2, 1.2 * gain)
    found = 0
    for _ in range(200):
        challenger, baseline = {}, {}
        for seed in range(rows):
            drawn = rng.random()
            challenger[seed] = float(drawn < (rate + gain) / 2)
            baseline[seed] = float((rate + gain) / 2 <= drawn < rate)
        tested = compare(challenger, baseline)
        assert tested is not None
        found += tested.promoted
    assert 0.70 <= found / 200 <= 0.90


def test_a_test_that_finds_nothing_plausible_is_warned_of_with_the_size_it_needs():
    assert size_warning(300) == ""
    said = size_warning(20)
    assert "has 20 rows" in said
    assert f"hold out {rows_for(0.105)} rows or more" in said
    assert size_warning(rows_for(0.105)) == "" != size_warning(rows_for(0.105) - 1)
    assert "empty" in size_warning(0)
    assert size_warning(120, rule=Rule(prior_deviation=0.01))
    beside = size_warning(20, searched=30)
    assert "has 20 rows and the search sees about 30 more" in beside
    assert f"hold out {rows_for(0.105) - 30} rows or more" in beside
    assert size_warning(20, searched=rows_for(0.105) - 20) == ""


def test_the_best_of_many_equal_prompts_is_corrected_for_its_luck():
    errors, raw_errors = [], []
    for trial in range(20):
        rng = random.Random(trial)
        ease = [rng.uniform(0.2, 0.9) for _ in range(100)]
        rewards = {
            f"c{n}": {seed: float(rng.random() < one) for seed, one in enumerate(ease)}
            for n in range(20)
        }
        best = max(rewards, key=lambda name: sum(rewards[name].values()))
        found = corrected(rewards, best, prior_deviation=0.1)
        assert found is not None
        truth = sum(ease) / 100
        raw_errors.append(found.raw.mean - truth)
        errors.append(found.corrected.mean - truth)
    assert sum(raw_errors) / 20 > 0.05
    assert abs(sum(errors) / 20) < 0.02


def test_a_real_lead_is_left_nearly_as_it_was_seen():
    rng = random.Random(2)
    rewards = {
        f"c{n}": {seed: float(rng.random() < 0.2 + 0.1 * n) for seed in range(200)}
        for n in range(7)
    }
    found = corrected(rewards, "c6", prior_deviation=0.1)
    assert found is not None
    assert found.raw.mean - 0.02 < found.corrected.mean <= found.raw.mean
    assert found.spread is not None
    assert found.spread > 0.1


def test_rows_that_not_everybody_saw_do_not_pass_for_skill():
    easy = {seed: 1.0 for seed in range(20)}
    hard = {seed: 0.0 for seed in range(20, 40)}
    rewards = {"all": easy | hard, "other": easy | hard, "lucky": dict(easy)}
    found = corrected(rewards, "lucky", prior_deviation=0.1)
    assert found is not None
    assert found.spread is not None
    assert found.spread < 0.01
    assert found.raw.mean == 1.0
    assert found.corrected.mean == pytest.approx(0.5, abs=0.01)


def test_without_rewards_there_is_nothing_to_correct():
    assert corrected({"a": {}}, "a", prior_deviation=0.1) is None
    alone = corrected({"a": {1: 0.5}}, "a", prior_deviation=0.1)
    assert alone is not None
    assert alone.corrected.mean == 0.5


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"baseline_mean": 0.97}, Cause.SATURATED_BASELINE),
        ({"failures": 1}, Cause.NO_FAILURES),
        ({"judge_noise": 0.3}, Cause.NOISY_JUDGE),
        ({"ended": "rollout_limit", "search_rows": 90}, Cause.BUDGET_TOO_SMALL),
        ({"candidates": 2}, Cause.BUDGET_TOO_SMALL),
        ({"spread": 0.0}, Cause.NO_HEADROOM),
        ({"comparison": cannot_tell()}, Cause.TEST_TOO_SMALL),
        ({"comparison": cannot_tell(), "promised": 0.4}, Cause.LUCKY_WINNER),
    ],
)
def test_each_cause_is_found_by_its_own_symptom(changes, cause):
    assert cause in causes(**changes)


def test_no_cause_is_made_up():
    assert causes() == []
    assert causes(ended="rollout_limit") == []

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import InvalidArgument
from burnish.verdicts import Method, Rule, Verdict, compare, sentence
from burnish.verdicts.tails import (
    fair_coin_at_least,
    incomplete_beta,
    share_interval,
    student_below,
)

DEFAULT = Rule()


def pair(gained: int, lost: int, rows: int) -> tuple[dict[int, float], dict[int, float]]:
    """Rewards of a challenger and a baseline that differ on so many rows."""
    challenger = [1.0] * gained + [0.0] * lost + [1.0] * (rows - gained - lost)
    baseline = [0.0] * gained + [1.0] * lost + [1.0] * (rows - gained - lost)
    return dict(enumerate(challenger)), dict(enumerate(baseline))


def judged(gained: int, lost: int, rows: int, rule: Rule = DEFAULT):
    found = compare(*pair(gained, lost, rows), rule=rule)
    assert found is not None
    return found


@pytest.mark.parametrize(("heads", "throws"), [(0, 5), (3, 5), (5, 5), (11, 20), (70, 100)])
def test_tails_of_a_fair_coin_are_those_counted_out(heads, throws):
    counted = sum(math.comb(throws, n) for n in range(heads, throws + 1)) / 2**throws
    assert fair_coin_at_least(heads, throws) == pytest.approx(counted, rel=1e-10)


def test_the_incomplete_beta_function_is_that_of_the_tables():
    assert incomplete_beta(0.3, 2, 3) == pytest.approx(0.3483, abs=1e-10)
    assert incomplete_beta(0.0, 2, 3) == 0.0
    assert incomplete_beta(1.0, 2, 3) == 1.0
    assert incomplete_beta(0.5, 400.0, 400.0) == pytest.approx(0.5, abs=1e-10)


@pytest.mark.parametrize(("freedom", "value"), [(1, 12.7062), (4, 2.7764), (30, 2.0423)])
def test_students_distribution_is_that_of_the_tables(freedom, value):
    assert student_below(value, freedom) == pytest.approx(0.975, abs=1e-5)
    assert student_below(-value, freedom) == pytest.approx(0.025, abs=1e-5)


def test_the_exact_interval_of_a_share_is_that_of_clopper_and_pearson():
    assert share_interval(0, 10, confidence=0.95) == pytest.approx((0.0, 0.30850), abs=1e-5)
    assert share_interval(8, 10, confidence=0.95) == pytest.approx((0.44390, 0.97479), abs=1e-5)


def test_right_and_wrong_are_compared_by_the_exact_test_of_mcnemar():
    found = judged(9, 1, 100)
    assert found.method is Method.MCNEMAR
    assert found.p_value == pytest.approx(2 * (10 + 1) / 2**10)
    assert (found.gained, found.lost) == (9, 1)
    assert found.difference.mean == pytest.approx(0.08)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_an_interval_clear_of_0_is_never_shown_where_the_exact_test_finds_nothing(
    gained, lost, same
):
    if gained + lost + same == 0:
        return
    found = judged(gained, lost, gained + lost + same)
    if found.p_value > 0.05:
        assert found.difference.lower <= 0 <= found.difference.upper
    assert found.difference.lower <= found.difference.mean <= found.difference.upper


@settings(deadline=None)
@given(
    st.integers(0, 120),
    st.integers(0, 120),
    st.integers(0, 300),
    st.sampled_from([0.02, 0.1, 0.5]),
)
def test_a_promotion_is_never_more_likely_by_luck_than_the_rule_allows(gained, lost, same, prior):
    if gained + lost + same == 0:
        return
    rule = Rule(prior_deviation=prior)
    found = judged(gained, lost, gained + lost + same, rule)
    if found.promoted:
        assert fair_coin_at_least(gained, gained + lost) <= 0.05


def test_a_small_test_has_to_show_more_than_a_large_one():
    few, many = judged(6, 1, 20), judged(60, 10, 200)
    assert few.difference.mean == many.difference.mean
    assert not few.promoted
    assert many.promoted


def test_a_more_sceptical_prior_promotes_less():
    assert judged(16, 5, 60, Rule(prior_deviation=0.3)).promoted
    assert not judged(16, 5, 60, Rule(prior_deviation=0.03)).promoted


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((66, 11, 300), Verdict.BETTER),
        ((11, 66, 300), Verdict.NOT_BETTER),
        ((20, 24, 2000), Verdict.NOT_BETTER),
        ((12, 8, 60), Verdict.CANNOT_TELL),
        ((0, 0, 10), Verdict.CANNOT_TELL),
        ((0, 0, 1000), Verdict.NOT_BETTER),
    ],
)
def test_the_three_verdicts(counts, verdict):
    assert judged(*counts).verdict is verdict


def test_one_row_says_nothing():
    found = judged(1, 0, 1)
    assert found.verdict is Verdict.CANNOT_TELL
    assert found.difference.lower == -1.0


def test_only_rows_that_both_have_are_compared():
    found = compare({0: 1.0, 1: 1.0, 2: 0.0}, {1: 0.0, 2: 0.0, 3: 1.0})
    assert found is not None
    assert found.difference.count == 2
    assert compare({0: 1.0}, {1: 1.0}) is None


def test_graded_rewards_are_resampled_and_the_same_rows_give_the_same_interval():
    rng = random.Random(3)
    base = {seed: rng.uniform(0.2, 0.6) for seed in range(80)}
    better = {seed: reward + rng.uniform(-0.05, 0.25) for seed, reward in base.items()}
    found = compare(better, base)
    assert found is not None
    assert found.method is Method.BOOTSTRAP
    assert found.verdict is Verdict.BETTER
    assert found.difference.lower < found.difference.mean < found.difference.upper
    assert found == compare(better, base)


def test_resampled_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = random.Random(5)
    covered = 0
    for _ in range(60):
        base = {seed: rng.uniform(0.3, 0.5) for seed in range(25)}
        other = {seed: reward + rng.uniform(-0.2, 0.3) for seed, reward in base.items()}
        found = compare(other, base)
        assert found is not None
        covered += found.difference.lower <= 0.05 <= found.difference.upper
    assert 52 <= covered <= 60


def test_equal_graded_prompts_are_hardly_ever_promoted():
    rng = random.Random(6)
    promoted = 0
    for _ in range(400):
        base = {seed: rng.uniform(0.3, 0.7) for seed in range(9)}
        other = {seed: reward + rng.uniform(-0.3, 0.3) for seed, reward in base.items()}
        found = compare(other, base)
        assert found is not None
        promoted += found.promoted
    assert promoted <= 20


def test_a_few_rows_with_the_same_small_gain_are_no_certainty():
    found = compare(dict.fromkeys(range(4), 0.51), dict.fromkeys(range(4), 0.50))
    assert found is not None
    assert not found.promoted


def test_a_rule_out_of_range_names_each_fault_and_its_fix():
    with pytest.raises(InvalidArgument) as caught:
        Rule(min_probability=1.0, prior_deviation=0.0)
    assert "use one from 0 to below 1" in caught.value.message
    assert "use one above 0, at most 1" in caught.value.message


def test_sentences_say_what_is_returned_and_why():
    rule = Rule()
    said = sentence(judged(66, 11, 300), rule=rule, kept_baseline=False)
    assert said == (
        "The prompt got better: +0.183 on 300 held-out rows (95 % interval +0.130 to +0.237)."
    )
    said = sentence(judged(12, 8, 60), rule=rule, kept_baseline=False)
    assert said.startswith("Cannot tell at this n: +0.067 on 60 held-out rows")
    assert "below 0.95, so the baseline is kept" in said
    said = sentence(judged(11, 66, 300), rule=rule, kept_baseline=False)
    assert said.startswith("The prompt got worse")
    loose = Rule(min_probability=0.6)
    said = sentence(judged(12, 8, 60, loose), rule=loose, kept_baseline=False)
    assert "promoted all the same" in said
    strict = Rule(min_probability=0.9999)
    said = sentence(judged(20, 5, 100, strict), rule=strict, kept_baseline=False)
    assert said.startswith("The prompt got better")
    assert "the baseline is kept" in said

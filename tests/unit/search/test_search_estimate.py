"""Intervals, against published values."""

import math

import pytest

from burnish_search import estimate

# Two-sided 95 % quantiles as printed in every table of Student's t.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042, 1000: 1.962}


@pytest.mark.parametrize(("freedom", "quantile"), STUDENT.items())
def test_student_quantiles_are_those_of_the_tables(freedom, quantile):
    assert estimate.student_quantile(freedom) == pytest.approx(quantile, abs=0.01)


def test_shares_get_the_score_interval():
    # 8 of 10, as worked in the literature on Wilson's interval.
    found = estimate.of_rewards([1.0] * 8 + [0.0] * 2)
    assert (found.mean, found.row_count, found.confidence) == (0.8, 10, 0.95)
    assert (found.lower, found.upper) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_a_perfect_share_is_not_certain():
    found = estimate.of_rewards([1.0] * 5)
    assert found.upper == 1.0
    assert 0.5 < found.lower < 0.6


def test_graded_rewards_get_student_interval_cut_to_the_range():
    found = estimate.of_rewards([0.2, 0.4, 0.6])
    half = 4.303 * 0.2 / math.sqrt(3)
    assert found.lower == 0.0
    assert found.upper == pytest.approx(0.4 + half, abs=1e-3)


def test_one_graded_reward_says_nothing():
    found = estimate.of_rewards([0.4])
    assert (found.mean, found.lower, found.upper) == (0.4, 0.0, 1.0)


def test_a_posterior_is_cut_to_the_range():
    found = estimate.normal(1.02, deviation=0.1, row_count=3)
    assert (found.mean, found.upper) == (1.0, 1.0)
    assert found.lower == pytest.approx(1.02 - 0.196, abs=1e-3)

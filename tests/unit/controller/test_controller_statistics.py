import math
import random

import pytest

from burnish.verdicts import mean_interval, student_quantile
from burnish_controller.statistics import paired_difference

# The .975 quantiles of Student's t, as printed in tables.
TABLE = {
    1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 8: 2.3060, 10: 2.2281,
    15: 2.1314, 20: 2.0860, 30: 2.0423, 60: 2.0003, 120: 1.9799, 1000: 1.9623,
}  # fmt: skip


@pytest.mark.parametrize(("freedom", "quantile"), TABLE.items())
def test_the_quantile_is_that_of_the_tables(freedom, quantile):
    assert student_quantile(freedom) == pytest.approx(quantile, abs=2e-3)


def test_the_mean_of_no_rows_is_unknown():
    assert mean_interval([]) is None


def test_one_row_tells_nothing_about_the_spread():
    found = mean_interval([0.25])
    assert found is not None
    assert (found.mean, found.count, found.lower, found.upper) == (0.25, 1, 0.0, 1.0)


def test_an_interval_by_hand():
    found = mean_interval([0.2, 0.4, 0.6])
    assert found is not None
    half = 4.3027 * 0.2 / math.sqrt(3)
    assert found.mean == pytest.approx(0.4)
    assert found.lower == pytest.approx(max(0.0, 0.4 - half))
    assert found.upper == pytest.approx(0.4 + half, abs=1e-4)


def test_an_interval_stays_where_rewards_can_be():
    found = mean_interval([0.0, 1.0])
    assert found is not None
    assert (found.lower, found.upper) == (0.0, 1.0)


def test_equal_rows_have_no_spread():
    found = mean_interval([1.0] * 5)
    assert found is not None
    assert (found.lower, found.upper) == (1.0, 1.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = random.Random(4)
    covered = 0
    for _ in range(400):
        found = mean_interval([min(1.0, max(0.0, rng.gauss(0.5, 0.1))) for _ in range(12)])
        assert found is not None
        covered += found.lower <= 0.5 <= found.upper
    assert 0.91 <= covered / 400 <= 0.98


def test_differences_are_taken_row_by_row_over_the_rows_that_both_have():
    found = paired_difference({1: 1.0, 2: 0.5, 3: 1.0, 9: 0.0}, {1: 0.0, 2: 0.5, 3: 0.8, 7: 1.0})
    assert found is not None
    assert found.count == 3
    assert found.mean == pytest.approx((1.0 + 0.0 + 0.2) / 3)


def test_pairing_removes_the_difficulty_of_rows():
    rows = {n: n / 20 for n in range(20)}
    better = {n: reward + 0.05 for n, reward in rows.items()}
    paired = paired_difference(better, rows)
    alone = mean_interval(list(better.values()))
    assert paired is not None
    assert alone is not None
    assert paired.upper - paired.lower < 1e-9 < alone.upper - alone.lower


def test_without_shared_rows_there_is_no_difference():
    assert paired_difference({1: 1.0}, {2: 1.0}) is None
    assert paired_difference({}, {}) is None

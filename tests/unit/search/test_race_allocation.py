"""Where a race looks next: what cells are worth before they are bought."""

import numpy as np
import pytest

from burnish_search.algorithms.race.allocation import Contest, answered, pick_rows


def contest(means, deviations, *, told=0.2, rows=100):
    size = len(means)
    return Contest(
        means=np.array(means, dtype=float),
        covariance=np.diag(np.square(deviations)).astype(float),
        told=np.full((size, rows), told),
    )


def test_an_arm_that_is_known_is_not_looked_at_again():
    found = contest([0.0, 0.0, 0.0], [0.5, 0.01, 0.5])
    assert 1 not in found.picks(4, rows=5, left=100)


def test_an_arm_far_behind_is_not_looked_at():
    found = contest([1.0, 0.9, -4.0], [0.3, 0.3, 0.3])
    assert set(found.picks(6, rows=5, left=200)) == {0, 1}


def test_picks_of_one_work_are_spread_over_equal_arms():
    found = contest([0.0] * 4, [0.5] * 4)
    assert sorted(found.picks(4, rows=5, left=100)) == [0, 1, 2, 3]


def test_an_arm_without_an_unasked_row_is_not_picked():
    found = contest([0.0, 0.0], [0.5, 0.5])
    found.told[0] = 0.0
    assert found.picks(3, rows=5, left=100) == [1, 1, 1]
    found.told[1] = 0.0
    assert found.picks(3, rows=5, left=100) == []


def test_an_arm_is_not_picked_beyond_its_rows():
    found = contest([0.0, 0.0], [0.5, 0.5], rows=7)
    assert sorted(found.picks(9, rows=5, left=100)) == [0, 0, 1, 1]


def test_arms_that_move_together_are_not_told_apart_by_cells():
    means, together = np.zeros(3), np.full((3, 3), 0.25)
    together[2, 2] = 0.3
    found = Contest(means=means, covariance=together, told=np.full((3, 50), 0.2))
    assert found.picks(1, rows=5, left=100) == [2]


def test_what_cells_will_tell_is_known_before_they_are_answered():
    root = np.random.default_rng(0).normal(size=(4, 4))
    covariance = root @ root.T
    precision = np.linalg.inv(covariance)
    precision[2, 2] += 3.0
    assert answered(covariance, 2, 3.0) == pytest.approx(np.linalg.inv(precision))


def test_rows_that_tell_more_are_picked_more_often():
    told = np.array([0.25] * 10 + [0.02] * 10)
    rng = np.random.default_rng(0)
    picked = [row for _ in range(50) for row in pick_rows(told, np.arange(20), 5, rng)]
    assert sum(row < 10 for row in picked) > 240

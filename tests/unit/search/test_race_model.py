"""The arithmetic of a race, beside the same model written out in full."""

from dataclasses import replace

import numpy as np
import pytest

from burnish_search.algorithms.race import model
from burnish_search.algorithms.race.arms import Layout
from burnish_search.algorithms.race.evidence import Cells
from burnish_search.algorithms.race.model import Model, Structure, Variances
from burnish_search.algorithms.race.posterior import Posterior

ROWS = 15
USUAL = Variances(scale=0.5, ease=1.5)


class _Nothing:
    description = "nothing"
    warnings = ()

    def __init__(self, spec):
        pass


def world(rig, *, cells=150, seed=0, continuous=False):
    """Returns arms of a 4 x 3 grid and made-up cells of nine of them."""
    found = rig(_Nothing)
    found.start()
    rng = np.random.default_rng(seed)
    order = [
        found.history.space.candidate((f"ins_main_{i}", f"dem_main_{d}"))
        for i in range(3)
        for d in range(3)
    ]
    for one in order:
        found.history.candidates[one.candidate_id] = one
    found.history.codes.candidate_ids[:] = [one.candidate_id for one in order]
    arms = Layout(found.history).arms(found.history)
    who = np.concatenate([np.arange(9), rng.integers(0, 9, cells - 9)])
    rewards = rng.random(cells)
    rewards = rewards if continuous else np.round(rewards)
    return arms, Cells(who, rng.integers(0, ROWS, cells), rewards, ROWS)


def peak_written_out(fitted, arms, cells, variances):
    """Returns worths and their covariance by Newton's method over every effect and every row."""
    prior, _ = fitted.prior(variances)
    design = np.zeros((len(cells.rewards), len(prior) + ROWS))
    for place, columns in enumerate(fitted.columns[cells.arms]):
        design[place, columns] = 1.0
    design[np.arange(len(cells.rewards)), len(prior) + cells.rows] = 1.0
    stiff = np.concatenate([1 / prior, np.full(ROWS, variances.ease**-2)])
    at = np.zeros(len(stiff))
    for _ in range(50):
        share = 1 / (1 + np.exp(-(fitted.offset + design @ at)))
        weight = share * (1 - share) / fitted.dispersion
        hessian = design.T @ (design * weight[:, None]) + np.diag(stiff)
        pull = design.T @ (cells.rewards - share) / fitted.dispersion - stiff * at
        at = at + np.linalg.solve(hessian, pull)
    arm_design = np.zeros((9, len(stiff)))
    for place in range(9):
        arm_design[place, fitted.columns[place]] = 1.0
    return fitted.offset + arm_design @ at, arm_design @ np.linalg.inv(hessian) @ arm_design.T


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("profile", [0, 1, 2])
def test_the_posterior_is_that_of_the_model_written_out(rig, profile, continuous):
    arms, cells = world(rig, continuous=continuous)
    fitted = Model(arms, cells, Structure())
    variances = Variances(scale=0.5, ease=1.5, profile=profile)
    posterior = Posterior(fitted, fitted.fit(variances, None, steps=8))
    worth, covariance = peak_written_out(fitted, arms, cells, variances)
    assert posterior.worth[:9] == pytest.approx(worth, abs=1e-5)
    draws = posterior.draws(4000, np.random.default_rng(1))[:9]
    assert np.cov(draws) == pytest.approx(covariance, abs=0.15 * covariance.max())


def test_a_peak_is_found_again_from_nearby_in_two_steps(rig):
    arms, cells = world(rig)
    fitted = Model(arms, cells, Structure())
    start = Model(arms, cells.first(120), Structure()).fit(USUAL, None).peak(fitted)
    near, far = fitted.fit(USUAL, start), fitted.fit(USUAL, None, steps=10)
    assert near.effects == pytest.approx(far.effects, abs=0.01)
    assert near.ease == pytest.approx(far.ease, abs=0.05)


def test_candidates_that_differ_are_told_from_those_that_do_not(rig):
    arms, cells = world(rig, cells=400)
    rng = np.random.default_rng(3)
    same = Cells(cells.arms, cells.rows, (rng.random(400) < 0.6).astype(float), ROWS)
    differ = Cells(cells.arms, cells.rows, (rng.random(400) < 0.1 * cells.arms).astype(float), ROWS)
    alike, apart = Model(arms, same, Structure()), Model(arms, differ, Structure())
    assert alike.strength(alike.best()) < -1.0
    assert apart.strength(apart.best()) > 5.0


def with_baseline(cells, share):
    """Returns cells of arms that are alike, but for the baseline's share of successes."""
    rng = np.random.default_rng(4)
    shares = np.where(cells.arms == 0, share, 0.7)
    return Cells(cells.arms, cells.rows, (rng.random(len(shares)) < shares).astype(float), ROWS)


def test_whether_the_baseline_is_apart_is_told_by_the_cells(rig):
    arms, cells = world(rig, cells=400)
    far, near = (Model(arms, with_baseline(cells, share), Structure()) for share in (0.05, 0.7))
    assert far.best().variances.profile == 2
    assert near.best().variances.profile != 2


def test_a_baseline_that_is_apart_tells_little_of_arms_that_share_an_option_with_it(rig):
    arms, cells = world(rig, cells=400)
    neighbours = np.array([1, 2, 3, 6])
    others = ~np.isin(cells.arms, neighbours)
    told = with_baseline(cells, 0.05)
    known = Cells(told.arms[others], told.rows[others], told.rewards[others], ROWS)
    fitted = Model(arms, known, Structure())
    alike, apart = (
        Posterior(fitted, fitted.fit(replace(USUAL, profile=profile), None, steps=8))
        for profile in (0, 2)
    )
    sure, unsure = (one.covariance(neighbours).diagonal() for one in (alike, apart))
    assert np.all(unsure > 1.5 * sure)


def test_cells_measured_again_count_again(rig):
    arms, cells = world(rig)
    places, rows = (np.concatenate([one, one]) for one in (cells.arms, cells.rows))
    twice = Cells(places, rows, np.concatenate([cells.rewards, cells.rewards]), ROWS)
    fitted = Model(arms, twice, Structure())
    worth, _ = peak_written_out(fitted, arms, twice, USUAL)
    found = Posterior(fitted, fitted.fit(USUAL, None, steps=8))
    assert found.worth[:9] == pytest.approx(worth, abs=1e-5)


def test_a_row_that_everybody_gets_right_tells_little(rig):
    arms, cells = world(rig)
    rewards = np.where(cells.rows == 3, 1.0, cells.rewards)
    fitted = Model(arms, Cells(cells.arms, cells.rows, rewards, ROWS), Structure())
    posterior = Posterior(fitted, fitted.fit(USUAL, None))
    told = posterior.told(np.array([0]))[0]
    assert told[3] < told[np.arange(ROWS) != 3].min()


def test_continuous_rewards_with_little_noise_are_believed_more(rig):
    arms, cells = world(rig)
    steady = Cells(cells.arms, cells.rows, 0.5 + 0.1 * (cells.rewards - 0.5), ROWS)
    fitted, noisy = Model(arms, steady, Structure()), Model(arms, cells, Structure())
    assert fitted.dispersion < 0.05 < noisy.dispersion == 1.0


def test_levels_are_shares_and_rise_with_worth(rig):
    arms, cells = world(rig)
    fitted = Model(arms, cells, Structure())
    posterior = Posterior(fitted, fitted.fit(USUAL, None))
    order = np.argsort(posterior.worth)
    assert np.all(np.diff(posterior.levels[order]) >= 0)
    assert 0 < posterior.levels.min() < posterior.levels.max() < 1
    assert posterior.levels[:9].mean() == pytest.approx(cells.rewards.mean(), abs=0.15)


def test_arms_without_a_column_of_their_own_are_believed_by_their_options(rig, monkeypatch):
    arms, cells = world(rig)
    every = Model(arms, cells, Structure())
    known = Posterior(every, every.fit(USUAL, None)).worth
    monkeypatch.setattr(model, "_MOST_OWN", 2)
    monkeypatch.setattr(model, "_OWN_OF_MANY", 2)
    fitted = Model(arms, cells, Structure())
    assert len(fitted.own) == 2
    worth = Posterior(fitted, fitted.fit(USUAL, None)).worth
    assert np.corrcoef(worth[:9], known[:9])[0, 1] > 0.7

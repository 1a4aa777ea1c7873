"""The arithmetic of a race, beside the same model written out in full."""

import numpy as np
import pytest

from burnish_search.algorithms.race import model
from burnish_search.algorithms.race.arms import Layout
from burnish_search.algorithms.race.evidence import Cells
from burnish_search.algorithms.race.model import Model, Structure, Variances

ROWS = 15


def world(rig, *, cells=120, seed=0, continuous=False):
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
    measured = [one.candidate_id for one in order]
    found.history.codes.candidate_ids[:] = measured
    arms = Layout(found.history).arms(found.history)
    who = np.concatenate([np.arange(9), rng.integers(0, 9, cells - 9)])
    where = rng.integers(0, ROWS, cells)
    rewards = rng.random(cells)
    return arms, Cells(who, where, rewards if continuous else np.round(rewards), ROWS)


class _Nothing:
    description = "nothing"
    warnings = ()

    def __init__(self, spec):
        pass


def written_out(fitted, arms, cells, variances):
    """Returns posterior means and covariance of the arms' worth by one big normal."""
    prior, own = fitted.prior(variances)
    size = arms.column_count
    design = np.zeros((len(arms), size))
    for column in arms.columns.T:
        design[np.arange(len(arms)), column] = 1.0
    worth = design @ np.diag(prior[:size]) @ design.T + own * np.eye(len(arms))
    slopes = fitted.slopes[cells.rows]
    total = max(cells.rewards.var(), 0.02)
    row, noise = total * variances.row_share, total * (1 - variances.row_share)
    cov = slopes[:, None] * worth[np.ix_(cells.arms, cells.arms)] * slopes
    cov += row * (cells.rows[:, None] == cells.rows) + np.diag(noise * slopes)
    cross = worth[:, cells.arms] * slopes
    residual = cells.rewards - cells.rewards.mean()
    solved = np.linalg.solve(cov, residual)
    likelihood = -0.5 * (np.linalg.slogdet(cov)[1] + residual @ solved)
    return cross @ solved, worth - cross @ np.linalg.solve(cov, cross.T), likelihood


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("variances", [Variances(scale=0.1), Variances(scale=0.04, profile=1)])
def test_the_posterior_is_that_of_the_model_written_out(rig, variances, continuous):
    arms, cells = world(rig, continuous=continuous)
    fitted = Model(arms, cells, Structure())
    posterior = fitted.posterior(variances)
    means, covariance, _ = written_out(fitted, arms, cells, variances)
    assert posterior.worth == pytest.approx(cells.rewards.mean() + means, abs=1e-6)
    draws = posterior.draws(4000, np.random.default_rng(1))
    assert np.cov(draws) == pytest.approx(covariance, abs=0.15 * covariance.max())
    assert draws.mean(axis=1) == pytest.approx(means, abs=0.01)


def test_likelihoods_differ_as_those_of_the_model_written_out(rig):
    arms, cells = world(rig)
    fitted = Model(arms, cells, Structure())
    choices = [
        Variances(scale=scale, row_share=share) for scale in (0.01, 0.1) for share in (0.3, 0.7)
    ]
    ours = [fitted._solved(one).likelihood for one in choices]
    theirs = [written_out(fitted, arms, cells, one)[2] for one in choices]
    assert np.diff(ours) == pytest.approx(np.diff(theirs), abs=1e-6)


def test_cells_measured_again_count_again(rig):
    arms, cells = world(rig)
    twice = Cells(
        *(np.concatenate([one, one]) for one in (cells.arms, cells.rows, cells.rewards)), ROWS
    )
    fitted = Model(arms, twice, Structure())
    means, _, _ = written_out(fitted, arms, twice, Variances())
    assert fitted.posterior(Variances()).worth == pytest.approx(
        twice.rewards.mean() + means, abs=1e-6
    )


def test_a_row_that_everybody_gets_right_tells_nothing(rig):
    arms, cells = world(rig)
    rewards = np.where(cells.rows == 3, 1.0, cells.rewards)
    fitted = Model(arms, Cells(cells.arms, cells.rows, rewards, ROWS), Structure())
    assert fitted.slopes[3] < 0.8 * fitted.slopes.mean()


def test_arms_without_a_column_of_their_own_are_believed_by_their_options(rig, monkeypatch):
    monkeypatch.setattr(model, "_MOST_OWN", 2)
    monkeypatch.setattr(model, "_OWN_OF_MANY", 2)
    arms, cells = world(rig)
    fitted = Model(arms, cells, Structure())
    assert len(fitted.own) == 2
    few = fitted.posterior(Variances(scale=0.1, row_share=0.5))
    monkeypatch.undo()
    every = Model(arms, cells, Structure()).posterior(Variances(scale=0.1, row_share=0.5))
    assert np.corrcoef(few.worth, every.worth)[0, 1] > 0.7

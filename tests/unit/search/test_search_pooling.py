"""The pooled estimate, against the same model written out in full."""

import random

import numpy as np
import pytest

from burnish_search.algorithms import pooling
from burnish_search.algorithms.pooling import Pooled
from burnish_search.history import Row
from burnish_search.model import Candidate, Pool


def candidate(instruction, demo_set):
    return Candidate.of(("main",), (f"ins_{instruction}", f"dem_{demo_set}"))


def rows_of(observed):
    return [Row(c.candidate_id, Pool.ONLINE, seed, reward) for c, seed, reward in observed]


def made_up(count=60, seed=4):
    rng = random.Random(seed)
    grid = [candidate(i, d) for i in range(3) for d in range(3)][:7]
    observed = [
        (rng.choice(grid), rng.randrange(9), float(rng.random() < 0.6)) for _ in range(count)
    ]
    return observed, grid


def written_out(observed, grid, *, scale, row_variance, noise):
    """Posterior means and restricted likelihood by the full covariance of all observations."""
    prior = scale**2 * pooling._kernel(grid, grid)
    who = np.array([grid.index(c) for c, _, _ in observed])
    where = np.array([seed for _, seed, _ in observed])
    rewards = np.array([reward for _, _, reward in observed])
    covariance = (
        prior[np.ix_(who, who)]
        + row_variance * (where[:, None] == where[None])
        + noise * np.eye(len(observed))
    )
    inverse = np.linalg.inv(covariance)
    ones = np.ones(len(observed))
    information = ones @ inverse @ ones
    mean = ones @ inverse @ rewards / information
    rest = rewards - mean
    likelihood = -0.5 * (
        np.linalg.slogdet(covariance)[1] + np.log(information) + rest @ inverse @ rest
    )
    cross = prior[:, who]
    means = mean + cross @ inverse @ rest
    spread = prior - cross @ inverse @ cross.T
    spread += np.outer(*[1 - cross @ inverse @ ones] * 2) / information
    return means, np.sqrt(np.diag(spread)), likelihood


def test_sums_by_candidate_give_what_the_full_covariance_gives():
    observed, grid = made_up()
    seen = [c for c in grid if any(c == o[0] for o in observed)]
    pooled = Pooled(rows_of(observed), grid)
    evidence = pooling._evidence(rows_of(observed), [c.candidate_id for c in seen])
    fit = pooling._fitted(
        evidence, pooling._kernel(seen, seen), scale=0.08, row_variance=0.1, noise=0.14
    )
    other = pooling._fitted(
        evidence, pooling._kernel(seen, seen), scale=0.02, row_variance=0.02, noise=0.2
    )
    full = written_out(observed, seen, scale=0.08, row_variance=0.1, noise=0.14)
    least = written_out(observed, seen, scale=0.02, row_variance=0.02, noise=0.2)
    assert fit.likelihood - other.likelihood == pytest.approx(full[2] - least[2])
    pooled.candidates, pooled._fit = seen, fit
    means, deviations = pooled.posterior(seen)
    assert means == pytest.approx(full[0])
    assert deviations == pytest.approx(full[1])


def test_an_option_is_judged_by_all_trials_that_chose_it():
    good, bad = [candidate(1, d) for d in range(4)], [candidate(0, d) for d in range(4)]
    observed = [(c, seed, 1.0) for c in good for seed in range(6)]
    observed += [(c, seed, 0.0) for c in bad for seed in range(6)]
    pooled = Pooled(rows_of(observed), [*good, *bad])
    unseen = [candidate(1, 9), candidate(0, 9)]
    (better, worse), _ = pooled.posterior(unseen)
    assert better > worse + 0.1
    assert pooled.promising().choices[0] == "ins_1"


def test_easy_rows_make_no_candidate_better():
    # The lucky candidate saw the easy rows, on which everyone succeeds.
    easy, hard = range(10), range(10, 20)
    references = [candidate(i, 0) for i in range(4)]
    observed = [(c, s, 1.0) for c in references for s in easy]
    observed += [(c, s, float(s % 5 == 0)) for c in references for s in hard]
    lucky, unlucky = candidate(5, 1), candidate(6, 2)
    observed += [(lucky, s, 1.0) for s in easy] + [(unlucky, s, float(s % 5 == 0)) for s in hard]
    pooled = Pooled(rows_of(observed), [*references, lucky, unlucky])
    (first, second), _ = pooled.posterior([lucky, unlucky])
    assert abs(first - second) < 0.05


def test_one_lucky_minibatch_is_shrunk():
    rng = random.Random(1)
    crowd = [candidate(i, d) for i in range(3) for d in range(3)]
    observed = [(c, rng.randrange(50), float(rng.random() < 0.5)) for c in crowd for _ in range(30)]
    lucky = candidate(8, 8)
    observed += [(lucky, seed, 1.0) for seed in range(50, 60)]
    pooled = Pooled(rows_of(observed), [*crowd, lucky])
    means, deviations = pooled.posterior([lucky, crowd[0]])
    assert 0.5 < means[0] < 0.85
    assert deviations[0] > deviations[1]


def test_rewards_that_are_all_equal_are_no_trouble():
    observed = [(candidate(i, 0), seed, 1.0) for i in range(2) for seed in range(5)]
    means, deviations = Pooled(rows_of(observed), [candidate(i, 0) for i in range(2)]).posterior(
        [candidate(0, 0), candidate(1, 0)]
    )
    assert means == pytest.approx([1.0, 1.0])
    assert np.isfinite(deviations).all()

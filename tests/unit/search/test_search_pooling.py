"""The pooled estimate, against the same model written out in full."""

import random

import numpy as np
import pytest

from burnish_search.algorithms import pooling
from burnish_search.algorithms.pooling import Pooled, Pooling, Variances
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.history import Codes, Row
from burnish_search.model import Candidate, Pool


def candidate(instruction, demo_set):
    return Candidate.of(("main",), (f"ins_{instruction}", f"dem_{demo_set}"))


def coded(observed):
    codes = Codes()
    for chosen, seed, reward in observed:
        codes.append(Row(chosen.candidate_id, Pool.ONLINE, seed, reward))
    return codes


def fit(observed, **options):
    known = {chosen.candidate_id: chosen for chosen, _, _ in observed}
    options.setdefault("row_count", len(observed))
    return Pooled(coded(observed), known, **options)


def made_up(count=60, seed=4):
    rng = random.Random(seed)
    grid = [candidate(i, d) for i in range(3) for d in range(3)][:7]
    observed = [
        (rng.choice(grid), rng.randrange(9), float(rng.random() < 0.6)) for _ in range(count)
    ]
    return observed, grid


def written_out(observed, grid, variances):
    """Posterior means and restricted likelihood by the full covariance of all observations."""
    prior = variances.scale**2 * pooling._kernel(grid, grid)
    who = np.array([grid.index(chosen) for chosen, _, _ in observed])
    where = np.array([seed for _, seed, _ in observed])
    rewards = np.array([reward for _, _, reward in observed])
    covariance = (
        prior[np.ix_(who, who)]
        + variances.row * (where[:, None] == where[None])
        + variances.noise * np.eye(len(observed))
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
    one = Variances(scale=0.08, row=0.1, noise=0.14)
    other = Variances(scale=0.02, row=0.02, noise=0.2)
    fits = [fit(observed, variances=variances) for variances in (one, other)]
    full = [written_out(observed, grid, variances) for variances in (one, other)]
    for pooled, (means, deviations, _) in zip(fits, full, strict=True):
        assert pooled.means(grid) == pytest.approx(means)
        assert pooled.deviations(grid) == pytest.approx(deviations)
    likelier = fits[0]._fit.likelihood - fits[1]._fit.likelihood
    assert likelier == pytest.approx(full[0][2] - full[1][2])


def test_variances_are_found_where_they_make_the_rewards_likeliest():
    observed, _ = made_up(count=200)
    found = fit(observed).variances
    best = fit(observed, variances=found)._fit.likelihood
    for scale in (0.01, 0.04, 0.16):
        other = Variances(scale=scale, row=found.row, noise=found.noise)
        assert fit(observed, variances=other)._fit.likelihood <= best


def test_variances_depend_on_the_history_alone_not_on_when_they_were_asked_for(rig):
    found = rig(RandomSearch, settings={"batch_size": 7, "num_trials": 30}).start().run()
    history, often = found.history, Pooling()
    for count in range(1, len(history.rows) + 1):
        means = often.fit(history, row_count=count).means(often.fit(history).candidates)
    once = Pooling().fit(history)
    assert means == pytest.approx(once.means(once.candidates), abs=0)


def test_an_option_is_judged_by_all_trials_that_chose_it():
    good, bad = [candidate(1, d) for d in range(4)], [candidate(0, d) for d in range(4)]
    observed = [(c, seed, 1.0) for c in good for seed in range(6)]
    observed += [(c, seed, 0.0) for c in bad for seed in range(6)]
    pooled = fit(observed)
    unseen = [candidate(1, 9), candidate(0, 9)]
    better, worse = pooled.means(unseen)
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
    first, second = fit(observed).means([lucky, unlucky])
    assert abs(first - second) < 0.05


def test_one_lucky_minibatch_is_shrunk():
    rng = random.Random(1)
    crowd = [candidate(i, d) for i in range(3) for d in range(3)]
    observed = [(c, rng.randrange(50), float(rng.random() < 0.5)) for c in crowd for _ in range(30)]
    lucky = candidate(8, 8)
    observed += [(lucky, seed, 1.0) for seed in range(50, 60)]
    pooled = fit(observed)
    deviations = pooled.deviations([lucky, crowd[0]])
    assert 0.5 < pooled.means([lucky])[0] < 0.85
    assert deviations[0] > deviations[1]


def test_rewards_that_are_all_equal_are_no_trouble():
    observed = [(candidate(i, 0), seed, 1.0) for i in range(2) for seed in range(5)]
    pooled = fit(observed)
    assert pooled.means(pooled.candidates) == pytest.approx([1.0, 1.0])
    assert np.isfinite(pooled.deviations(pooled.candidates)).all()

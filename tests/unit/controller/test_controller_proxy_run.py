"""When a cheap model stands in for a dear one, when it is given up, and what that is worth."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_controller.proxies.fit import Fit, Pair, fitted
from burnish_controller.proxies.run import Look, Measured, Mode, ProxyRun, Rules, State

rewards = st.floats(0, 1)


KEYS = itertools.count()


def side(values, usd, first=0):
    return {
        str(row): Measured(reward=one, cost_usd=usd) for row, one in enumerate(values, start=first)
    }


def both(low, high, *, low_usd=0.01, high_usd=0.1):
    first = 1000 * next(KEYS)
    return Look(mode=Mode.BOTH, low=side(low, low_usd, first), high=side(high, high_usd, first))


def alone(low, *, usd=0.01):
    return Look(mode=Mode.LOW, low=side(low, usd, 1000 * next(KEYS)))


def state_of(run):
    return run.state


def agreeing(run, count=6):
    """Both models earn alike on trial after trial."""
    for step in range(count):
        level = step / count
        run.take([both([level, level], [0.8 * level, 0.8 * level + 0.02])])
    return run


def disagreeing(run, count, seed=3):
    draw = random.Random(seed)
    for _ in range(count):
        run.take([both([draw.random()], [draw.random()])])
    return run


def test_a_line_is_found_and_what_it_explains_is_told():
    fit = fitted([Pair(low=x / 10, high=0.1 + 0.5 * x / 10) for x in range(8)])

    assert fit is not None
    assert fit.intercept == pytest.approx(0.1)
    assert fit.slope == pytest.approx(0.5)
    assert fit.r2 == pytest.approx(1.0)
    assert fit.residual_variance == pytest.approx(0.0)


def test_luck_with_a_few_pairs_explains_nothing():
    chance = random.Random(1)
    lucky = sum(
        fit.r2 >= 0.5
        for _ in range(1000)
        if (fit := fitted([Pair(low=chance.random(), high=chance.random()) for _ in range(5)]))
    )

    assert lucky < 80


@given(st.lists(st.tuples(rewards, rewards), max_size=12))
def test_any_pairs_give_a_fit_in_its_bounds(values):
    fit = fitted([Pair(low=low, high=high) for low, high in values])

    assert (fit is None) == (len(values) < 3)
    if fit is not None:
        assert fit.r2 <= 1.0
        assert fit.residual_variance >= 0.0
        assert 0.0 <= fit.at(0.3) <= 1.0


@given(
    low=st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=1, max_size=9),
    intercept=st.floats(-1, 1),
    slope=st.floats(-2, 2),
)
def test_predicted_rewards_are_rewards_and_have_the_predicted_mean(low, intercept, slope):
    fit = Fit(intercept=intercept, slope=slope, r2=0.9, residual_variance=0.0)

    found = fit.rewards(low)

    assert all(0.0 <= one <= 1.0 for one in found)
    assert sum(found) / len(found) == pytest.approx(fit.at(sum(low) / len(low)))


def test_both_run_until_enough_pairs_agree_then_the_cheap_one_runs_alone():
    run = ProxyRun(Rules(min_pairs=5))

    for step in range(5):
        assert run.modes(1) == [Mode.BOTH]
        run.take([both([step / 5], [step / 6])])

    assert state_of(run) is State.ON
    assert run.modes(3) == [Mode.LOW] * 3


def test_a_cheap_model_that_tells_nothing_never_stands_in_and_is_given_up():
    run = disagreeing(ProxyRun(Rules()), 10)

    assert state_of(run) is State.STOPPED
    assert run.predicted_trials == 0
    assert run.modes(2) == [Mode.HIGH] * 2
    assert "of the variance" in run.reason


def test_every_so_often_both_run_to_verify():
    run = agreeing(ProxyRun(Rules(verify_every=2)))

    assert run.modes(5) == [Mode.LOW, Mode.LOW, Mode.BOTH, Mode.LOW, Mode.LOW]
    run.take([alone([0.5]), alone([0.5])])
    assert run.modes(2) == [Mode.BOTH, Mode.LOW]
    run.take([both([0.5], [0.4])])
    assert run.modes(1) == [Mode.LOW]


def test_it_is_given_up_for_good_when_a_verification_shows_that_it_no_longer_predicts():
    run = agreeing(ProxyRun(Rules(verify_every=1)))
    assert state_of(run) is State.ON

    for low, high in ((0.9, 0.0), (0.1, 1.0), (0.8, 0.1), (0.2, 0.9)):
        run.take([both([low], [high])])

    assert state_of(run) is State.STOPPED
    run.take([both([0.5], [0.5])] * 5)
    assert state_of(run) is State.STOPPED
    assert run.modes(1) == [Mode.HIGH]


def test_it_is_given_up_when_too_much_variance_is_left():
    run = disagreeing(ProxyRun(Rules(stop_variance=0.01)), 5)

    assert state_of(run) is State.STOPPED
    assert "unexplained" in run.reason


def test_too_much_variance_keeps_it_from_standing_in():
    near = ProxyRun(Rules(max_variance=0.0, stop_r2=0.0))
    for step in range(7):
        near.take([both([step / 7], [step / 7 + 0.01 * (-1) ** step])])

    assert near.fit is not None
    assert near.fit.r2 > 0.9
    assert state_of(near) is State.CALIBRATING


def test_the_gain_is_what_was_saved_less_what_calibration_cost():
    run = agreeing(ProxyRun(Rules()), 6)
    assert run.net_gain_usd == pytest.approx(-6 * 2 * 0.01)

    run.take([alone([1.0, 0.0, 1.0])])

    assert run.net_gain_usd == pytest.approx(3 * (0.1 - 0.01) - 12 * 0.01)


def test_a_rollout_that_is_looked_at_again_is_not_paid_again():
    run = agreeing(ProxyRun(Rules()), 6)
    look = alone([1.0, 0.0])
    run.take([look])
    once = run.net_gain_usd

    run.take([look])

    assert run.net_gain_usd == once


def test_patience_ends_with_the_money():
    run = ProxyRun(Rules(min_net_gain_usd=-0.05))
    run.take([both([0.1, 0.2], [0.1, 0.2])])
    run.take([both([0.1, 0.2], [0.1, 0.2])])
    assert state_of(run) is State.CALIBRATING

    run.take([both([0.1, 0.2], [0.1, 0.2])])

    assert state_of(run) is State.STOPPED
    assert "net gain" in run.reason


def test_an_unknown_price_is_an_unknown_gain_and_never_ends_patience():
    run = agreeing(ProxyRun(Rules(min_net_gain_usd=0.0)), 0)
    run.take([both([0.1], [0.1], high_usd=None)])
    run.take([both([0.9], [0.9])])

    assert run.net_gain_usd is None
    assert state_of(run) is State.CALIBRATING


def test_rollouts_that_were_not_measured_make_no_pair_and_save_nothing():
    run = ProxyRun(Rules())
    run.take([both([None, 0.5], [1.0, None])])
    assert run.pairs == []

    run.take([both([None, 0.5, 1.0], [1.0, 0.25, 0.75])])
    assert run.pairs == [Pair(low=0.75, high=0.5)]

    before = run.net_gain_usd
    run.take([alone([None])])
    assert before is not None
    assert run.net_gain_usd == pytest.approx(before - 0.01)


def test_the_same_looks_lead_to_the_same_place():
    looks = [both([step / 9, 0.3], [step / 8, None]) for step in range(8)] + [alone([0.2])]
    whole, again = ProxyRun(Rules(verify_every=3)), ProxyRun(Rules(verify_every=3))

    for look in looks:
        whole.take([look])
        again.take([look])

    assert again.modes(4) == whole.modes(4)
    assert (again.fit, again.state, again.net_gain_usd) == (
        whole.fit,
        whole.state,
        whole.net_gain_usd,
    )

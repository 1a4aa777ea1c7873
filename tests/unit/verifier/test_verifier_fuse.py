"""The fusion of reward parts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_verifier.fuse import Failed, Parts, Weights, WeightsInvalid, fuse

PART = st.floats(0, 1)
WEIGHT = st.floats(0, 1e300)


@given(PART, PART, PART, WEIGHT, WEIGHT, WEIGHT)
def test_the_fused_reward_lies_between_its_weighed_parts(a, b, c, u, v, w):
    weights = Weights(environment=u, event=v, outcome=w)
    fused = fuse(Parts(environment=a, event=b, outcome=c), weights)
    weighed = [value for value, weight in ((a, u), (b, v), (c, w)) if weight > 0]
    if not weighed:
        assert isinstance(fused, Failed)
        return
    assert isinstance(fused, float)
    assert min(weighed) - 1e-12 <= fused <= max(weighed) + 1e-12


@given(PART, st.floats(1e-300, 1e300))
def test_a_single_part_is_its_own_mean_whatever_its_weight(value, weight):
    assert fuse(Parts(outcome=value), Weights(outcome=weight)) == pytest.approx(value)


@given(PART, PART)
def test_a_part_that_weighs_0_does_not_count(a, b):
    assert fuse(Parts(environment=a, outcome=b), Weights(environment=1.0)) == pytest.approx(a)


def test_a_missing_part_with_a_weight_is_a_failure_that_names_it():
    fused = fuse(Parts(environment=1.0), Weights(environment=1.0, event=0.1, outcome=0.1))
    assert isinstance(fused, Failed)
    assert fused.reason == "REWARD_PART_MISSING"
    assert fused.metadata == {"parts": "event, outcome"}


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_part_outside_the_unit_interval_is_a_failure(value):
    fused = fuse(Parts(environment=value), Weights(environment=1.0))
    assert isinstance(fused, Failed)
    assert fused.reason == "REWARD_INVALID"


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_that_make_no_mean_are_refused_by_name(weight):
    with pytest.raises(WeightsInvalid, match="`event`"):
        Weights(event=weight)


def test_no_weights_mean_the_one_part_there_is():
    assert Weights().resolved(has_graph=True) == Weights(outcome=1.0)
    assert Weights().resolved(has_graph=False) == Weights(environment=1.0)
    assert Weights(event=1.0).resolved(has_graph=True) == Weights(event=1.0)

"""Which arm a rollout is served: by weight, kept, and moved no more than needed."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_interceptor.policies.arms import Assignments, chosen
from burnish_interceptor.policies.policy import Arm, Policy

ROLLOUTS = 100_000
# Upper 0.1 % points of the chi-square distribution, by degrees of freedom.
CRITICAL = {1: 10.828, 2: 13.816, 3: 16.266}


def arms(*weights):
    return tuple(
        Arm(name=f"arm-{n}", candidate_id=f"cand_{n}", weight=weight)
        for n, weight in enumerate(weights)
    )


def policy(*weights, version=1):
    return Policy(policy_id="live", version=version, job="", stages=(), arms=arms(*weights))


def names(found):
    return [one.name for one in found]


def name_of(found):
    assert found is not None
    return found.name


@pytest.mark.parametrize(
    "weights", [(1.0, 1.0), (9.0, 1.0), (0.5, 0.3, 0.2), (1.0, 99.0, 3.0, 7.0)]
)
def test_weights_are_honoured_over_many_rollouts(weights):
    served = arms(*weights)
    seen = Counter(name_of(chosen(served, f"rollout-{n}")) for n in range(ROLLOUTS))
    total = sum(weights)
    chi_square = sum(
        (seen[arm.name] - ROLLOUTS * arm.weight / total) ** 2 / (ROLLOUTS * arm.weight / total)
        for arm in served
    )
    assert chi_square < CRITICAL[len(weights) - 1]


def test_a_changed_weight_moves_only_the_share_that_it_has_to():
    before = {n: name_of(chosen(arms(0.9, 0.1), f"r{n}")) for n in range(20_000)}
    after = {n: name_of(chosen(arms(0.8, 0.2), f"r{n}")) for n in range(20_000)}
    moved = Counter((before[n], after[n]) for n in before if before[n] != after[n])
    assert set(moved) == {("arm-0", "arm-1")}
    assert 0.09 < sum(moved.values()) / 20_000 < 0.11


@given(
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=6),
    rollout=st.text(max_size=20),
)
def test_every_replica_chooses_alike_and_nobody_is_served_an_arm_without_a_weight(weights, rollout):
    served = arms(*weights)
    found = chosen(served, rollout)
    assert chosen(served[::-1], rollout) == found
    assert (found is None) == (max(weights) <= 0)
    assert found is None or found.weight > 0


def test_a_rollout_keeps_its_candidate_when_weights_change_on_its_way():
    kept = Assignments()
    rollouts = [f"r{n}" for n in range(500)]
    before = names(kept.choose(policy(0.9, 0.1), one) for one in rollouts)
    after = names(kept.choose(policy(0.1, 0.9, version=2), one) for one in rollouts)
    assert after == before
    fresh = names(Assignments().choose(policy(0.1, 0.9, version=2), one) for one in rollouts)
    assert fresh != before


def test_nobody_is_kept_on_an_arm_that_is_off():
    kept = Assignments()
    rollouts = [f"r{n}" for n in range(200)]
    for one in rollouts:
        kept.choose(policy(0.5, 0.5), one)
    assert set(names(kept.choose(policy(1.0, 0.0), one) for one in rollouts)) == {"arm-0"}
    gone = replace(policy(1.0), arms=arms(1.0, 1.0)[1:])
    assert set(names(kept.choose(gone, one) for one in rollouts)) == {"arm-1"}


def test_a_policy_with_nothing_to_serve_has_no_arm():
    kept = Assignments()
    assert kept.choose(policy(), "r") is None
    assert kept.choose(policy(0.0), "r") is None
    assert kept.choose(policy(0.0, 0.0), "r") is None


def test_ids_made_up_for_one_call_take_no_room_and_old_rollouts_make_room():
    kept = Assignments(size=2)
    shares = policy(0.5, 0.5)
    turned = policy(1e-9, 1e6)
    moving = next(f"r{n}" for n in range(99) if name_of(chosen(shares.arms, f"r{n}")) == "arm-0")
    kept.choose(shares, moving, lasting=False)
    assert name_of(kept.choose(turned, moving)) == "arm-1"
    kept = Assignments(size=2)
    kept.choose(shares, moving)
    for other in ("x", "y"):
        kept.choose(shares, other)
    assert name_of(kept.choose(turned, moving)) == "arm-1"

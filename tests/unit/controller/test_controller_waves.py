"""How many rollouts go together under a cap: by what came before them in order, never by luck."""

import pytest

from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import NOTHING, Account, Amount, Caps
from burnish_controller.ledger.calls import Call, CallState
from burnish_controller.waves import Waves

DEAREST = Amount(100, 1.0)


def call(state=CallState.DONE, *, tokens=40, usd=0.4, role="task"):
    return Call(
        scope="r1", request_hash="aa", ordinal=0, job_id="job1", role=role, position=0, attempt=1,
        client_id="c", sequence=1, model=types_v1.ModelSpec(), state=state, worst=DEAREST,
        input_tokens=tokens, usd=usd,
    )  # fmt: skip


def waves(caps, *, booked=NOTHING, closing=False, dearest=DEAREST, used=None, held=NOTHING):
    account = Account(caps)
    account.load("task", booked)
    account.hold(held)
    return Waves(account, closing=closing, dearest=dearest, used=used or {})


@pytest.mark.parametrize(
    ("caps", "booked", "width"),
    [
        (Caps(tokens=1_000), NOTHING, 5),
        (Caps(tokens=1_000), Amount(399, 0.0), 3),
        (Caps(tokens=1_000), Amount(1_000, 0.0), 1),
        (Caps(usd=10.0), Amount(0, 3.0), 3),
        (Caps(usd=10.0), Amount(0, None), 1),
        (Caps(usd_by_role={"task": 4.0}), NOTHING, 2),
        (Caps(tokens=1_000, usd=4.0), NOTHING, 2),
    ],
)
def test_as_many_go_together_as_the_tightest_cap_surely_allows(caps, booked, width):
    assert waves(caps, booked=booked).width() == width


def test_only_the_closing_test_may_use_what_is_held_for_it():
    caps, held = Caps(tokens=1_000), Amount(600, 0.0)
    assert waves(caps, held=held).width() == 2
    assert waves(caps, held=held, closing=True).width() == 5


def test_the_first_rollout_of_a_job_goes_alone():
    found = waves(Caps(tokens=100_000), dearest=NOTHING)
    assert found.width() == 1
    found.passed("r1", [call()])
    assert found.width() == 500


def test_rollouts_that_cost_nothing_are_not_held_up_by_a_cap_of_money():
    free = waves(Caps(usd=1.0), dearest=Amount(100, 0.0))
    assert free.width() > 10_000


def test_a_dearer_rollout_narrows_the_waves_after_it():
    found = waves(Caps(tokens=1_000))
    found.passed("r1", [call(), call()])
    assert found.width() == 2


@pytest.mark.parametrize("state", [CallState.DONE, CallState.OPEN])
def test_what_later_cells_used_before_a_restart_does_not_count_yet(state):
    # Booked or reserved, the account knows of it already; in order it has not happened.
    account = Account(Caps(tokens=1_000))
    ahead = call(state)
    if state is CallState.DONE:
        account.load("task", Amount(40, 0.4))
    else:
        account.reserve("task", DEAREST)
    found = Waves(account, closing=False, dearest=DEAREST, used={"r9": [ahead]})
    assert found.width() == 5
    found.passed("r9", [ahead])
    assert found.width() == 4

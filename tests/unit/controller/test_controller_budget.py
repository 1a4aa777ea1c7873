import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from burnish_controller.ledger.budget import NOTHING, ROLES, Account, Amount, Caps

TOKEN_CAP = 1_000
USD_CAP = 1.0
TASK_CAP = 0.6
SLACK = 1e-9


class Spending(RuleBasedStateMachine):
    """Whatever the order of what calls do, no cap is passed."""

    calls: Bundle[tuple[str, Amount]] = Bundle("calls")
    lost: Bundle[tuple[str, Amount]] = Bundle("lost")

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(Caps(usd=USD_CAP, tokens=TOKEN_CAP, usd_by_role={"task": TASK_CAP}))
        self.spent = {role: 0.0 for role in ROLES}

    @rule(tokens=st.integers(0, 400), usd=st.floats(0, 0.5))
    def hold(self, tokens: int, usd: float) -> None:
        self.account.hold(Amount(tokens, usd))

    @rule(
        target=calls,
        role=st.sampled_from(ROLES),
        tokens=st.integers(1, 300),
        usd=st.floats(0, 0.4),
        closing=st.booleans(),
    )
    def begin(self, role: str, tokens: int, usd: float, *, closing: bool) -> tuple[str, Amount]:
        worst = Amount(tokens, usd)
        if self.account.refusal(role, worst, closing=closing) is not None:
            return role, NOTHING
        self.account.reserve(role, worst)
        return role, worst

    @rule(call=consumes(calls), share=st.floats(0, 1))
    def settle(self, call: tuple[str, Amount], share: float) -> None:
        role, worst = call
        assert worst.usd is not None
        actual = Amount(int(worst.tokens * share), worst.usd * share)
        self.account.settle(role, worst, actual)
        self.spent[role] += worst.usd * share

    @rule(call=consumes(calls))
    def release(self, call: tuple[str, Amount]) -> None:
        self.account.release(*call)

    @rule(target=lost, call=consumes(calls))
    def lose(self, call: tuple[str, Amount]) -> tuple[str, Amount]:
        role, worst = call
        assert worst.usd is not None
        self.account.settle(role, worst, worst)
        self.spent[role] += worst.usd
        return call

    @rule(call=consumes(lost))
    def take_back(self, call: tuple[str, Amount]) -> None:
        role, worst = call
        assert worst.usd is not None
        self.account.take_back(role, worst)
        self.spent[role] -= worst.usd

    @invariant()
    def caps_hold(self) -> None:
        committed = self.account.booked() + self.account.reserved()
        assert committed.usd is not None
        assert committed.tokens <= TOKEN_CAP
        assert committed.usd <= USD_CAP + SLACK
        task = self.account.booked("task").usd
        assert task is not None
        assert task <= TASK_CAP + SLACK

    @invariant()
    def books_are_true(self) -> None:
        for role in ROLES:
            booked = self.account.booked(role).usd
            assert booked is not None
            assert math.isclose(booked, self.spent[role], abs_tol=SLACK)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_only_the_closing_test_may_use_the_held_share():
    account = Account(Caps(tokens=100))
    account.hold(Amount(60, 0.0))
    worst = Amount(50, 0.0)
    refusal = account.refusal("task", worst, closing=False)
    assert refusal is not None
    assert refusal.reason == "BUDGET_EXHAUSTED"
    assert account.refusal("task", worst, closing=True) is None


def test_a_new_hold_replaces_the_one_before():
    account = Account(Caps(tokens=100))
    account.hold(Amount(100, 0.0))
    account.hold(Amount(10, 0.0))
    assert account.refusal("task", Amount(90, 0.0), closing=False) is None
    assert account.refusal("task", Amount(91, 0.0), closing=False) is not None


def test_a_call_that_fills_the_cap_exactly_is_allowed():
    account = Account(Caps(tokens=100, usd=1.0))
    assert account.refusal("task", Amount(100, 1.0), closing=False) is None


@pytest.mark.parametrize(
    ("caps", "role", "reason"),
    [
        (Caps(usd=5.0), "proposer", "PRICE_UNKNOWN"),
        (Caps(usd_by_role={"judge": 5.0}), "judge", "PRICE_UNKNOWN"),
        (Caps(usd_by_role={"judge": 5.0}), "task", None),
        (Caps(tokens=10), "task", None),
        (Caps(), "task", None),
    ],
)
def test_an_unknown_price_is_refused_where_a_money_cap_has_to_be_kept(caps, role, reason):
    refusal = Account(caps).refusal(role, Amount(10, None), closing=False)
    assert (None if refusal is None else refusal.reason) == reason


def test_the_cap_of_one_role_leaves_the_others_alone():
    account = Account(Caps(usd_by_role={"task": 0.5}))
    account.reserve("task", Amount(1, 0.5))
    assert account.refusal("task", Amount(1, 0.01), closing=False) is not None
    assert account.refusal("proposer", Amount(1, 100.0), closing=False) is None


def test_a_refusal_names_the_cap_and_the_setting():
    refusal = Account(Caps(usd=0.25)).refusal("task", Amount(1, 0.5), closing=False)
    assert refusal is not None
    assert "0.25" in refusal.message
    assert "max_cost_usd" in refusal.message


def test_the_closing_tests_share_of_a_roles_cap_is_kept_from_its_other_calls():
    account = Account(Caps(usd_by_role={"task": 1.0, "judge": 1.0}))
    account.hold(Amount(10, 0.9), by_role={"task": Amount(10, 0.7), "judge": Amount(0, 0.2)})
    for role, usd, closing, allowed in [
        ("task", 0.4, False, False),
        ("task", 0.4, True, True),
        ("task", 0.3, False, True),
        ("judge", 0.8, False, True),
        ("judge", 0.9, False, False),
    ]:
        refusal = account.refusal(role, Amount(1, usd), closing=closing)
        assert (refusal is None) is allowed, (role, usd, closing)

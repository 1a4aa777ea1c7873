"""Warnings at 50 and 80 percent of a cap: each once, whatever happens."""

import pytest

from burnish.api.job import v1 as job_v1
from burnish_controller.budget_warnings import BudgetWarnings
from burnish_controller.ledger.budget import Account, Amount, Caps
from burnish_controller.ledger.purse import Purse, TenantCaps
from burnish_controller.ledger.shares import crossings


def account(**caps):
    return Account(Caps(**caps))


def keys(found):
    return [one.key for one in crossings(found)]


def test_a_share_is_spent_when_it_is_booked_and_not_when_it_is_reserved():
    found = account(usd=1.0)
    found.reserve("task", Amount(10, 0.9))
    assert keys(found) == []
    found.settle("task", Amount(10, 0.9), Amount(10, 0.5))
    assert keys(found) == ["max_cost_usd/50"]
    found.load("judge", Amount(10, 0.3))
    assert keys(found) == ["max_cost_usd/50", "max_cost_usd/80"]


def test_every_cap_is_looked_at_for_itself():
    purse = Purse(TenantCaps(usd=10.0, usd_per_day=1.0), wall_clock=lambda: 86_400.0 * 7)
    found = Account(Caps(usd=2.0, tokens=100, usd_by_role={"proposer": 0.1, "task": 5.0}), purse)
    found.load("proposer", Amount(85, 0.09))
    purse.book(7, 0.6)
    assert keys(found) == [
        "max_tokens/50", "max_tokens/80",
        "max_cost_usd_by_role.proposer/50", "max_cost_usd_by_role.proposer/80",
        "tenant_per_day/7/50",
    ]  # fmt: skip


def test_money_of_unknown_price_is_no_share_of_a_cap():
    found = account(usd=1.0, tokens=100)
    found.load("task", Amount(60, None))
    assert keys(found) == ["max_tokens/50"]


def test_shares_are_of_what_a_cap_leaves_beside_the_closing_test():
    found = account(usd=1.0, usd_by_role={"task": 1.0})
    found.hold(Amount(0, 0.6), by_role={"task": Amount(0, 0.5)})
    found.load("task", Amount(1, 0.2))
    assert keys(found) == ["max_cost_usd/50"]
    found.load("task", Amount(1, 0.12))
    assert keys(found) == [
        "max_cost_usd/50", "max_cost_usd/80", "max_cost_usd_by_role.task/50",
    ]  # fmt: skip


def test_a_cap_of_nothing_has_no_shares():
    assert keys(account(usd=0.0)) == []


def test_a_sum_of_many_small_costs_reaches_its_share():
    found = account(usd=1.0)
    for _ in range(10):
        found.load("task", Amount(1, 0.05))
    assert keys(found) == ["max_cost_usd/50"]


async def test_the_ledger_tells_each_share_once(bank):
    client = await bank.client(tokens=300)
    for number in range(3):
        begun = await client.begin(request_hash=f"{number:02}")
        await client.finish(begun.call_id, read=50, written=40)
    assert [one.key for _, one in bank.told] == ["max_tokens/50", "max_tokens/80"]
    assert bank.told[0][1].spent == 180


async def test_a_call_that_is_possibly_paid_counts_as_spent(bank):
    client = await bank.client(tokens=100)
    begun = await client.begin()
    await client.fail(begun.call_id, not_sent=False)
    assert {one.key for _, one in bank.told} == {"max_tokens/50", "max_tokens/80"}


async def test_after_a_restart_what_was_spent_before_is_told_when_the_job_is_taken_up(
    bank, eventually
):
    client = await bank.client(tokens=150)
    begun = await client.begin()
    await client.finish(begun.call_id, read=50, written=40)
    bank.told.clear()
    again = bank.ledger()
    await again.account("job1")

    async def told() -> bool:
        return [one.key for _, one in bank.told] == ["max_tokens/50"]

    await eventually(told)


@pytest.fixture
async def warnings(stores, make_spec):
    job = job_v1.Job(name="jobs/job1", spec=make_spec(), state=job_v1.JOB_STATE_PENDING)
    await stores.jobs.create(job, request_id="", secret=None)
    return BudgetWarnings(jobs=stores.jobs, events=stores.events)


async def test_the_log_has_each_warning_once_after_restarts_too(warnings, stores):
    (crossing,) = crossings(_spent(0.6))
    again = stores.restarted()
    await warnings.tell("job1", crossing)
    await BudgetWarnings(jobs=again.jobs, events=again.events).tell("job1", crossing)
    (event,) = await stores.events.after("job1", 0)
    assert event.level == job_v1.EVENT_LEVEL_WARNING
    assert event.message == "50 % of `max_cost_usd` is spent: 0.6000 of 1.0000 US dollars"
    warning = event.budget_warning
    assert (warning.cap, warning.percent, warning.spent, warning.limit) == (
        "max_cost_usd", 50, 0.6, 1.0,
    )  # fmt: skip


async def test_spending_that_belongs_to_no_job_has_no_log(warnings, stores):
    (crossing,) = crossings(_spent(0.6))
    await warnings.tell("scoring-1", crossing)
    assert await stores.events.after("scoring-1", 0) == []


def _spent(usd):
    found = account(usd=1.0)
    found.load("task", Amount(1, usd))
    return found

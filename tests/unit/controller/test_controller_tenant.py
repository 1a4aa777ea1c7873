"""Caps of a tenant over all its jobs: in all and by day, with restarts, and before the closing."""

import pytest

from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import Account, Amount, Caps
from burnish_controller.ledger.calls import Scope
from burnish_controller.ledger.purse import Purse, TenantCaps, TenantCapsInvalid
from burnish_controller.waves import Waves

DAY = 86_400.0
# The price of conftest's model: 1 US dollar a million read, 2 a million written.
WORST = 140e-6


def purse(**caps):
    return Purse(TenantCaps(**caps), wall_clock=lambda: 3 * DAY + 5)


async def job(client, job_id):
    scope = Scope(scope_id=f"of-{job_id}", job_id=job_id, closing=False)
    await client.ledger.open_scope(scope, before=False)
    return {"job": f"jobs/{job_id}", "scope": scope.scope_id}


def refusal_of(decision):
    return decision.refused.reason if decision.HasField("refused") else None


async def test_two_jobs_share_what_their_tenant_may_spend(bank):
    bank.tenant = TenantCaps(usd=2.5 * WORST)
    client = await bank.client()
    one, two = await job(client, "one"), await job(client, "two")
    begun = await client.begin(**one)
    assert refusal_of(await client.begin(**two)) is None
    third = await client.begin(**two, request_hash="bb")
    assert third.refused.reason == "BUDGET_EXHAUSTED"
    assert "BURNISH_TENANT_MAX_USD" in third.refused.message
    await client.fail(begun.call_id, not_sent=True)
    assert refusal_of(await client.begin(**two, request_hash="bb")) is None


async def test_what_a_tenant_spent_outlives_a_restart(bank):
    bank.tenant = TenantCaps(usd=2.5 * WORST)
    client = await bank.client()
    answered = await client.begin()
    await client.finish(answered.call_id, read=60, written=40)
    lost = await client.begin(request_hash="bb")
    await client.fail(lost.call_id, not_sent=False)
    after = await bank.client()
    assert refusal_of(await after.begin(**await job(after, "other"))) == "BUDGET_EXHAUSTED"


async def test_the_next_day_has_a_cap_of_its_own(bank):
    bank.tenant = TenantCaps(usd_per_day=1.5 * WORST)
    bank.now = 10 * DAY
    client = await bank.client()
    begun = await client.begin()
    await client.finish(begun.call_id, read=60, written=40)
    refused = await client.begin(request_hash="bb")
    assert refused.refused.reason == "BUDGET_EXHAUSTED"
    assert "midnight UTC" in refused.refused.message
    bank.now = 11 * DAY
    assert refusal_of(await client.begin(request_hash="bb")) is None


async def test_what_a_retried_call_may_have_cost_moves_to_the_day_of_its_retry(bank):
    bank.tenant = TenantCaps(usd_per_day=1.5 * WORST)
    bank.now = 10 * DAY
    client = await bank.client()
    begun = await client.begin(ordinal=0)
    await client.fail(begun.call_id, not_sent=False)
    bank.now = 11 * DAY
    # The lost try and the new one together would pass the cap of one day.
    assert refusal_of(await client.begin(ordinal=0)) == "BUDGET_EXHAUSTED"


async def test_an_unknown_price_is_refused_under_a_cap_of_the_tenant(bank):
    bank.tenant = TenantCaps(usd=1.0)
    client = await bank.client()
    unknown = await _unpriced(client)
    assert unknown.refused.reason == "PRICE_UNKNOWN"
    assert "price" in unknown.refused.message


async def _unpriced(client):
    from burnish.api.ledger import v1 as ledger_v1

    request = ledger_v1.BeginCall(
        job="jobs/job1", scope="r1", attempt=1, request_hash="cc",
        role=ledger_v1.CALL_ROLE_TASK, model=types_v1.ModelSpec(provider="x", model="y"),
        worst_case=ledger_v1.WorstCase(input_tokens=1, output_tokens=1),
    )  # fmt: skip
    return await client.ledger.begin((client.name, 999), request)


async def test_what_is_held_for_a_closing_test_is_kept_from_every_other_job(bank):
    bank.tenant = TenantCaps(usd=2.5 * WORST)
    client = await bank.client()
    one, two = await job(client, "one"), await job(client, "two")
    (await client.ledger.account("one")).hold(Amount(100, 2 * WORST))
    assert refusal_of(await client.begin(**two)) == "BUDGET_EXHAUSTED"
    closing = Scope(scope_id="test-of-one", job_id="one", closing=True)
    await client.ledger.open_scope(closing, before=False)
    assert refusal_of(await client.begin(**one)) == "BUDGET_EXHAUSTED"
    for body in ("bb", "cc"):
        decision = await client.begin(job="jobs/one", scope="test-of-one", request_hash=body)
        assert refusal_of(decision) is None


def test_a_lost_call_found_again_is_booked_at_what_it_used():
    found = purse(usd=1.0)
    found.reserve(3, 0.4)
    found.reserve(3, -0.4)
    found.book(3, 0.4)
    found.book(3, -0.4)
    found.book(3, 0.1)
    assert found.left() == pytest.approx(0.9)


def test_the_narrower_of_both_caps_says_what_is_left():
    found = purse(usd=1.0, usd_per_day=0.5)
    found.load({2: (0.3, 0.0), 3: (0.1, 0.1)})
    assert found.left() == pytest.approx(0.3)
    assert {one.cap: one.booked for one in found.standing()} == {
        "tenant": pytest.approx(0.4),
        "tenant_per_day": pytest.approx(0.1),
    }


def test_waves_are_as_narrow_as_what_the_tenant_has_left():
    spent = purse(usd=1.0)
    account = Account(Caps(), spent)
    assert account.binds("task")
    waves = Waves(account, closing=False, dearest=Amount(10, 0.0625), used={})
    assert waves.width() == 8
    account.hold(Amount(0, 0.25))
    assert waves.width() == 6
    spent.book(3, 0.5)
    assert waves.width() == 2


def test_caps_are_read_from_the_environment_and_every_fault_is_told():
    caps = TenantCaps.from_environment(
        {"BURNISH_TENANT_MAX_USD": " 20 ", "BURNISH_TENANT_MAX_USD_PER_DAY": "2.5"}
    )
    assert (caps.usd, caps.usd_per_day) == (20.0, 2.5)
    assert not TenantCaps.from_environment({}).bind
    assert TenantCaps.from_environment({"BURNISH_TENANT_MAX_USD": "0"}).bind
    with pytest.raises(TenantCapsInvalid) as refused:
        TenantCaps.from_environment(
            {"BURNISH_TENANT_MAX_USD": "nan", "BURNISH_TENANT_MAX_USD_PER_DAY": "-1"}
        )
    assert "`nan`" in refused.value.message
    assert "BURNISH_TENANT_MAX_USD_PER_DAY" in refused.value.message

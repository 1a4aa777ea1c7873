import asyncio

import pytest

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.ledger.calls import CallState, Scope


def kind(decision: ledger_v1.CallDecision) -> str | None:
    return decision.WhichOneof("decision")


async def booked(client, job_id: str = "job1"):
    return (await client.ledger.account(job_id)).booked()


async def test_a_finished_call_is_replayed_in_the_next_attempt(bank):
    client = await bank.client()
    first = await client.begin(attempt=1)
    await client.finish(first.call_id, "paid once")
    again = await client.begin(attempt=2)
    assert (kind(first), kind(again)) == ("proceed", "replay")
    assert again.replay.body == b"paid once"
    assert again.call_id == first.call_id


async def test_five_identical_samples_are_five_calls(bank):
    client = await bank.client()
    decisions = [await client.begin() for _ in range(5)]
    assert [kind(one) for one in decisions] == ["proceed"] * 5
    assert len({one.call_id for one in decisions}) == 5


async def test_five_samples_replay_each_its_own_reply(bank):
    client = await bank.client()
    for n, one in enumerate([await client.begin() for _ in range(5)]):
        await client.finish(one.call_id, f"sample {n}")
    again = [await client.begin(attempt=2) for _ in range(5)]
    assert [one.replay.body for one in again] == [f"sample {n}".encode() for n in range(5)]


async def test_a_retry_of_the_client_keeps_the_ordinal(bank):
    client = await bank.client()
    first = await client.begin()
    await client.fail(first.call_id, not_sent=True)
    retry = await client.begin(client_retry=True)
    assert kind(retry) == "proceed"
    assert retry.call_id == first.call_id


async def test_a_retry_without_a_first_begin_is_the_first(bank):
    client = await bank.client()
    assert (await client.begin(client_retry=True)).call_id.endswith("#0")


async def test_an_explicit_ordinal_is_taken(bank):
    client = await bank.client()
    assert (await client.begin(ordinal=3)).call_id.endswith("#3")


async def test_an_identical_call_in_flight_is_waited_for_and_replayed(bank):
    client = await bank.client()
    first = await client.begin(attempt=1)
    waiting = asyncio.create_task(client.begin(attempt=2))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await client.finish(first.call_id, "shared")
    assert (await waiting).replay.body == b"shared"


async def test_a_waiter_proceeds_when_the_call_in_flight_was_not_sent(bank):
    client = await bank.client()
    first = await client.begin(attempt=1)
    waiting = asyncio.create_task(client.begin(attempt=2))
    await asyncio.sleep(0)
    await client.fail(first.call_id, not_sent=True)
    assert kind(await waiting) == "proceed"


async def test_one_of_several_waiters_proceeds_at_a_time(bank):
    client = await bank.client()
    first = await client.begin(attempt=1)
    waiting = [asyncio.create_task(client.begin(attempt=n)) for n in (2, 3)]
    await asyncio.sleep(0)
    await client.fail(first.call_id, not_sent=True)
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.02)
    assert len(done) == 1
    assert kind(next(iter(done)).result()) == "proceed"
    await client.finish(first.call_id, "second try")
    assert (await next(iter(pending))).replay.body == b"second try"


async def test_the_first_two_begins_of_a_job_with_one_key_give_one_leave(bank):
    client = await bank.client()
    both = [asyncio.create_task(client.begin(attempt=n)) for n in (1, 2)]
    done, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    await asyncio.sleep(0.05)
    assert sum(one.done() for one in both) == 1
    await client.finish(next(iter(done)).result().call_id)
    assert kind(await next(iter(pending))) == "replay"


async def test_a_begin_repeated_after_a_broken_session_is_recognised(bank):
    client = await bank.client()
    first = await client.begin()
    repeated = await client.begin(same_as=client.sequence)
    assert kind(repeated) == "proceed"
    assert repeated.call_id == first.call_id
    assert (await client.ledger.account("job1")).reserved().tokens == 100


async def test_a_begin_repeated_after_a_restart_of_the_controller_is_recognised(bank):
    client = await bank.client()
    first = await client.begin()
    second = await client.begin()
    after = await _restarted(bank, client)
    assert (await after.begin(same_as=2)).call_id == second.call_id
    assert (await after.begin(same_as=1)).call_id == first.call_id
    third = await after.begin()
    assert third.call_id.endswith("#2")


async def _restarted(bank, client):
    ledger = bank.ledger(grace=60)
    ledger.session_opened(client.name)
    await ledger.open_scope(Scope(scope_id="r1", job_id="job1", closing=False), before=True)
    return type(client)(ledger, client.name, client.sequence)


async def test_a_begin_that_was_granted_before_a_restart_goes_on_before_its_scope_is_open(bank):
    client = await bank.client()
    first = await client.begin()
    after = type(client)(bank.ledger(), client.name, client.sequence)
    repeated = await after.begin(same_as=1)
    assert kind(repeated) == "proceed"
    assert repeated.call_id == first.call_id
    other = await after.begin()
    assert other.refused.reason == "SCOPE_NOT_ACTIVE"


async def test_a_finish_that_comes_before_the_scope_is_open_again_is_replayed(bank):
    client = await bank.client()
    first = await client.begin()
    ledger = bank.ledger()
    after = type(client)(ledger, client.name, client.sequence)
    await after.finish(first.call_id, "late but here")
    await ledger.open_scope(Scope(scope_id="r1", job_id="job1", closing=False), before=True)
    assert (await after.begin(attempt=2)).replay.body == b"late but here"


async def test_an_orphan_is_possibly_paid_after_the_grace_and_its_waiter_proceeds(bank):
    client = await bank.client()
    await client.begin(attempt=1)
    other = type(client)(client.ledger, "interceptor-1")
    client.ledger.session_opened("interceptor-1")
    waiting = asyncio.create_task(other.begin(attempt=2))
    await asyncio.sleep(0)
    client.ledger.session_closed(client.name)
    assert kind(await asyncio.wait_for(waiting, 5)) == "proceed"
    assert (await booked(client)).tokens == 100
    usage = await client.ledger.usage("job1")
    assert usage["task"].possibly_paid_call_count == 1


async def test_a_client_that_comes_back_in_time_keeps_its_calls(bank):
    client = await bank.client(grace=0.02)
    first = await client.begin()
    client.ledger.session_closed(client.name)
    client.ledger.session_opened(client.name)
    await asyncio.sleep(0.05)
    await client.finish(first.call_id)
    assert (await client.ledger.usage("job1"))["task"].possibly_paid_call_count == 0


async def test_the_reply_of_a_call_given_up_as_lost_is_taken_when_it_comes_after_all(
    bank, eventually
):
    client = await bank.client()
    first = await client.begin()
    client.ledger.session_closed(client.name)

    async def lost() -> bool:
        return bool((await booked(client)).tokens == 100)

    await eventually(lost)
    await client.finish(first.call_id, "late", read=10, written=5)
    assert (await booked(client)).tokens == 15
    usage = (await client.ledger.usage("job1"))["task"]
    assert (usage.possibly_paid_call_count, usage.call_count) == (0, 1)
    assert (await client.begin(attempt=2)).replay.body == b"late"


async def test_finish_is_idempotent(bank):
    client = await bank.client()
    first = await client.begin()
    await client.finish(first.call_id, "one")
    await client.finish(first.call_id, "two")
    assert (await booked(client)).tokens == 15
    assert (await client.begin(attempt=2)).replay.body == b"one"


async def test_a_finish_whose_client_leaves_meanwhile_still_wakes_the_waiters(bank):
    client = await bank.client()
    first = await client.begin(attempt=1)
    waiting = asyncio.create_task(client.begin(attempt=2))
    finishing = asyncio.create_task(client.finish(first.call_id, "kept"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    finishing.cancel()
    assert (await asyncio.wait_for(waiting, 5)).replay.body == b"kept"


async def test_a_possibly_paid_failure_stays_booked_at_its_worst_case(bank):
    client = await bank.client()
    first = await client.begin()
    await client.fail(first.call_id, not_sent=False)
    assert (await booked(client)).tokens == 100
    again = await client.begin(attempt=2)
    await client.finish(again.call_id, read=10, written=5)
    assert (await booked(client)).tokens == 115


async def test_an_unsent_failure_costs_nothing(bank):
    client = await bank.client()
    first = await client.begin()
    await client.fail(first.call_id, not_sent=True)
    account = await client.ledger.account("job1")
    assert (account.booked().tokens, account.reserved().tokens) == (0, 0)


async def test_a_cap_refuses_and_the_refusal_is_known_by_attempt(bank):
    client = await bank.client(tokens=150)
    await client.begin()
    refused = await client.begin()
    assert refused.refused.reason == "BUDGET_EXHAUSTED"
    scope = client.ledger.close_scope("r1")
    assert scope is not None
    assert scope.refused == {1: ["BUDGET_EXHAUSTED"]}


async def test_the_held_share_is_for_scopes_of_the_closing_test(bank):
    client = await bank.client(tokens=150)
    account = await client.ledger.account("job1")
    account.hold(type(account.booked())(100, 0.0))
    assert (await client.begin()).refused.reason == "BUDGET_EXHAUSTED"
    await client.ledger.open_scope(Scope(scope_id="t1", job_id="job1", closing=True), before=False)
    assert kind(await client.begin("t1")) == "proceed"


async def test_an_unknown_price_under_a_money_cap_is_refused(bank):
    client = await bank.client(usd=1.0)
    unknown = types_v1.ModelSpec(provider="openai", model="unheard-of")
    request = ledger_v1.BeginCall(
        job="jobs/job1", scope="r1", attempt=1, request_hash="aa", model=unknown
    )
    decision = await client.ledger.begin((client.name, 1), request)
    assert decision.refused.reason == "PRICE_UNKNOWN"


@pytest.mark.parametrize(("scope", "job"), [("r2", "jobs/job1"), ("r1", "jobs/job2")])
async def test_a_scope_that_is_not_open_for_the_job_is_refused(bank, scope, job):
    client = await bank.client()
    assert (await client.begin(scope, job=job)).refused.reason == "SCOPE_NOT_ACTIVE"


@pytest.mark.parametrize("call_id", ["", "r1", "r1#aa#x", "r1#aa#7"])
async def test_the_finish_of_an_unknown_call_is_refused(bank, call_id):
    client = await bank.client()
    with pytest.raises(InvalidArgument):
        await client.finish(call_id)


async def test_the_price_of_the_actual_prompt_is_booked_and_the_dearest_reserved(bank):
    asked: list[int | None] = []

    def price_of(model: types_v1.ModelSpec, read: int | None) -> types_v1.Price:
        asked.append(read)
        dear = read is None or read > 50
        return types_v1.Price(input_usd_per_million=1e6 if dear else 1e3, output_usd_per_million=0)

    bank.pricer = price_of
    client = await bank.client()
    stepped = types_v1.ModelSpec(provider="google", model="stepped")
    request = ledger_v1.BeginCall(
        job="jobs/job1", scope="r1", attempt=1, request_hash="aa", model=stepped,
        role=ledger_v1.CALL_ROLE_TASK,
        worst_case=ledger_v1.WorstCase(input_tokens=60, output_tokens=40),
    )  # fmt: skip
    begun = await client.ledger.begin((client.name, 1), request)
    assert (await client.ledger.account("job1")).reserved().usd == pytest.approx(60.0)
    await client.finish(begun.call_id, read=10, written=5)
    assert (await booked(client)).usd == pytest.approx(0.01)
    assert asked == [None, 10]


async def test_a_price_given_with_the_model_outlives_a_restart(bank):
    client = await bank.client()
    first = await client.begin()
    after = await _restarted(bank, client)
    await after.finish(first.call_id, read=1_000_000, written=0)
    assert (await booked(after)).usd == pytest.approx(1.0)


async def test_a_guess_of_usage_never_passes_what_was_reserved(bank):
    client = await bank.client()
    first = await client.begin()
    await client.ledger.finish(
        ledger_v1.FinishCall(
            call_id=first.call_id,
            reply=ledger_v1.CallReply(status=200, body=b"x" * 10_000),
            trace=ledger_v1.CallTrace(provider_request=b"y" * 200),
        )
    )
    spent = await booked(client)
    assert spent.tokens == 100
    assert spent.usd <= 60e-6 + 80e-6
    assert (await client.ledger.usage("job1"))["task"].estimated


async def test_sums_are_the_same_after_a_restart(bank):
    client = await bank.client()
    done = await client.begin(request_hash="a1")
    await client.finish(done.call_id)
    lost = await client.begin(request_hash="a2")
    await client.fail(lost.call_id, not_sent=False)
    await client.begin(request_hash="a3")
    before = await client.ledger.account("job1")
    after = await bank.ledger().account("job1")
    assert after.booked() == before.booked()
    assert after.reserved() == before.reserved()


async def test_calls_of_an_attempt_are_those_it_made_or_replayed(bank):
    client = await bank.client()
    for name in ("a1", "a2"):
        begun = await client.begin(request_hash=name)
        await client.finish(begun.call_id)
    await client.begin(request_hash="a2", attempt=2)
    scope = client.ledger.close_scope("r1")
    assert scope is not None
    assert [call.request_hash for call in scope.of_attempt(1)] == ["a1"]
    assert [call.request_hash for call in scope.of_attempt(2)] == ["a2"]
    assert all(call.state is CallState.DONE for call in scope.calls.values())

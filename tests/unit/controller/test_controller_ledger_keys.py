"""Calls that the app gives keys: asked for again by any process, they are the same call."""

import asyncio
from dataclasses import replace

from burnish_controller.ledger.calls import Scope

KEY, OTHER = "a" * 64, "b" * 64


def other_process(client):
    client.ledger.session_opened("interceptor-1")
    return replace(client, name="interceptor-1", sequence=0)


async def restarted(bank, client):
    ledger = bank.ledger()
    ledger.session_opened("interceptor-1")
    scope = Scope(scope_id="r1", job_id="job1", closing=False)
    await ledger.open_scope(scope, before=True)
    return replace(client, ledger=ledger, name="interceptor-1", sequence=0)


async def test_a_key_that_another_process_has_seen_replays_the_paid_call(bank):
    client = await bank.client()
    begun = await client.begin(client_key=KEY)
    await client.finish(begun.call_id, "paid")
    again = await other_process(client).begin(client_key=KEY)
    assert again.call_id == begun.call_id
    assert again.replay.body == b"paid"


async def test_a_key_asked_for_while_its_call_is_in_flight_waits_for_the_reply(bank):
    client = await bank.client()
    begun = await client.begin(client_key=KEY)
    waiting = asyncio.ensure_future(other_process(client).begin(client_key=KEY))
    await asyncio.sleep(0)
    assert not waiting.done()
    await client.finish(begun.call_id, "paid")
    assert (await waiting).replay.body == b"paid"


async def test_equal_bodies_with_keys_of_their_own_are_calls_of_their_own(bank):
    client = await bank.client()
    other = other_process(client)
    first = await client.begin(client_key=KEY)
    second = await other.begin(client_key=OTHER)
    unkeyed = await other.begin()
    assert len({first.call_id, second.call_id, unkeyed.call_id}) == 3
    for begun, text in ((first, "one"), (second, "two"), (unkeyed, "three")):
        await client.finish(begun.call_id, text)
    assert (await client.begin(client_key=OTHER)).replay.body == b"two"
    assert (await other.begin(client_key=KEY)).replay.body == b"one"


async def test_a_new_key_is_a_new_call_even_when_the_client_says_that_it_retries(bank):
    client = await bank.client()
    begun = await client.begin()
    await client.finish(begun.call_id)
    keyed = await client.begin(client_key=KEY, client_retry=True)
    assert keyed.HasField("proceed")
    assert keyed.call_id != begun.call_id


async def test_a_key_means_nothing_with_another_body_or_in_another_attempt(bank):
    client = await bank.client()
    begun = await client.begin(client_key=KEY)
    await client.finish(begun.call_id, "paid")
    assert (await client.begin(client_key=KEY, request_hash="bb")).HasField("proceed")
    # A later attempt replays by the ordinal, in order, whatever its keys are.
    later = await client.begin(client_key=KEY, attempt=2)
    assert later.replay.body == b"paid"
    assert (await client.begin(client_key=OTHER, attempt=2)).HasField("proceed")


async def test_keys_outlive_a_restart_of_the_controller(bank):
    client = await bank.client()
    for key, text in ((KEY, "one"), (OTHER, "two")):
        begun = await client.begin(client_key=key)
        await client.finish(begun.call_id, text)
    after = await restarted(bank, client)
    assert (await after.begin(client_key=OTHER)).replay.body == b"two"
    assert (await after.begin(client_key=KEY)).replay.body == b"one"
    assert (await after.begin(client_key="c" * 64)).HasField("proceed")


async def test_keys_of_replayed_calls_outlive_a_restart_too(bank):
    client = await bank.client()
    for key, text in ((KEY, "one"), (OTHER, "two")):
        begun = await client.begin(client_key=key)
        await client.finish(begun.call_id, text)
    assert (await client.begin(client_key="c" * 64, attempt=2)).replay.body == b"one"
    assert (await client.begin(client_key="d" * 64, attempt=2)).replay.body == b"two"
    after = await restarted(bank, client)
    assert (await after.begin(client_key="d" * 64, attempt=2)).replay.body == b"two"
    assert (await after.begin(client_key="e" * 64, attempt=2)).HasField("proceed")


async def test_a_repeated_request_after_a_broken_session_keeps_its_call(bank):
    client = await bank.client(grace=5.0)
    begun = await client.begin(client_key=KEY)
    repeated = await client.begin(client_key=KEY, same_as=client.sequence)
    assert repeated.call_id == begun.call_id
    assert repeated.HasField("proceed")

"""What may share a message, and what may not."""

import asyncio

from burnish_runtime.outbox import Outbox


def outbox_of(*items: bytes, most_bytes: int = 100, pause: float = 0.0) -> Outbox[bytes]:
    outbox: Outbox[bytes] = Outbox(len, most_bytes=most_bytes, pause=pause)
    for item in items:
        outbox.put(item)
    return outbox


async def test_items_that_wait_go_together_in_their_order():
    outbox = outbox_of(b"a", b"b", b"c")
    assert await outbox.group() == [b"a", b"b", b"c"]


async def test_a_group_holds_as_many_as_are_asked_for():
    outbox = outbox_of(b"a", b"b", b"c")
    assert await outbox.group(most=1) == [b"a"]
    assert await outbox.group(most=2) == [b"b", b"c"]


async def test_a_group_keeps_to_its_bytes():
    outbox = outbox_of(b"a" * 60, b"b" * 40, b"c", most_bytes=100)
    assert await outbox.group() == [b"a" * 60, b"b" * 40]
    assert await outbox.group() == [b"c"]


async def test_an_item_above_the_bytes_goes_alone():
    outbox = outbox_of(b"a", b"b" * 500, b"c", most_bytes=100)
    assert [await outbox.group() for _ in range(3)] == [[b"a"], [b"b" * 500], [b"c"]]


async def test_who_asks_first_waits_for_the_first_item():
    outbox = outbox_of()
    asking = asyncio.create_task(outbox.group())
    await asyncio.sleep(0)
    assert not asking.done()
    outbox.put(b"a")
    assert await asking == [b"a"]


async def test_what_is_put_in_the_pause_after_a_group_goes_together():
    outbox = outbox_of(b"a", pause=0.3)
    assert await outbox.group() == [b"a"]
    outbox.put(b"b")
    asking = asyncio.create_task(outbox.group())
    await asyncio.sleep(0)
    outbox.put(b"c")
    assert await asking == [b"b", b"c"]


async def test_a_closed_queue_gives_what_it_has_and_then_nothing():
    outbox = outbox_of(b"a")
    outbox.close()
    assert await outbox.group() == [b"a"]
    assert await outbox.group() == []


async def test_closing_wakes_who_waits():
    outbox = outbox_of()
    asking = asyncio.create_task(outbox.group())
    await asyncio.sleep(0)
    outbox.close()
    assert await asking == []

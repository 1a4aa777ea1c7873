"""Writes leave at once while there is little to do, and together, in their order, under load."""

import asyncio

from burnish_interceptor.transport.outbox import Outbox

FEW = 64


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written = []
        self.closing = False

    def is_closing(self):
        return self.closing

    def write(self, data):
        self.written.append(data)

    def writelines(self, parts):
        self.written.append(b"".join(parts))


def outbox_at(clock):
    outbox = Outbox()
    outbox._clock = lambda: clock[0]
    return outbox


async def test_a_few_writes_leave_at_once():
    clock, transport = [10.0], Transport()
    outbox = outbox_at(clock)
    for number in range(4):
        outbox.put(transport, b"%d" % number)
    assert transport.written == [b"0", b"1", b"2", b"3"]


async def test_many_writes_wait_for_each_other_and_keep_their_order():
    clock, transports = [10.0], [Transport(), Transport()]
    outbox = outbox_at(clock)
    for number in range(200):
        outbox.put(transports[number % 2], b"%d" % number)
    # No more than a few left at once; the rest leaves at the end of the loop's turn.
    assert [len(one.written) for one in transports] == [FEW / 2, FEW / 2]
    await asyncio.sleep(0)
    for first, one in enumerate(transports):
        assert one.written == [b"%d" % number for number in range(first, 200, 2)]


async def test_what_waits_for_one_reader_leaves_in_one_piece():
    clock, transport, other = [10.0], Transport(), Transport()
    outbox = outbox_at(clock)
    for _ in range(FEW):
        outbox.put(other, b"x")
    outbox.put(transport, b"last word")
    outbox.put(transport, b", end")
    outbox.put(transport, (b"head", b"body"))
    outbox.put(transport, b"!")
    outbox.put(other, b"y")
    outbox.put(transport, b"?")
    await asyncio.sleep(0)
    assert transport.written == [b"last word, end", b"headbody", b"!", b"?"]


async def test_after_many_writes_none_leaves_at_once_until_there_were_few():
    clock, transport = [10.0], Transport()
    outbox = outbox_at(clock)
    for _ in range(FEW):
        outbox.put(transport, b"x")
    outbox.put(Transport(), b"x")
    await asyncio.sleep(0)
    clock[0] += 0.02
    outbox.put(transport, b"y")
    assert len(transport.written) == FEW
    await asyncio.sleep(0)
    clock[0] += 0.02
    outbox.put(transport, b"z")
    assert transport.written[FEW:] == [b"y", b"z"]


async def test_parts_leave_as_one_and_nothing_is_written_to_what_closes():
    clock, transport, gone = [10.0], Transport(), Transport()
    outbox = outbox_at(clock)
    gone.closing = True
    outbox.put(gone, b"lost")
    outbox.put(transport, (b"head", memoryview(b"body")))
    assert (gone.written, transport.written) == ([], [b"headbody"])


async def test_much_that_waits_is_written_before_the_turn_ends():
    clock, transport = [10.0], Transport()
    outbox = outbox_at(clock)
    for _ in range(FEW + 1):
        outbox.put(transport, b"x" * 40_000)
    assert len(transport.written) == FEW
    outbox.put(transport, b"x" * 40_000)
    assert len(transport.written) == FEW + 2

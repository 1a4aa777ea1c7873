"""A provider on a loopback port that answers by script, in every wire format, and keeps a bill."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from burnish.testing.providers.faults import FAULTS, Fault
from burnish.testing.providers.heard import Heard
from burnish.testing.providers.replies import Bill, Charge, FakeReply

Line = FakeReply | Fault | str
Answer = Callable[[Heard], Line]
_TLS_HELLO = b"\x16"
_VERSIONED = frozenset({"openai", "openai_compatible", "local"})


class FakeProvider:
    """A provider that answers each request with the next line of its script.

    A line is a reply, a fault, or the name of one of `FAULTS`. The last line is repeated for ever.
    In place of a script, a function may decide on each request.

    Attributes:
        root: Where it listens, without a path.
        heard: The requests it got, in order.
        bill: What it charged.
        open: Connections that stand.
    """

    def __init__(
        self,
        *script: Line,
        answer: Answer | None = None,
        reply: FakeReply | None = None,
    ) -> None:
        """Takes the script.

        Args:
            script: Lines in order; none at all is the good reply, for ever.
            answer: Decides on each request instead of a script.
            reply: The good reply, which faults spoil; what it counts is what they bill.
        """
        self.root = ""
        self.heard: list[Heard] = []
        self.bill = Bill()
        self.open = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._reply = FakeReply() if reply is None else reply
        self._answer = _in_order(script or (self._reply,)) if answer is None else answer

    def base_url(self, provider: str) -> str:
        """Returns the base URL that a provider's own package is given.

        Args:
            provider: Such as `openai`, `groq`, `google` or `anthropic`.
        """
        return f"{self.root}/v1" if provider in _VERSIONED else self.root

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begins to serve a connection."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        # Here, because a task that is cancelled before its first step does nothing at all.
        task.add_done_callback(lambda _: writer.transport.abort())
        task.add_done_callback(self._serving.discard)

    async def hang_up(self) -> None:
        """Ends every connection."""
        while self._serving:
            for task in self._serving:
                task.cancel()
            await asyncio.wait(set(self._serving))
            # A transport that was aborted is closed in the loop's next round.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection; whoever hangs up ends the answer."""
        self.open += 1
        playing: asyncio.Task[None] | None = None
        try:
            while not writer.is_closing():
                heard = await _request(reader, writer)
                self.heard.append(heard)
                playing = asyncio.create_task(self._play(heard, len(self.heard) - 1))
                gone = asyncio.create_task(_gone(reader))
                await asyncio.wait([playing, gone], return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not playing.done():
                    return
                await playing
        except (OSError, asyncio.IncompleteReadError):
            return  # The other side hung up, which is its way to end an answer.
        finally:
            if playing is not None:
                playing.cancel()
                await asyncio.wait([playing])
            self.open -= 1

    async def _play(self, heard: Heard, number: int) -> None:
        if heard.method != "POST":
            heard.refuse(404, message="only POST is known here", code="not_found")
            return
        line = self._answer(heard)
        reply = line if isinstance(line, FakeReply) else self._reply
        heard.reply = reply.counted(heard.body)
        fault = FAULTS[line] if isinstance(line, str) else line
        if isinstance(fault, FakeReply):
            fault = _GOOD
        answered = False
        try:
            await asyncio.sleep(heard.reply.delay)
            await fault.play(heard)
            answered = fault.told
        finally:
            # Whoever hangs up pays all the same, as at the providers.
            if fault.billed:
                self.bill.charges.append(
                    Charge(
                        number=number,
                        model=heard.model,
                        input_tokens=heard.reply.read,
                        output_tokens=heard.reply.written,
                        answered=answered,
                    )
                )


@asynccontextmanager
async def fake_provider(
    *script: Line, answer: Answer | None = None, reply: FakeReply | None = None
) -> AsyncIterator[FakeProvider]:
    """Runs a fake provider on a free loopback port.

    Args:
        script: Lines in order, the last repeated for ever; none is the good reply, for ever.
        answer: Decides on each request instead of a script.
        reply: The good reply, which faults spoil; what it counts is what they bill.
    """
    running = FakeProvider(*script, answer=answer, reply=reply)
    server = await asyncio.start_server(running.connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    running.root = f"http://{host}:{port}"
    try:
        yield running
    finally:
        server.close()
        await running.hang_up()


def at_random(
    rng: random.Random,
    *,
    share: float,
    faults: Sequence[str] = ("429", "500", "503", "reset", "early reset", "cut", "invalid JSON"),
    reply: FakeReply | None = None,
) -> Answer:
    """Returns an answer that fails now and then.

    Args:
        rng: Decides when, and how.
        share: Share of the requests that fail, in [0, 1].
        faults: Names of the faults to choose from.
        reply: The good answer.
    """
    good = FakeReply() if reply is None else reply
    return lambda _: rng.choice(faults) if rng.random() < share else good


async def _fine(heard: Heard) -> None:
    heard.answer(heard.good())
    await heard.writer.drain()


_GOOD = Fault(play=_fine, told=True)


def _in_order(script: Sequence[Line]) -> Answer:
    left = list(script)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def _gone(reader: asyncio.StreamReader) -> None:
    """Returns when the other side has hung up."""
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Heard:
    begun = await reader.readexactly(1)
    if begun == _TLS_HELLO:
        raise ConnectionError("no TLS is spoken here")
    head = (begun + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ", 2)
    pairs = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(method=method, target=target, headers=headers, body=body, writer=writer)

"""What benchmarks/verifier.py is made of: processes, rates, and asking so many at once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import sample

TOKEN = "bench-token"  # noqa: S105 - of processes that live as long as the run
DEADLINE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What was measured.

    Attributes:
        rollouts: How many were scored.
        seconds: In which time.
        cpu: Seconds of CPU of the process that is measured.
        beside: Seconds of CPU of the ledger's process.
    """

    rollouts: int
    seconds: float
    cpu: float
    beside: float = 0.0

    @property
    def per_second(self) -> float:
        """Rollouts per second."""
        return self.rollouts / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU for one rollout."""
        return 1000 * self.cpu / self.rollouts


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started."""

    process: asyncio.subprocess.Process
    ready: Path

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it used so far."""
        return sample(self.process.pid).cpu_seconds

    async def target(self) -> str:
        """Returns its gRPC address, once it serves."""
        async with asyncio.timeout(DEADLINE):
            while not self.ready.exists():  # noqa: ASYNC110 - nothing tells when a file appears
                await asyncio.sleep(0.02)
        return str(json.loads(self.ready.read_text())["grpc"])

    async def line(self) -> str:
        """Returns the first line that it prints."""
        if self.process.stdout is None:
            raise RuntimeError("the process has no output")
        async with asyncio.timeout(DEADLINE):
            return (await self.process.stdout.readline()).decode().strip()


@asynccontextmanager
async def process(module: str, *arguments: str, **environment: str) -> AsyncIterator[Child]:
    """A process of the suite, with the address that it tells when it serves."""
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        ready = Path(folder) / "ready.json"
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                "BURNISH_AUTH_TOKEN": TOKEN,
                "BURNISH_STATE_DIR": folder,
                "BURNISH_READY_FILE": str(ready),
                "BURNISH_LOG_LEVEL": "ERROR",
                **environment,
            },
        )
        try:
            yield Child(child, ready)
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was done with so many in flight.

    Attributes:
        rollouts: How many were scored.
        seconds: Which time they would have taken with as many in flight from first to last.
    """

    rollouts: int
    seconds: float


async def in_flight(count: int, ask: Callable[[int], Awaitable[int]], *, seconds: float) -> Ran:
    """Asks again and again, `count` at once.

    Each asker has a rate of its own, to the end of its last request, and these are summed up. At
    the end some have stopped and others not: a rate over all of the time would count that too.
    """
    started = time.monotonic()
    numbers = iter(range(10**9))
    done, rate = 0, 0.0

    async def one() -> None:
        nonlocal done, rate
        mine = 0
        while time.monotonic() - started < seconds:
            mine += await ask(next(numbers))
        done += mine
        rate += mine / (time.monotonic() - started)

    await asyncio.gather(*(one() for _ in range(count)))
    return Ran(rollouts=done, seconds=done / rate)


def total(rates: Sequence[Rate]) -> Rate:
    """Returns several rounds together."""
    return Rate(
        rollouts=sum(rate.rollouts for rate in rates),
        seconds=sum(rate.seconds for rate in rates),
        cpu=sum(rate.cpu for rate in rates),
        beside=sum(rate.beside for rate in rates),
    )


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns rows as a table in Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

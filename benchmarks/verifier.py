"""What scoring costs: `ScoreRollouts` with built-in checks, and with a judge that takes 500 ms.

    python -m benchmarks.verifier [--seconds 8] [--judge-seconds 0.5] [--in-flight 64]

The verifier is a process of its own, as it is in a suite, asked over gRPC. For checks it prints
rollouts per second and CPU per rollout beside the floor, the same checks called in a loop with no
Burnish. For the judge, rollouts per second beside the most that the judge's time allows, and CPU
per rollout beside a bare loop of the provider's SDK that sends the same in the same run; once
without a job, and once with a job whose ledger books every call. Judge, ledger, client and verifier
share the machine.
"""

from __future__ import annotations

import argparse
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

import aiohttp
from openai import AsyncOpenAI

from benchmarks.ledger_controller import JOB_ID
from benchmarks.processes import sample
from benchmarks.verifier_peers import CRITERIA
from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier.checks.registry import built_in
from burnish_verifier.evaluate import CheckSet
from burnish_verifier.graph import Node
from burnish_verifier.nodes.base import Evidence
from burnish_verifier.steps import BuiltinCheck

TOKEN = "bench-token"  # noqa: S105 - of processes that live as long as the run
DEADLINE = 120.0
BATCH = 256
BATCHES_AT_ONCE = 4
PEERS = "benchmarks.verifier_peers"
CHECKS = (("exact_match", "normalized_match", "f1"), ("contains",))
# What checks compare, and what the judge reads.
LABEL = {"answer": "Card arrival"}
ANSWER = {"answer": "The card will arrive within five working days. " * 8}
WANTED = {"answer": "It arrives within five working days."}

Stub = verifier_v1.VerifierServiceStub


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


def check(name: str) -> verifier_v1.VerifierNode:
    """A node with a check as it is by default."""
    return verifier_v1.VerifierNode(node_id=name, builtin=verifier_v1.BuiltinCheck(check=name))


def checks_graph(names: Sequence[str]) -> verifier_v1.VerifierGraph:
    """A mean over checks."""
    nodes = [check(name) for name in names]
    mean = verifier_v1.VerifierNode(
        node_id="out", inputs=names, weighted_mean=verifier_v1.WeightedMean()
    )
    return verifier_v1.VerifierGraph(nodes=[*nodes, mean], output_node="out")


def judge_graph() -> verifier_v1.VerifierGraph:
    """One judge with three criteria."""
    criteria = [
        verifier_v1.Criterion(criterion_id=name, description=f"The answer is {name}.")
        for name in CRITERIA
    ]
    judge = verifier_v1.RubricJudge(
        rubric=verifier_v1.Rubric(version="1", goal="Answer the question.", criteria=criteria),
        model=types_v1.ModelSpec(provider="local", model="local-judge"),
        mode=verifier_v1.JUDGE_MODE_SINGLE,
    )
    node = verifier_v1.VerifierNode(node_id="judge", rubric=judge)
    return verifier_v1.VerifierGraph(nodes=[node], output_node="judge")


def labelled(number: int) -> types_v1.RolloutResult:
    """A rollout that answered a label; every fourth is wrong."""
    wanted = "card_arrival" if number % 4 else "lost_or_stolen_card"
    return types_v1.RolloutResult(
        rollout_id=f"r{number}",
        output=json.dumps({**LABEL, "number": number}).encode(),
        reference=json.dumps(wanted).encode(),
    )


def answered(number: int) -> types_v1.RolloutResult:
    """A rollout whose output is like no other's, so that nothing comes from a cache."""
    return types_v1.RolloutResult(
        rollout_id=f"r{number}",
        output=json.dumps({**ANSWER, "number": number}).encode(),
        reference=json.dumps(WANTED).encode(),
    )


async def registered(stub: Stub, graph: verifier_v1.VerifierGraph) -> str:
    """Registers a graph and returns its name."""
    made = await stub.CreateVerifierGraph(
        verifier_v1.CreateVerifierGraphRequest(verifier_graph=graph), timeout=DEADLINE
    )
    return str(made.verifier_graph.name)


async def in_flight(count: int, ask: Callable[[int], Awaitable[int]], *, seconds: float) -> int:
    """Asks again and again, `count` at once, and returns how many rollouts were scored."""
    ends = time.monotonic() + seconds
    numbers = iter(range(10**9))
    done = 0

    async def one() -> None:
        nonlocal done
        while time.monotonic() < ends:
            scored = await ask(next(numbers))
            done += scored

    await asyncio.gather(*(one() for _ in range(count)))
    return done


async def measured_checks(child: Child, stub: Stub, graph: str, *, seconds: float) -> Rate:
    """Measures checks, in requests as large as they may be."""
    batches = [[labelled(BATCH * place + number) for number in range(BATCH)] for place in range(8)]

    async def ask(number: int) -> int:
        request = verifier_v1.ScoreRolloutsRequest(
            verifier_graph=graph, rollouts=batches[number % len(batches)]
        )
        response = await stub.ScoreRollouts(request, timeout=DEADLINE)
        failed = [each for each in response.scored_rollouts if each.HasField("failure")]
        if failed:
            raise RuntimeError(failed[0].failure.reason)
        return len(response.scored_rollouts)

    await ask(0)
    start, before = time.monotonic(), child.cpu
    done = await in_flight(BATCHES_AT_ONCE, ask, seconds=seconds)
    return Rate(rollouts=done, seconds=time.monotonic() - start, cpu=child.cpu - before)


def floor_of_checks(names: Sequence[str], *, seconds: float) -> Rate:
    """Measures the same checks in a loop."""
    nodes = [Node(node_id=name, step=BuiltinCheck(check=name)) for name in names]
    checks = CheckSet.of(nodes, built_in())
    evidence = [
        Evidence(output=each.output, reference=each.reference) for each in map(labelled, range(256))
    ]
    start, before, done = time.monotonic(), time.process_time(), 0
    while time.monotonic() - start < seconds:
        for item in evidence:
            checks.evaluate(item)
        done += len(evidence)
    return Rate(rollouts=done, seconds=time.monotonic() - start, cpu=time.process_time() - before)


async def bare_loop(base_url: str, *, count: int, seconds: float) -> Rate:
    """Measures the provider's SDK in a loop that sends what the judge was sent last."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{base_url}/last") as response,
    ):
        body = await response.json()
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def ask(_: int) -> int:
            completion = await client.chat.completions.create(**body)
            json.loads(completion.choices[0].message.content or "")
            return 1

        await ask(-1)
        start, before = time.monotonic(), time.process_time()
        done = await in_flight(count, ask, seconds=seconds)
        return Rate(
            rollouts=done, seconds=time.monotonic() - start, cpu=time.process_time() - before
        )


async def measured_judge(
    child: Child, stub: Stub, options: argparse.Namespace, *, ledger: Child | None
) -> Rate:
    """Measures a judge, a request for each rollout."""
    graph = await registered(stub, judge_graph())

    async def ask(number: int) -> int:
        request = verifier_v1.ScoreRolloutsRequest(
            verifier_graph=graph,
            rollouts=[answered(number)],
            job="" if ledger is None else f"jobs/{JOB_ID}",
        )
        (scored,) = (await stub.ScoreRollouts(request, timeout=DEADLINE)).scored_rollouts
        if scored.reward.fused != 0.75:
            raise RuntimeError(scored.failure.message)
        return 1

    # What is opened and imported once is not what a rollout costs.
    await ask(0)
    numbers = iter(range(1, 10**9))
    start, before = time.monotonic(), child.cpu
    beside = 0.0 if ledger is None else ledger.cpu
    done = await in_flight(options.in_flight, lambda _: ask(next(numbers)), seconds=options.seconds)
    return Rate(
        rollouts=done,
        seconds=time.monotonic() - start,
        cpu=child.cpu - before,
        beside=0.0 if ledger is None else ledger.cpu - beside,
    )


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns rows as a table in Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


async def run_checks(options: argparse.Namespace) -> str:
    """Measures checks, and returns the table."""
    rows = []
    async with (
        process("burnish_verifier", BURNISH_CONTROLLER="") as child,
        rpc.connect(await child.target(), token=TOKEN) as channel,
    ):
        stub = Stub(channel)
        for names in CHECKS:
            graph = await registered(stub, checks_graph(names))
            rate = await measured_checks(child, stub, graph, seconds=options.seconds)
            floor = floor_of_checks(names, seconds=2.0)
            rows.append(
                {
                    "checks": ", ".join(names),
                    "floor rollouts/s": f"{floor.per_second:.0f}",
                    "rollouts/s": f"{rate.per_second:.0f}",
                    "floor CPU ms": f"{floor.cpu_ms:.3f}",
                    "CPU ms": f"{rate.cpu_ms:.3f}",
                }
            )
    return table(rows)


async def run_judge(options: argparse.Namespace) -> str:
    """Measures the judge with and without a ledger, and returns the table."""
    most = options.in_flight / options.judge_seconds
    scopes = int(2 * most * options.seconds) + 1000
    async with (
        process(PEERS, "--judge-seconds", str(options.judge_seconds)) as judge,
        process(PEERS, "--scopes", str(scopes)) as ledger,
    ):
        url = await judge.line()
        found: list[tuple[str, Rate]] = []
        for name, booked in (("verifier, no job", None), ("verifier, booked", ledger)):
            target = "" if booked is None else await booked.target()
            async with (
                process(
                    "burnish_verifier", BURNISH_CONTROLLER=target, BURNISH_LOCAL_MODEL_URL=url
                ) as child,
                rpc.connect(await child.target(), token=TOKEN) as channel,
            ):
                rate = await measured_judge(child, Stub(channel), options, ledger=booked)
                found.append((name, rate))
        bare = await bare_loop(url, count=options.in_flight, seconds=options.seconds)
        found.insert(0, ("bare loop of the SDK", bare))
    return table(
        [
            {
                "judge": name,
                "rollouts/s": f"{rate.per_second:.1f}",
                f"of {most:.0f}/s": f"{100 * rate.per_second / most:.1f} %",
                "CPU ms": f"{rate.cpu_ms:.2f}",
                "of the bare loop's": f"{rate.cpu_ms / bare.cpu_ms:.2f}",
                "ledger's CPU ms": f"{1000 * rate.beside / rate.rollouts:.2f}",
            }
            for name, rate in found
        ]
    )


async def run(options: argparse.Namespace) -> None:
    """Runs everything, and prints two tables."""
    for part in (run_checks, run_judge):
        print(await part(options), end="\n\n", flush=True)


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--judge-seconds", type=float, default=0.5)
    parser.add_argument("--in-flight", type=int, default=64)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

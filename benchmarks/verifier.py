"""What scoring costs: `ScoreRollouts` with built-in checks, and with a judge that takes 500 ms.

    python -m benchmarks.verifier [--seconds 5] [--rounds 3] [--judge-seconds 0.5] [--in-flight 64]

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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
from openai import AsyncOpenAI

from benchmarks.ledger_controller import JOB_ID
from benchmarks.verifier_parts import (
    DEADLINE,
    TOKEN,
    Child,
    Rate,
    in_flight,
    process,
    table,
    total,
)
from benchmarks.verifier_peers import CRITERIA
from burnish import rpc
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier.checks.registry import built_in
from burnish_verifier.evaluate import CheckSet
from burnish_verifier.graph import Node
from burnish_verifier.nodes.base import Evidence
from burnish_verifier.steps import BuiltinCheck

BATCH = 256
BATCHES_AT_ONCE = 4
PEERS = "benchmarks.verifier_peers"
CHECKS = (("exact_match", "normalized_match", "f1"), ("contains",))
# What checks compare, and what the judge reads.
LABEL = {"answer": "Card arrival"}
ANSWER = {"answer": "The card will arrive within five working days. " * 8}
WANTED = {"answer": "It arrives within five working days."}

Stub = verifier_v1.VerifierServiceStub


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
    before = child.cpu
    ran = await in_flight(BATCHES_AT_ONCE, ask, seconds=seconds)
    return Rate(rollouts=ran.rollouts, seconds=ran.seconds, cpu=child.cpu - before)


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
        before = time.process_time()
        ran = await in_flight(count, ask, seconds=seconds)
        return Rate(rollouts=ran.rollouts, seconds=ran.seconds, cpu=time.process_time() - before)


@asynccontextmanager
async def judging(
    url: str, options: argparse.Namespace, *, ledger: Child | None
) -> AsyncIterator[Callable[[], Awaitable[Rate]]]:
    """A verifier with the judge, and what measures it: a request for each rollout."""
    target = "" if ledger is None else await ledger.target()
    async with (
        process(
            "burnish_verifier", BURNISH_CONTROLLER=target, BURNISH_LOCAL_MODEL_URL=url
        ) as child,
        rpc.connect(await child.target(), token=TOKEN) as channel,
    ):
        stub = Stub(channel)
        graph = await registered(stub, judge_graph())
        numbers = iter(range(10**9))

        async def ask(_: int) -> int:
            request = verifier_v1.ScoreRolloutsRequest(
                verifier_graph=graph,
                # Never the same twice, over all rounds: it would come from the cache.
                rollouts=[answered(next(numbers))],
                job="" if ledger is None else f"jobs/{JOB_ID}",
            )
            (scored,) = (await stub.ScoreRollouts(request, timeout=DEADLINE)).scored_rollouts
            if scored.reward.fused != 0.75:
                raise RuntimeError(scored.failure.message)
            return 1

        async def measure() -> Rate:
            before = child.cpu
            beside = 0.0 if ledger is None else ledger.cpu
            ran = await in_flight(options.in_flight, ask, seconds=options.seconds)
            return Rate(
                rollouts=ran.rollouts,
                seconds=ran.seconds,
                cpu=child.cpu - before,
                beside=0.0 if ledger is None else ledger.cpu - beside,
            )

        # What is opened and imported once is not what a rollout costs.
        await ask(0)
        yield measure


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
    """Measures the judge with and without a ledger, and returns the table.

    The three take turns, so that whatever else the machine does meets each of them.
    """
    most = options.in_flight / options.judge_seconds
    scopes = int(2 * most * options.seconds * options.rounds) + 1000
    async with (
        process(PEERS, "--judge-seconds", str(options.judge_seconds)) as judge,
        process(PEERS, "--scopes", str(scopes)) as ledger,
    ):
        url = await judge.line()
        async with (
            judging(url, options, ledger=None) as alone,
            judging(url, options, ledger=ledger) as booked,
        ):
            turns: dict[str, Callable[[], Awaitable[Rate]]] = {
                "bare loop of the SDK": lambda: bare_loop(
                    url, count=options.in_flight, seconds=options.seconds
                ),
                "verifier, no job": alone,
                "verifier, booked": booked,
            }
            rounds = [
                {name: await measure() for name, measure in turns.items()}
                for _ in range(options.rounds)
            ]
    found = [(name, total([each[name] for each in rounds])) for name in turns]
    bare = found[0][1]
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
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--judge-seconds", type=float, default=0.5)
    parser.add_argument("--in-flight", type=int, default=64)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

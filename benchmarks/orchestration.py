"""What orchestration costs: whole jobs beside the same app called in a loop with no Burnish.

    python -m benchmarks.orchestration [--rollouts 500] [--latency-ms 0 200] [--long 10000]

For 1, 8 and 32 in flight it prints rollouts per second of the floor and of the job, the
milliseconds that Burnish adds to a rollout by hop, CPU per rollout over all Burnish processes, and
the peak memory of each. The policy model is `local-reader`; app, model and suite share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from google.protobuf import json_format

from benchmarks.processes import sample
from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.suite import Suite

SERVICES = ("controller", "interceptor", "search", "proposer", "verifier")
BASELINE_ROWS = 20
BATCH = 64
FINAL = (job_v1.JOB_STATE_SUCCEEDED, job_v1.JOB_STATE_FAILED, job_v1.JOB_STATE_CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What one measurement runs on."""

    app_url: str
    model_url: str
    state_dir: Path
    rollouts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; times in milliseconds, per rollout."""

    inflight: int
    floor_rate: float
    job_rate: float
    floor_p50: float
    job_p50: float
    proxy_p50: float
    after_p50: float
    cpu: float
    peaks: dict[str, float]


@contextlib.asynccontextmanager
async def served(module: str, folder: Path, *arguments: str) -> AsyncIterator[dict[str, object]]:
    """Runs a module that writes a ready file; yields what the file says."""
    ready = folder / f"{module.rsplit('.', 1)[-1]}.json"
    ready.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "--port", "0", "--ready-file", str(ready), *arguments,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not ready.exists():  # noqa: ASYNC110 - a file tells nobody that it appeared
                await asyncio.sleep(0.02)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        await process.wait()


async def run_floor(bench: Bench, inflight: int) -> tuple[float, float]:
    """Calls the app in a loop, its model calls going straight to the model.

    Returns:
        Rollouts per second, and the median milliseconds of one.
    """
    gate = asyncio.Semaphore(inflight)
    spans: list[float] = []
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), base_url=bench.app_url
    ) as session:

        async def one(seed: int) -> None:
            async with gate:
                began = time.perf_counter()
                config = {"model": "local-reader", "inference_url": bench.model_url}
                body = {
                    "run_id": f"floor-{seed}",
                    "trace_correlation_id": f"floor-{seed}",
                    "env": {"seed": seed, "config": {"seed": seed}},
                    "policy": {"config": config},
                    "mode": "eval",
                }
                async with session.post("/rollout", json=body) as reply:
                    reply.raise_for_status()
                    await reply.read()
                spans.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(one(seed) for seed in range(bench.rollouts)))
        took = time.perf_counter() - began
    return bench.rollouts / took, 1000 * statistics.median(spans)


async def run_job(bench: Bench, suite: Suite, inflight: int) -> tuple[str, float]:
    """Runs a whole job with that many search rollouts; returns its id and the seconds it took."""
    spec = job_v1.JobSpec(
        task_app=job_v1.TaskAppRef(uri=bench.app_url),
        algorithm="random",
        max_concurrency=inflight,
        policy_model=types_v1.ModelSpec(
            provider="openai_compatible",
            model="local-reader",
            base_url=bench.model_url,
            temperature=0.0,
            max_output_tokens=16,
        ),
        offline=job_v1.OfflineMode(
            bootstrap_pool=types_v1.SeedPool(ranges=[types_v1.SeedRange(start=0, end=8)]),
            online_pool=types_v1.SeedPool(ranges=[types_v1.SeedRange(start=100, end=15_000)]),
            validation_pool=types_v1.SeedPool(
                ranges=[types_v1.SeedRange(start=20, end=20 + BASELINE_ROWS)]
            ),
            bootstrap=job_v1.BootstrapSpec(max_bootstrapped_demos=2, max_demo_sets=4),
        ),
        budget=job_v1.Budget(max_rollouts=bench.rollouts),
    )
    trials = math.ceil(bench.rollouts / BATCH)
    json_format.ParseDict(
        {"num_trials": trials, "batch_size": BATCH, "full_eval_every_k": 1000, "top_k": 1},
        spec.algorithm_settings,
    )
    async with rpc.connect(suite.target, token=suite.token) as channel:
        jobs = job_v1.JobServiceStub(channel)
        async with rpc.translated():
            request = job_v1.CreateJobRequest(spec=spec)
            name = (await jobs.CreateJob(request, timeout=60)).job.name
            async for response in jobs.WatchJob(job_v1.WatchJobRequest(name=name)):
                if response.event.state_changed.to_state in FINAL:
                    break
            job = (await jobs.GetJob(job_v1.GetJobRequest(name=name), timeout=60)).job
    if job.state != job_v1.JOB_STATE_SUCCEEDED:
        raise SystemExit(f"the job failed: {job.failure.message}")
    took = (job.end_time.ToNanoseconds() - job.start_time.ToNanoseconds()) / 1e9
    return name.removeprefix("jobs/"), took


def hops(state_dir: Path, job_id: str) -> tuple[int, float, float, float]:
    """Returns the rollouts of a job and, in milliseconds at the median, where its time went.

    The app's span, what interceptor and ledger add to a model call, and what comes after the app:
    its answer's way back, the verifier, and the durable row.
    """
    path = next(state_dir.rglob("controller.db"))
    with contextlib.closing(sqlite3.connect(path)) as database:
        rollouts = database.execute(
            "SELECT rollout_id, data, end_time FROM rollouts WHERE job_id = ?", (job_id,)
        ).fetchall()
        calls = dict(
            database.execute(
                "SELECT scope, trace FROM calls WHERE job_id = ?", (job_id,)
            ).fetchall()
        )
    spans, proxied, after = [], [], []
    for rollout_id, data, end_time in rollouts:
        told = json.loads(types_v1.RolloutResult.FromString(data).output)
        trace = ledger_v1.CallTrace.FromString(calls[rollout_id])
        upstream = trace.latency.ToNanoseconds() / 1e9
        spans.append(told["ended"] - told["began"])
        proxied.append(told["answered"] - told["called"] - upstream)
        after.append(end_time - told["ended"])
    medians = [1000 * statistics.median(values) for values in (spans, proxied, after)]
    return len(rollouts), medians[0], medians[1], medians[2]


async def measure(bench: Bench, inflight: int) -> Row:
    """Measures floor and job at one number in flight, each in fresh processes of Burnish."""
    floor_rate, floor_p50 = await run_floor(bench, inflight)
    state_dir = bench.state_dir / f"{inflight}-{bench.rollouts}-{time.time_ns()}"
    async with Suite(state_dir) as suite:
        pids = {name: suite.processes[name].pid or 0 for name in SERVICES}
        before = {name: sample(pid) for name, pid in pids.items()}
        job_id, took = await run_job(bench, suite, inflight)
        used = {name: sample(pid) for name, pid in pids.items()}
        count, span, proxy, after = hops(state_dir, job_id)
    cpu = sum(used[name].cpu_seconds - before[name].cpu_seconds for name in SERVICES)
    return Row(
        inflight=inflight,
        floor_rate=floor_rate,
        job_rate=count / took,
        floor_p50=floor_p50,
        job_p50=span + after,
        proxy_p50=proxy,
        after_p50=after,
        cpu=1000 * cpu / count,
        peaks={name: used[name].peak_mib for name in SERVICES},
    )


def show(rows: Sequence[Row], *, latency_ms: int) -> None:
    """Prints the table of one model latency."""
    print(f"\nmodel latency {latency_ms} ms")
    print(
        "in flight | floor r/s | job r/s | floor p50 ms | job p50 ms | added by interceptor+ledger"
        " | added after the app | CPU ms/rollout"
    )
    for row in rows:
        print(
            f"{row.inflight:9} | {row.floor_rate:9.1f} | {row.job_rate:7.1f} |"
            f" {row.floor_p50:12.2f} | {row.job_p50:10.2f} | {row.proxy_p50:27.2f} |"
            f" {row.after_p50:19.2f} | {row.cpu:14.2f}"
        )
    peaks = {name: max(row.peaks[name] for row in rows) for name in SERVICES}
    print("peak MiB: " + ", ".join(f"{name} {peak:.0f}" for name, peak in peaks.items()))


async def run(options: argparse.Namespace) -> None:
    """Measures every latency, then how the cost grows with the size of a job."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        async with served("benchmarks.timed_app", folder) as app:
            for latency in options.latency_ms:
                async with served("burnish.local", folder, "--latency-ms", str(latency)) as model:
                    bench = Bench(
                        app_url=str(app["http"]),
                        model_url=f"{model['base_url']}",
                        state_dir=folder,
                        rollouts=options.rollouts,
                    )
                    rows = [await measure(bench, inflight) for inflight in options.inflight]
                    show(rows, latency_ms=latency)
            if options.long:
                async with served("burnish.local", folder) as model:
                    await show_growth(options, str(app["http"]), str(model["base_url"]), folder)


async def show_growth(
    options: argparse.Namespace, app_url: str, model_url: str, folder: Path
) -> None:
    """Prints the cost per rollout of a short and of a long job, and their ratio."""
    costs = []
    for rollouts in (500, options.long):
        bench = Bench(app_url=app_url, model_url=model_url, state_dir=folder, rollouts=rollouts)
        row = await measure(bench, 8)
        costs.append(row)
        print(f"\n{rollouts} rollouts: {row.cpu:.2f} CPU ms each, {row.job_rate:.1f} a second")
    print(
        f"cost at {options.long} over cost at 500: CPU {costs[1].cpu / costs[0].cpu:.2f},"
        f" time {costs[0].job_rate / costs[1].job_rate:.2f}"
    )


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=500)
    parser.add_argument("--latency-ms", type=int, nargs="*", default=[0, 200])
    parser.add_argument("--inflight", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--long", type=int, default=0, help="also a job of this many rollouts")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

"""What an ask and a tell cost against history, beside Optuna: in memory, and by its gRPC proxy.

    python -m benchmarks.search_cost [--trials 100 1000 5000] [--repeats 25] [--ours] [--json]

A space of 20 x 20 choices, histories of random trials with one value each. Ours is what a job does:
the controller's own session and ledger (SQLite, every commit synced) towards a search service in a
process of its own, the clock read around the session's calls. `tell` is the durable observation,
`close` the entry that ends its work. Optuna runs with its defaults: `study.ask` of both parameters
and `study.tell`, in this process, and as a client of its gRPC storage proxy over SQLite in another.
Each ask is followed by its tell. `--ours` leaves Optuna out. Below the table stands what an ask is
made of at least: a round trip of a bare stream and a synced commit (`cost_floor`). Exits 1 when an
ask, a batch or a tell is over its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import optuna
import uvloop
from google.protobuf import struct_pb2
from sqlalchemy import event, insert

from benchmarks.search_parts.cost_bounds import Costs, missed, table
from benchmarks.search_parts.cost_floor import floor
from burnish import identity, rpc
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_controller.peers import Peers
from burnish_controller.store.database import Database, open_database
from burnish_controller.store.study_log import StudyLog
from burnish_controller.store.tables import study_entries
from burnish_controller.store.writer import Writer
from burnish_controller.study import StudySession

OPTIONS = 20
BATCH = 16
STAGE = "main"
TENANT = "local"
START_SECONDS = 60.0
_FLOOR_REPEATS = 200
VALUES = 35  # A minibatch of so many rows has a mean of this many steps.
DISTRIBUTIONS: dict[str, optuna.distributions.BaseDistribution] = {
    name: optuna.distributions.CategoricalDistribution(range(OPTIONS)) for name in ("ins", "dem")
}
PROXY = """
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = optuna.storages.RDBStorage(sys.argv[1])
optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=int(sys.argv[2]))
"""


def main() -> int:
    """Runs the comparison and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for count in sorted(given.trials):
        with tempfile.TemporaryDirectory() as folder:
            found.append(uvloop.run(ours(Path(folder), count, given.repeats)))
        if given.ours:
            continue
        found.append(in_memory(count, given.repeats))
        with tempfile.TemporaryDirectory() as folder:
            found.append(by_proxy(Path(folder), count, given.repeats))
    with tempfile.TemporaryDirectory() as folder:
        least = uvloop.run(floor(Path(folder), _FLOOR_REPEATS))
    problems = missed(found)
    if given.json:
        rows = [one.as_dict() for one in found]
        sys.stdout.write(
            json.dumps({"rows": rows, "floor": least.as_dict(), "missed": problems}, indent=2)
            + "\n"
        )
    else:
        sys.stdout.write(table(found) + least.line())
        sys.stdout.write("".join(f"missed: {one}\n" for one in problems))
    return 1 if problems else 0


async def ours(folder: Path, count: int, repeats: int) -> Costs:
    """Measures a job's session with the ledger, and a search service of its own process."""
    async with AsyncExitStack() as stack:
        token = secrets.token_hex(16)
        target = await _search_service(stack, folder, token)
        channel = rpc.connect(target, token=token)
        stack.push_async_callback(channel.close)
        database = await open_database(folder)
        stack.push_async_callback(database.close)
        writer = Writer(database.write_engine)
        writer.start()
        stack.push_async_callback(writer.close)
        log = StudyLog(database, writer, tenant=TENANT)
        peers = Peers(
            search=search_v1.SearchServiceStub(channel),
            proposer=proposer_v1.ProposerServiceStub(channel),
            verifier=verifier_v1.VerifierServiceStub(channel),
            channels=(),
        )
        stack.push_async_callback(peers.studies.close)
        single = await _session(database, log, peers, Job("single", 1, count))
        asks, tells, closes = await _timed(single, count, repeats)
        batch = await _session(database, log, peers, Job("batch", BATCH, count))
        batches, _, _ = await _timed(batch, count, repeats)
    return Costs("burnish, durable, gRPC", count, asks, tells, closes, batches)


class Job:
    """A study and the entries of its history."""

    def __init__(self, job_id: str, batch: int, count: int) -> None:
        """Makes up a history of `count` trials of one row each."""
        settings = struct_pb2.Struct()
        settings.update(
            {
                "engine": "tpe",
                "num_iterations": 1,
                "num_evaluations_per_iteration": 1_000_000,
                "full_eval_every_k": 1_000_000,
                "batch_size": 1,
                "max_parallel_trials": batch,
                "tpe": {"n_startup_trials": 10, "epsilon": 0.0},
            }
        )
        self.job_id = job_id
        self.study = search_v1.Study(
            name=f"studies/{job_id}",
            algorithm="mipro",
            settings=settings,
            random_seed=1,
            stage_ids=[STAGE],
        )
        self.study.online_pool.ranges.add(start=0, end=10_000)
        self.study.validation_pool.ranges.add(start=10_000, end=10_100)
        instructions = [
            identity.instruction_id(stage_id=STAGE, text=f"{place}") for place in range(OPTIONS)
        ]
        demos = [
            identity.demo_set_id(
                stage_id=STAGE,
                demos=[identity.DemoContent(bindings={"n": str(place)}, messages=())],
            )
            for place in range(OPTIONS)
        ]
        parts = [types_v1.Component(component_id=one, stage_id=STAGE) for one in instructions]
        parts[0].source = types_v1.COMPONENT_SOURCE_BASELINE
        parts += [types_v1.Component(component_id=one, stage_id=STAGE) for one in demos]
        added = search_v1.ComponentsAdded(components=parts)
        self.entries = [("space/first", search_v1.StudyEntry(revision=1, components_added=added))]
        dice = random.Random(count)
        for place in range(count):
            pair = dice.choice(instructions), dice.choice(demos)
            self._trial(place, pair, dice.randrange(VALUES + 1) / VALUES)

    def _trial(self, place: int, pair: tuple[str, str], reward: float) -> None:
        candidate = types_v1.Candidate(candidate_id=identity.candidate_id({STAGE: pair}))
        candidate.stages[STAGE].instruction_id, candidate.stages[STAGE].demo_set_id = pair
        cell = types_v1.Cell(
            candidate_id=candidate.candidate_id, pool=types_v1.POOL_ONLINE, seed=place
        )
        trial = search_v1.Trial(
            trial_index=place,
            candidate=candidate,
            kind=search_v1.TRIAL_KIND_MINIBATCH,
            cells=[cell],
        )
        work = search_v1.Work(ask_index=place, evaluation=search_v1.Evaluation(trials=[trial]))
        told = search_v1.ObservationsTold(
            observations=[types_v1.Observation(cell=cell, reward=reward)]
        )
        closed = search_v1.WorkClosed(ask_index=place)
        first = len(self.entries) + 1
        self.entries += [
            (f"work/{place}", search_v1.StudyEntry(revision=first, work_suggested=work)),
            (f"told/{place}", search_v1.StudyEntry(revision=first + 1, observations_told=told)),
            (f"closed/{place}", search_v1.StudyEntry(revision=first + 2, work_closed=closed)),
        ]


async def _session(database: Database, log: StudyLog, peers: Peers, job: Job) -> StudySession:
    rows = [
        {
            "tenant": TENANT,
            "job_id": job.job_id,
            "revision": entry.revision,
            "entry_key": key,
            "data": entry.SerializeToString(deterministic=True),
        }
        for key, entry in job.entries
    ]
    with database.write_engine.begin() as connection:
        connection.execute(insert(study_entries), rows)
    session = StudySession(peers, log, job.job_id, lambda: job.study)
    await session.rank(1)  # The service lacks the study, and is given its entries.
    return session


async def _timed(
    session: StudySession, count: int, repeats: int
) -> tuple[list[float], list[float], list[float]]:
    dice = random.Random(count)
    asks, tells, closes = [], [], []
    for ask_index in range(count, count + repeats + 3):
        before = time.perf_counter()
        work = await session.ask(ask_index, remaining=None)
        asked = time.perf_counter()
        told = [
            types_v1.Observation(cell=cell, reward=dice.randrange(VALUES + 1) / VALUES)
            for trial in work.evaluation.trials
            for cell in trial.cells
        ]
        start = time.perf_counter()
        await session.tell(str(ask_index), told)
        middle = time.perf_counter()
        await session.close(ask_index)
        asks.append(asked - before)
        tells.append(middle - start)
        closes.append(time.perf_counter() - middle)
    # The first calls fill caches that a job keeps for its life.
    return asks[3:], tells[3:], closes[3:]


async def _search_service(stack: AsyncExitStack, folder: Path, token: str) -> str:
    ready = folder / "search.json"
    environment = {
        **os.environ,
        "BURNISH_READY_FILE": str(ready),
        "BURNISH_AUTH_TOKEN": token,
        "BURNISH_LISTEN": "127.0.0.1:0",
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish_search", env=environment, stderr=subprocess.DEVNULL
    )
    stack.push_async_callback(child.wait)
    stack.callback(child.terminate)
    async with asyncio.timeout(START_SECONDS):
        while not ready.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
    return str(json.loads(ready.read_text())["grpc"])


def in_memory(count: int, repeats: int) -> Costs:
    """Measures Optuna in this process."""
    study = optuna.create_study(direction="maximize", sampler=_sampler())
    _fill(study, count)
    return _measured("optuna, in memory", study, count, repeats)


def by_proxy(folder: Path, count: int, repeats: int) -> Costs:
    """Measures Optuna as a client of its gRPC storage proxy over SQLite."""
    url = f"sqlite:///{folder / 'optuna.db'}"
    filled = optuna.storages.RDBStorage(url)
    # A history is made up without waiting for the disk; the server syncs as it does by default.
    filled.engine.dispose()
    event.listen(filled.engine, "connect", _unsynced)
    study = optuna.create_study(storage=filled, study_name="cost", direction="maximize")
    _fill(study, count)
    filled.engine.dispose()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ExitStack() as stack:
        server = subprocess.Popen(
            [sys.executable, "-c", PROXY, url, str(port)], stderr=subprocess.DEVNULL
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        storage = optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port)
        storage.wait_server_ready(timeout=START_SECONDS)
        study = optuna.load_study(storage=storage, study_name="cost", sampler=_sampler())
        found = _measured("optuna, gRPC proxy over SQLite", study, count, repeats)
        storage.close()
    return found


def _unsynced(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF").close()


def _sampler() -> optuna.samplers.TPESampler:
    return optuna.samplers.TPESampler(seed=1)


def _fill(study: optuna.Study, count: int) -> None:
    dice = random.Random(count)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: dice.randrange(OPTIONS) for name in DISTRIBUTIONS},
                distributions=DISTRIBUTIONS,
                value=dice.randrange(VALUES + 1) / VALUES,
            )
            for _ in range(count)
        ]
    )


def _measured(name: str, study: optuna.Study, count: int, repeats: int) -> Costs:
    dice = random.Random(count)
    asks, tells, batches = [], [], []
    for _ in range(repeats + 3):
        before = time.perf_counter()
        trial = study.ask(DISTRIBUTIONS)
        asked = time.perf_counter()
        study.tell(trial, dice.randrange(VALUES + 1) / VALUES)
        tells.append(time.perf_counter() - asked)
        asks.append(asked - before)
    for _ in range(max(repeats // 8, 1)):
        before = time.perf_counter()
        trials = [study.ask(DISTRIBUTIONS) for _ in range(BATCH)]
        batches.append(time.perf_counter() - before)
        _tell_all(study, trials, dice)
    return Costs(name, count, asks[3:], tells[3:], [], batches)


def _tell_all(study: optuna.Study, trials: Sequence[optuna.Trial], dice: random.Random) -> None:
    for trial in trials:
        study.tell(trial, dice.randrange(VALUES + 1) / VALUES)


if __name__ == "__main__":
    raise SystemExit(main())

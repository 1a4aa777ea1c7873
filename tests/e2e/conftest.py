"""The whole suite as real processes, a provider that counts, and apps that can be killed."""

import asyncio
import hashlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio
from aiohttp import web
from google.protobuf import json_format

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError
from burnish.local.server import LocalServerOptions, create_app
from burnish.suite import Suite

ROOT = Path(__file__).resolve().parents[2]
READER = "local-reader"
PROPOSER = "local-proposer"
FINAL = {job_v1.JOB_STATE_SUCCEEDED, job_v1.JOB_STATE_FAILED, job_v1.JOB_STATE_CANCELLED}
DROP = 0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Script = Callable[[dict[str, Any]], Awaitable[web.StreamResponse | int | None]]


async def until(condition: Callable[[], bool], *, seconds: float = 60.0, what: str = "") -> None:
    """Waits until something is so; the deadline is generous, for a loaded machine."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, what or "it never came to be"
        await asyncio.sleep(0.003)


@dataclass
class Provider:
    """The local models behind a counter of everything that reached them, and faults on demand.

    A script is asked before each completion: a status is answered as an error that costs nothing,
    `DROP` answers nothing although the completion was made and is paid, a response is sent as it
    is, and None lets the models answer.
    """

    base_url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    bodies: list[bytes] = field(default_factory=list)
    input_tokens: Counter[str] = field(default_factory=Counter)
    output_tokens: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    delays: dict[str, float] = field(default_factory=dict)
    script: Script | None = None

    def model(self, name: str = READER, **fields: Any) -> types_v1.ModelSpec:
        values = {"temperature": 0.0, "max_output_tokens": 64, **fields}
        return types_v1.ModelSpec(
            provider="openai_compatible", model=name, base_url=self.base_url, **values
        )

    def tokens(self, name: str = READER) -> int:
        """Tokens of every completion that was made by a model, whether its answer arrived."""
        return self.input_tokens[name] + self.output_tokens[name]

    @property
    def total(self) -> int:
        """Requests in all."""
        return len(self.bodies)

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.endswith("/chat/completions"):
            return await handler(request)
        raw = await request.read()
        body = json.loads(raw)
        name = body["model"]
        self.requests[hashlib.sha256(raw).hexdigest()] += 1
        self.models[name] += 1
        self.bodies.append(raw)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delays.get(name, 0.0))
            scripted = None if self.script is None else await self.script(body)
            if isinstance(scripted, web.StreamResponse):
                return scripted
            if scripted:
                error = {"message": f"scripted; you said {raw.decode()}", "type": "server_error"}
                return web.json_response({"error": error}, status=scripted)
            response = await handler(request)
            self._bill(name, body, response)
            if scripted == DROP and scripted is not None and request.transport is not None:
                request.transport.close()
            return response
        finally:
            self.in_flight -= 1

    def _bill(self, name: str, body: dict[str, Any], response: Any) -> None:
        if body.get("stream") or response.status != 200:
            return
        usage = json.loads(response.body)["usage"]
        self.input_tokens[name] += usage["prompt_tokens"]
        self.output_tokens[name] += usage["completion_tokens"]


@asynccontextmanager
async def counting_provider() -> AsyncIterator[Provider]:
    counter = Provider()

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await counter.serve(request, handler)

    app = create_app(LocalServerOptions(), clock=lambda: 0.0)
    app.middlewares.insert(0, count)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    counter.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield counter
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def provider() -> AsyncIterator[Provider]:
    async with counting_provider() as counter:
        yield counter


class AppProcess:
    """The intents app as a process of its own, started again on its port when it dies."""

    def __init__(self, folder: Path) -> None:
        self._ready_file = folder / "app.json"
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.starts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ready(self) -> bool:
        """Whether the process that runs now has said that it listens."""
        process = self._process
        if process is None or process.returncode is not None or not self._ready_file.exists():
            return False
        return bool(json.loads(self._ready_file.read_text())["pid"] == process.pid)

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep())
        await until(lambda: self.ready, what="the app did not start")
        self._port = int(json.loads(self._ready_file.read_text())["http"].rsplit(":", 1)[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._keeper is not None
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        if self.kill() is not None and self._process is not None:
            await self._process.wait()

    def kill(self) -> int | None:
        """Kills the process; returns its id, or None when none runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        self._process.kill()
        return self._process.pid

    async def _keep(self) -> None:
        while True:
            self.starts += 1
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "examples.intents.app", "--port", str(self._port),
                "--ready-file", str(self._ready_file), cwd=ROOT,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await self._process.wait()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def intents_app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppProcess]:
    """One app for every test that does not harm it."""
    async with AppProcess(tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def suite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    """One suite for every test that does not harm it."""
    async with Suite(tmp_path_factory.mktemp("suite")) as running:
        yield running


@dataclass(frozen=True)
class Pools:
    bootstrap: Sequence[int]
    online: Sequence[int]
    validation: Sequence[int]
    test: Sequence[int]
    reference: Sequence[int] = ()


SMALL = Pools(range(24), range(60, 120), range(300, 320), range(420, 440), range(160, 230))


def job_spec(
    app_url: str,
    model: types_v1.ModelSpec,
    pools: Pools = SMALL,
    *,
    seed: int = 0,
    **settings: object,
) -> job_v1.JobSpec:
    """A MIPRO job of modest size; further arguments are settings of the algorithm."""
    spec = job_v1.JobSpec(
        task_app=job_v1.TaskAppRef(uri=app_url),
        algorithm="mipro",
        random_seed=seed,
        max_concurrency=8,
        policy_model=model,
        offline=job_v1.OfflineMode(
            bootstrap_pool=types_v1.SeedPool(seeds=pools.bootstrap),
            online_pool=types_v1.SeedPool(seeds=pools.online),
            validation_pool=types_v1.SeedPool(seeds=pools.validation),
            test_pool=types_v1.SeedPool(seeds=pools.test),
            reference_pool=types_v1.SeedPool(seeds=pools.reference),
            bootstrap=job_v1.BootstrapSpec(
                max_bootstrapped_demos=4, max_labelled_demos=4, max_demo_sets=5
            ),
        ),
        proposer=job_v1.ProposerSpec(
            instruction_count=4,
            effort=proposer_v1.EFFORT_MEDIUM,
            retry_limit=3,
            meta_model=types_v1.ModelSpec(provider="local", model=PROPOSER),
        ),
        # These tests are about what the search finds; twenty rows would seldom promote it.
        promotion=job_v1.Promotion(min_probability=0.0),
    )
    defaults = {"num_iterations": 6, "num_evaluations_per_iteration": 2, "batch_size": 10}
    json_format.ParseDict({**defaults, **settings}, spec.algorithm_settings)
    return spec


@dataclass
class JobRun:
    """A job that was followed to its end."""

    job: job_v1.Job
    events: list[job_v1.JobEvent]
    result: job_v1.JobResult

    @property
    def kinds(self) -> list[str]:
        """What happened, in order."""
        return [event.WhichOneof("kind") or "" for event in self.events]

    def of_kind(self, kind: str) -> list[Any]:
        """Every event of a kind, in order."""
        return [getattr(event, kind) for event in self.events if event.HasField(kind)]  # type: ignore[arg-type]

    def scores(self) -> dict[str, list[tuple[int, float | None]]]:
        """Held-out rewards of every tested candidate, row by row."""
        return {
            one.candidate.candidate_id: [
                (row.seed, row.reward if row.HasField("reward") else None)
                for row in one.test_scores
            ]
            for one in self.result.candidates
            if one.test_scores
        }

    def found(self) -> dict[str, Any]:
        """Everything that must not depend on kills, speed or concurrency."""
        result = self.result
        return {
            "winner": result.best.candidate.candidate_id,
            "scores": self.scores(),
            "history": [
                (one.trial_index, one.kind, one.candidate_id, one.reward.mean, one.reward.row_count)
                for one in result.history
            ],
            "components": [one.component_id for one in result.components],
            "rollouts": dict(result.rollouts_by_phase),
            "verdict": result.verdict,
        }


class Submitted:
    """A job that was submitted, and is followed across restarts of the controller."""

    def __init__(self, suite: Suite, spec: job_v1.JobSpec, *, task_app_api_key: str = "") -> None:
        self._channel = rpc.connect(suite.target, token=suite.token)
        self._request = job_v1.CreateJobRequest(spec=spec, task_app_api_key=task_app_api_key)
        self._following: asyncio.Task[None] | None = None
        self.jobs = job_v1.JobServiceStub(self._channel)
        self.name = ""
        self.events: list[job_v1.JobEvent] = []

    async def __aenter__(self) -> Self:
        try:
            with rpc.translated():
                self.name = (await self.jobs.CreateJob(self._request, timeout=60)).job.name
        except BaseException:
            await self._channel.close()
            raise
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._following is not None
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self._channel.close()

    @property
    def state(self) -> job_v1.JobState.ValueType:
        """The state that the events last told."""
        told = [e.state_changed.to_state for e in self.events if e.HasField("state_changed")]
        return told[-1] if told else job_v1.JOB_STATE_UNSPECIFIED

    @property
    def phase(self) -> job_v1.JobPhase.ValueType:
        """The phase that the events last told."""
        told = [e.phase_changed.to_phase for e in self.events if e.HasField("phase_changed")]
        return told[-1] if told else job_v1.JOB_PHASE_UNSPECIFIED

    async def get(self) -> job_v1.Job:
        with rpc.translated():
            return (await self.jobs.GetJob(job_v1.GetJobRequest(name=self.name), timeout=60)).job

    async def finished(self) -> JobRun:
        """Follows the job to its end."""
        assert self._following is not None
        await self._following
        request = job_v1.GetJobResultRequest(name=self.name)
        with rpc.translated():
            result = (await self.jobs.GetJobResult(request, timeout=60)).result
        return JobRun(await self.get(), self.events, result)

    async def watch(self, after: int) -> AsyncIterator[job_v1.JobEvent]:
        """Streams events from the controller, once."""
        request = job_v1.WatchJobRequest(name=self.name, after_sequence=after)
        with rpc.translated():
            async for response in self.jobs.WatchJob(request):
                if response.HasField("event"):
                    yield response.event

    async def _follow(self) -> None:
        while self.state not in FINAL:
            after = self.events[-1].sequence if self.events else 0
            try:
                async for event in self.watch(after):
                    self.events.append(event)
            except BurnishError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(0.05)


async def run_job(suite: Suite, spec: job_v1.JobSpec) -> JobRun:
    """Submits a job and follows it to its end."""
    async with Submitted(suite, spec) as job:
        return await job.finished()


def rows(suite: Suite, query: str) -> list[sqlite3.Row]:
    """Reads the controller's database, for checks after the fact."""
    path = Path(suite.state.path) / "controller" / "controller.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def task_calls(suite: Suite) -> list[sqlite3.Row]:
    """The calls of the task app's program as the ledger has them."""
    return rows(suite, "SELECT * FROM calls WHERE role = 'task'")


def gaps(events: Sequence[job_v1.JobEvent]) -> list[int]:
    """Positions at which a log has a gap or a repeat."""
    return [n for n, event in enumerate(events, start=1) if event.sequence != n]


@pytest.fixture(scope="session")
def harness() -> Any:
    """Everything above, for tests that cannot import it."""
    return sys.modules[__name__]

"""Real stores on a database of their own, and a ledger over them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import Unimplemented
from burnish_controller.context import JobContext, pools_of, stages_of
from burnish_controller.dispatch import Batch, Dispatcher
from burnish_controller.ledger.books import Pricer
from burnish_controller.ledger.budget import Caps
from burnish_controller.ledger.calls import Scope
from burnish_controller.ledger.engine import CallLedger, LedgerOptions
from burnish_controller.ledger.purse import Purse, TenantCaps
from burnish_controller.ledger.shares import Crossing
from burnish_controller.ledger.store import CallStore
from burnish_controller.peers import Peers
from burnish_controller.phases.base import PhaseServices
from burnish_controller.progress import ProgressReporter
from burnish_controller.search_stream import SearchStream
from burnish_controller.states import JobStates
from burnish_controller.store.database import Database, open_database
from burnish_controller.store.events import EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.store.space import SpaceStore
from burnish_controller.store.study_log import StudyLog
from burnish_controller.store.writer import Writer
from burnish_controller.task_apps import (
    AppExample,
    AppInfo,
    AppProgram,
    AppResult,
    RunRequest,
    TaskAppUnhealthy,
)


@dataclass
class Stores:
    """Every store over one database."""

    database: Database
    writer: Writer
    tenant: str = "default"
    jobs: JobStore = field(init=False)
    events: EventLog = field(init=False)
    space: SpaceStore = field(init=False)
    log: StudyLog = field(init=False)
    rollouts: RolloutStore = field(init=False)
    calls: CallStore = field(init=False)
    states: JobStates = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = JobStore(self.database, self.writer, tenant=self.tenant)
        self.events = EventLog(self.database, self.writer, tenant=self.tenant)
        self.space = SpaceStore(self.database, self.writer, tenant=self.tenant)
        self.log = StudyLog(self.database, self.writer, tenant=self.tenant)
        self.rollouts = RolloutStore(self.database, self.writer, tenant=self.tenant)
        self.calls = CallStore(self.database, self.writer, tenant=self.tenant)
        self.states = JobStates(jobs=self.jobs, events=self.events)

    def restarted(self) -> "Stores":
        """The stores as a new process would have them: nothing in memory."""
        return Stores(self.database, self.writer, self.tenant)

    def for_tenant(self, tenant: str) -> "Stores":
        return Stores(self.database, self.writer, tenant)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    database = await open_database(tmp_path)
    writer = Writer(database.write_engine)
    writer.start()
    yield Stores(database, writer)
    await writer.close()
    await database.close()


PRICE = types_v1.Price(input_usd_per_million=1.0, output_usd_per_million=2.0)
MODEL = types_v1.ModelSpec(provider="openai", model="gpt-known", price=PRICE)


@dataclass
class Client:
    """A client process of the ledger: every request has a sequence of its own."""

    ledger: CallLedger
    name: str = "interceptor-0"
    sequence: int = 0

    async def begin(
        self, scope: str = "r1", *, same_as: int | None = None, **fields: object
    ) -> ledger_v1.CallDecision:
        if same_as is None:
            self.sequence += 1
        request = ledger_v1.BeginCall(
            job="jobs/job1",
            scope=scope,
            attempt=1,
            request_hash="aa",
            role=ledger_v1.CALL_ROLE_TASK,
            model=MODEL,
            worst_case=ledger_v1.WorstCase(input_tokens=60, output_tokens=40),
        )
        request.MergeFrom(ledger_v1.BeginCall(**fields))  # type: ignore[arg-type]
        number = self.sequence if same_as is None else same_as
        return await self.ledger.begin((self.name, number), request)

    async def finish(
        self, call_id: str, text: str = "yes", *, read: int = 10, written: int = 5
    ) -> None:
        await self.ledger.finish(
            ledger_v1.FinishCall(
                call_id=call_id,
                reply=ledger_v1.CallReply(status=200, body=text.encode()),
                usage=types_v1.Usage(input_tokens=read, output_tokens=written),
            )
        )

    async def fail(self, call_id: str, *, not_sent: bool) -> None:
        await self.ledger.finish(
            ledger_v1.FinishCall(
                call_id=call_id,
                failure=types_v1.Failure(reason="UPSTREAM", message="no"),
                not_sent=not_sent,
            )
        )


@dataclass
class Bank:
    """Makes ledgers over the same rows, as restarts of the controller would."""

    stores: Stores
    caps: Caps = field(default_factory=Caps)
    prices: dict[str, types_v1.Price] = field(default_factory=dict)
    pricer: Pricer | None = None
    tenant: TenantCaps = field(default_factory=TenantCaps)
    now: float = 0.0
    told: list[tuple[str, Crossing]] = field(default_factory=list)
    made: list[CallLedger] = field(default_factory=list)

    def ledger(self, *, grace: float = 0.0) -> CallLedger:
        async def caps_of(job_id: str) -> Caps:
            return self.caps

        def price_of(model: types_v1.ModelSpec, read: int | None) -> types_v1.Price | None:
            return self.prices.get(model.model)

        async def warn(job_id: str, crossing: Crossing) -> None:
            self.told.append((job_id, crossing))

        options = LedgerOptions(
            price_of=self.pricer or price_of,
            caps_of=caps_of,
            purse=Purse(self.tenant, wall_clock=lambda: self.now),
            warn=warn,
            orphan_grace=grace,
        )
        made = CallLedger(self.stores.restarted().calls, options)
        self.made.append(made)
        return made

    async def client(self, *, grace: float = 0.0, **caps: object) -> Client:
        """A client in session with a new ledger, with the scope `r1` open."""
        if caps:
            self.caps = Caps(**caps)  # type: ignore[arg-type]
        ledger = self.ledger(grace=grace)
        ledger.session_opened("interceptor-0")
        await ledger.open_scope(Scope(scope_id="r1", job_id="job1", closing=False), before=False)
        return Client(ledger)


@pytest.fixture
async def bank(stores: Stores) -> AsyncIterator[Bank]:
    made = Bank(stores)
    yield made
    for ledger in made.made:
        await ledger.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    """Polls until a condition holds, and fails when it does not within five seconds."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(5):
            while not await condition():  # noqa: ASYNC110 - only the rows tell
                await asyncio.sleep(0.005)

    return wait


class FakeApp:
    """A task app in memory: its rows, and no program text."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[str, str]] = {}
        self.healthy = True
        self.closed = False

    async def check(self) -> AppInfo:
        if not self.healthy:
            raise TaskAppUnhealthy("task app http://app: it is not well; see its log")
        return AppInfo(task="sorting")

    async def run(self, request: RunRequest) -> AppResult:
        raise AssertionError("the fake dispatcher runs rollouts")

    async def examples(self, seeds: Sequence[int]) -> list[AppExample] | None:
        if not self.rows:
            return None
        return [
            AppExample(seed=seed, inputs={"query": came}, output=label)
            for seed in seeds
            if seed in self.rows
            for came, label in [self.rows[seed]]
        ]

    async def program(self) -> AppProgram | None:
        return None

    async def close(self) -> None:
        self.closed = True


class FakeDispatcher:
    """Stores a finished rollout for every cell, with the reward that a test says."""

    def __init__(self, stores: Stores) -> None:
        self.rollouts = stores.rollouts
        self.reward: Callable[[types_v1.Cell], float | None] = lambda cell: 1.0
        self.ran: list[types_v1.Cell] = []

    async def run(self, job: JobContext, batch: Batch) -> list[FinishedRollout]:
        found = []
        for cell in batch.cells:
            rollout_id = job.rollout_id(cell)
            if rollout_id not in await self.rollouts.by_ids([rollout_id]):
                self.ran.append(cell)
                await self.rollouts.save(self._finished(job, batch, cell))
            found.append((await self.rollouts.by_ids([rollout_id]))[rollout_id])
        return found

    def _finished(self, job: JobContext, batch: Batch, cell: types_v1.Cell) -> FinishedRollout:
        reward = self.reward(cell)
        result = types_v1.RolloutResult(rollout_id=job.rollout_id(cell), cell=cell)
        if reward is None:
            result.failure.reason = "CALL_FAILED"
        return FinishedRollout(
            job_id=job.job_id,
            phase=batch.phase,
            attempt=1,
            result=result,
            reward=None if reward is None else types_v1.Reward(fused=reward),
            cost_usd=0.0,
        )


class FakeProposer:
    """Plays a script: what is streamed, and the errors between."""

    def __init__(self) -> None:
        self.script: list[list[proposer_v1.ProposeInstructionsResponse | Exception]] = []
        self.summary: str | Exception = "short questions"
        self.requests: list[proposer_v1.ProposeInstructionsRequest] = []
        self.summaries: list[proposer_v1.SummarizeDatasetRequest] = []

    async def ProposeInstructions(
        self,
        request: proposer_v1.ProposeInstructionsRequest,
        timeout: float,  # noqa: ASYNC109 - as on a stub
    ) -> AsyncIterator[proposer_v1.ProposeInstructionsResponse]:
        kept = proposer_v1.ProposeInstructionsRequest()
        kept.CopyFrom(request)
        self.requests.append(kept)
        for item in self.script.pop(0):
            if isinstance(item, Exception):
                raise item
            yield item

    async def SummarizeDataset(
        self,
        request: proposer_v1.SummarizeDatasetRequest,
        timeout: float,  # noqa: ASYNC109 - as on a stub
    ) -> proposer_v1.SummarizeDatasetResponse:
        kept = proposer_v1.SummarizeDatasetRequest()
        kept.CopyFrom(request)
        self.summaries.append(kept)
        if isinstance(self.summary, Exception):
            raise self.summary
        return proposer_v1.SummarizeDatasetResponse(summary=self.summary)


class FakeSearch:
    """A search service that takes every change, and ranks what a test says."""

    def __init__(self) -> None:
        self.works: dict[int, search_v1.Work] = {}
        self.ranked: list[search_v1.RankedCandidate] = []
        self.asked: list[search_v1.SuggestWorkRequest] = []
        self.told: list[types_v1.Observation] = []

    def StreamStudies(self, requests: object) -> object:
        """Has no stream: it is asked by calls."""
        raise Unimplemented("there is no stream here")

    async def AddComponents(self, request: object, timeout: float) -> object:  # noqa: ASYNC109
        return search_v1.AddComponentsResponse()

    async def TellObservations(
        self,
        request: search_v1.TellObservationsRequest,
        timeout: float,  # noqa: ASYNC109
    ) -> object:
        self.told += request.observations
        return search_v1.TellObservationsResponse()

    async def CloseWork(self, request: object, timeout: float) -> object:  # noqa: ASYNC109
        return search_v1.CloseWorkResponse()

    async def SuggestWork(
        self,
        request: search_v1.SuggestWorkRequest,
        timeout: float,  # noqa: ASYNC109
    ) -> search_v1.SuggestWorkResponse:
        self.asked.append(request)
        return search_v1.SuggestWorkResponse(work=self.works[request.ask_index])

    async def RankCandidates(self, request: object, timeout: float) -> object:  # noqa: ASYNC109
        return search_v1.RankCandidatesResponse(candidates=self.ranked)


@dataclass
class Scene:
    """One job and the phases' services around it."""

    stores: Stores
    services: PhaseServices
    job: JobContext
    app: FakeApp
    dispatcher: FakeDispatcher
    proposer: FakeProposer
    search: FakeSearch

    async def events(self, kind: str | None = None) -> list[job_v1.JobEvent]:
        found = await self.stores.events.after(self.job.job_id, 0)
        return [one for one in found if kind is None or one.WhichOneof("kind") == kind]


def job_spec(**fields: object) -> job_v1.JobSpec:
    """A small job of one given stage; fields replace what it says."""
    spec = job_v1.JobSpec(
        task_app=job_v1.TaskAppRef(uri="http://app"),
        algorithm="random",
        policy_model=types_v1.ModelSpec(provider="local", model="local-reader"),
        stages=[
            job_v1.StageSpec(
                template=types_v1.PromptTemplate(
                    stage_id="main",
                    messages=[
                        types_v1.MessagePattern(role="system", pattern="Sort it."),
                        types_v1.MessagePattern(role="user", pattern="{query}"),
                    ],
                ),
                optimise_instruction=True,
                optimise_demos=True,
            )
        ],
        offline=job_v1.OfflineMode(
            bootstrap_pool=types_v1.SeedPool(seeds=range(8)),
            online_pool=types_v1.SeedPool(seeds=range(10, 20)),
            validation_pool=types_v1.SeedPool(seeds=range(20, 26)),
            test_pool=types_v1.SeedPool(seeds=range(30, 34)),
            bootstrap=job_v1.BootstrapSpec(
                max_bootstrapped_demos=2, max_labelled_demos=2, max_demo_sets=3
            ),
        ),
        proposer=job_v1.ProposerSpec(instruction_count=3, effort=proposer_v1.EFFORT_MEDIUM),
    )
    for name, value in fields.items():
        if name == "stages" and not value:
            del spec.stages[:]
        else:
            spec.MergeFrom(job_v1.JobSpec(**{name: value}))  # type: ignore[arg-type]
    return spec


@pytest.fixture
def make_spec() -> Callable[..., job_v1.JobSpec]:
    return job_spec


@pytest.fixture
async def make_scene(stores: Stores, bank: Bank) -> Callable[..., Awaitable[Scene]]:
    async def make(**fields: object) -> Scene:
        spec = job_spec(**fields)
        job = job_v1.Job(name="jobs/job1", spec=spec, state=job_v1.JOB_STATE_PENDING)
        await stores.jobs.create(job, request_id="", secret=None)
        app, dispatcher = FakeApp(), FakeDispatcher(stores)
        proposer, search = FakeProposer(), FakeSearch()
        ledger = bank.ledger()
        services = PhaseServices(
            jobs=stores.jobs,
            states=stores.states,
            events=stores.events,
            space=stores.space,
            log=stores.log,
            rollouts=stores.rollouts,
            calls=stores.calls,
            ledger=ledger,
            dispatcher=cast(Dispatcher, dispatcher),
            peers=cast(
                Peers,
                SimpleNamespace(
                    search=search,
                    studies=SearchStream(cast(Any, search)),
                    proposer=proposer,
                    verifier=None,
                    external_proposers={},
                ),
            ),
            progress=ProgressReporter(
                jobs=stores.jobs, events=stores.events, rollouts=stores.rollouts, ledger=ledger
            ),
        )
        context = JobContext(
            job_id="job1",
            job=job,
            pools=pools_of(spec),
            app=app,
            stages=stages_of(spec, None),
        )
        context.may_run.set()
        return Scene(stores, services, context, app, dispatcher, proposer, search)

    return make

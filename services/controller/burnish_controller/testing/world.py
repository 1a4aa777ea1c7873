"""One controller as it is served, between peers in memory, that can be stopped and started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from grpc import aio

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_controller.app import ControllerApp
from burnish_controller.ledger.calls import Scope
from burnish_controller.store.events import FINAL_STATES
from burnish_controller.testing.peers import FakeProposer, FakeSearch
from burnish_controller.testing.program import PRICE, FakeProgram
from burnish_controller.testing.verifier import FakeVerifier
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.rollout_token import TokenSealer
from burnish_runtime.server import ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings

_KEY = "a key of tests, long enough for the sealer"
_SECONDS = 20.0


class World:
    """A controller with everything around it; use it as a context.

    Attributes:
        search: The search service.
        proposer: The proposer.
        verifier: The verifier.
        program: The task app, and the interceptor that its calls go through.
        jobs: Stub of the job service.
        policies: Stub of the policy service.
        ledger: Stub of the call ledger.
        graphs: Stub of the verifier service as clients see it.
        target: Where the controller is served.
        state_dir: Where the controller keeps its database.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.search = FakeSearch()  # type: ignore[abstract] # as much as is called
        self.proposer = FakeProposer()
        self.verifier = FakeVerifier()  # type: ignore[abstract] # as much as is called
        self.program = FakeProgram(TokenSealer(_KEY))
        self._peers: aio.Server | None = None
        self._peers_target = ""
        self._app: ControllerApp | None = None
        self._server: ServiceServer | None = None
        self._channel: aio.Channel | None = None
        self._client: LedgerClient | None = None
        self._starts = 0
        self.target = ""

    async def __aenter__(self) -> Self:
        peers = aio.server()
        search_v1.add_SearchServiceServicer_to_server(self.search, peers)
        proposer_v1.add_ProposerServiceServicer_to_server(self.proposer, peers)
        verifier_v1.add_VerifierServiceServicer_to_server(self.verifier, peers)
        self._peers_target = f"127.0.0.1:{peers.add_insecure_port('127.0.0.1:0')}"
        await peers.start()
        self._peers = peers
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.program.gate.set()
        await self.stop()
        if self._peers is not None:
            await self._peers.stop(grace=None)

    async def start(self) -> None:
        """Serves the controller on its state, with a new process of the interceptor."""
        settings = ServiceSettings(
            service="controller",
            auth_token=Secret("test-token"),
            token_key=Secret(_KEY),
            state_dir=self.state_dir,
            node_id="controller-0",
            search_target=self._peers_target,
            proposer_target=self._peers_target,
            verifier_target=self._peers_target,
            interceptor_url="http://interceptor",
            drain_seconds=1.0,
        )
        self._app = ControllerApp(settings, connect=self.program.connect)
        self._server = ServiceServer(self._app, settings)
        self.target = (await self._server.start()).grpc
        self._channel = rpc.connect(self.target, token="test-token")  # noqa: S106
        self.jobs = job_v1.JobServiceStub(self._channel)
        self.policies = policy_v1.PolicyServiceStub(self._channel)
        self.ledger = ledger_v1.CallLedgerServiceStub(self._channel)
        self.graphs = verifier_v1.VerifierServiceStub(self._channel)
        self._starts += 1
        self._client = self.client(f"interceptor/{self._starts}")
        await self._client.start()
        self.program.attach(self._client, self.policies)
        self.verifier.attach(self._client)

    async def stop(self) -> None:
        """Stops the controller in order, in the middle of whatever it does."""
        if self._server is not None:
            await self._server.stop()
        # After it, as an interceptor stays when its controller goes: a rollout that meets a closed
        # client fails, and with it a step, and a job.
        if self._client is not None:
            await self._client.close(grace=0.2)
        if self._channel is not None:
            await self._channel.close()

    def client(self, client_id: str) -> LedgerClient:
        """Returns a client of the call ledger, not started yet."""
        if self._channel is None:
            raise RuntimeError("the controller is not served")
        return LedgerClient(self._channel, client_id=client_id)

    async def open_scope(self, scope_id: str, *, job_id: str) -> None:
        """Lets calls of a scope begin, as a phase of the job would."""
        if self._app is None or self._app.ledger is None:
            raise RuntimeError("the controller is not served")
        scope = Scope(scope_id=scope_id, job_id=job_id, closing=False)
        await self._app.ledger.open_scope(scope, before=False)

    async def create(
        self, spec: job_v1.JobSpec, job_id: str = "job1", **fields: object
    ) -> job_v1.Job:
        """Creates a job."""
        request = job_v1.CreateJobRequest(spec=spec, job_id=job_id)
        request.MergeFrom(job_v1.CreateJobRequest(**fields))  # type: ignore[arg-type]
        async with rpc.translated():
            return (await self.jobs.CreateJob(request, timeout=_SECONDS)).job

    async def job(self, job_id: str = "job1") -> job_v1.Job:
        """Returns a job as it stands."""
        request = job_v1.GetJobRequest(name=f"jobs/{job_id}")
        async with rpc.translated():
            return (await self.jobs.GetJob(request, timeout=_SECONDS)).job

    async def result(self, job_id: str = "job1") -> job_v1.JobResult:
        """Returns what a job found."""
        request = job_v1.GetJobResultRequest(name=f"jobs/{job_id}")
        async with rpc.translated():
            return (await self.jobs.GetJobResult(request, timeout=_SECONDS)).result

    async def rollouts(self, job_id: str = "job1", **wanted: str) -> list[job_v1.RolloutRecord]:
        """Returns a job's finished rollouts, page by page."""
        found: list[job_v1.RolloutRecord] = []
        request = job_v1.ListRolloutsRequest(job=f"jobs/{job_id}", page_size=20, **wanted)
        async with rpc.translated():
            while True:
                response = await self.jobs.ListRollouts(request, timeout=_SECONDS)
                found += response.rollouts
                request.page_token = response.next_page_token
                if not request.page_token:
                    return found

    async def watch(
        self, job_id: str = "job1", *, after: int = 0
    ) -> AsyncIterator[job_v1.JobEvent]:
        """Yields a job's events as they come, to its end."""
        request = job_v1.WatchJobRequest(name=f"jobs/{job_id}", after_sequence=after)
        async with rpc.translated():
            async for response in self.jobs.WatchJob(request):
                if response.HasField("event"):
                    yield response.event

    async def finished(self, job_id: str = "job1") -> list[job_v1.JobEvent]:
        """Returns a job's events once it has ended."""
        events = [event async for event in self.watch(job_id)]
        if not events or events[-1].state_changed.to_state not in FINAL_STATES:
            raise RuntimeError(f"the watch of {job_id} ended before the job")
        return events

    async def reached(self, kind: str, job_id: str = "job1") -> job_v1.JobEvent:
        """Waits for the first event of a kind."""
        async for event in self.watch(job_id):
            if event.WhichOneof("kind") == kind:
                return event
        raise RuntimeError(f"{job_id} ended without {kind}")


@asynccontextmanager
async def world(state_dir: Path) -> AsyncIterator[World]:
    """Runs a world."""
    async with World(state_dir) as running:
        yield running


def small_job(**fields: object) -> job_v1.JobSpec:
    """Returns a job of one given stage and about 40 rollouts; fields are merged into it."""
    stage = job_v1.StageSpec(
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
    spec = job_v1.JobSpec(
        task_app=job_v1.TaskAppRef(uri="http://app"),
        algorithm="random",
        policy_model=types_v1.ModelSpec(provider="openai_compatible", model="fake", price=PRICE),
        stages=[stage],
        offline=job_v1.OfflineMode(
            bootstrap_pool=types_v1.SeedPool(seeds=range(8)),
            online_pool=types_v1.SeedPool(seeds=range(10, 22)),
            validation_pool=types_v1.SeedPool(seeds=range(30, 36)),
            test_pool=types_v1.SeedPool(seeds=range(40, 46)),
            bootstrap=job_v1.BootstrapSpec(max_bootstrapped_demos=2, max_demo_sets=2),
        ),
        proposer=job_v1.ProposerSpec(instruction_count=2),
        max_concurrency=4,
        # Six held-out rows are too few for the default.
        promotion=job_v1.Promotion(min_probability=0.5),
    )
    spec.MergeFrom(job_v1.JobSpec(**fields))  # type: ignore[arg-type]
    return spec

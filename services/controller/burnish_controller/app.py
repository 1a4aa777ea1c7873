"""Wires the controller: stores, ledger, engine, peers, servicers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from grpc import aio

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.trace import v1 as trace_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import FailedPrecondition
from burnish.prices import PriceTable
from burnish_controller import task_apps
from burnish_controller.budget_warnings import BudgetWarnings
from burnish_controller.creation import JobCreator
from burnish_controller.dispatch import Dispatcher, DispatchServices
from burnish_controller.durable import DurableEngine
from burnish_controller.external import ExternalProposers
from burnish_controller.gateway import ScoringAccounts, ScoringDesk, VerifierGateway
from burnish_controller.http_api.server import HttpApi
from burnish_controller.http_api.settings import api_listen, api_options
from burnish_controller.job_servicer import JobServicer, JobServices
from burnish_controller.ledger.budget import Caps
from burnish_controller.ledger.engine import CallLedger, LedgerOptions
from burnish_controller.ledger.purse import Purse, TenantCaps
from burnish_controller.ledger.servicer import CallLedgerServicer
from burnish_controller.peers import Peers, connect_peers
from burnish_controller.phases.base import PhaseServices
from burnish_controller.policy_servicer import PolicyServicer
from burnish_controller.progress import ProgressReporter
from burnish_controller.registry import AppConnector, JobRegistry
from burnish_controller.results import ResultBuilder
from burnish_controller.secrets import SecretBox
from burnish_controller.states import JobStates
from burnish_controller.store.database import Database, open_database
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.policies import PolicyStore
from burnish_controller.store.space import SpaceStore
from burnish_controller.store.study_log import StudyLog
from burnish_controller.store.traces import TraceStore, max_bytes_from
from burnish_controller.store.writer import Writer
from burnish_controller.task_apps import AppOptions, TaskAppClient
from burnish_controller.telemetry import (
    ControllerMetrics,
    MeteredCallStore,
    MeteredEventLog,
    MeteredRolloutStore,
)
from burnish_controller.trace_servicer import TraceServicer
from burnish_runtime import server
from burnish_runtime.rollout_token import TokenSealer
from burnish_runtime.settings import ServiceSettings

TENANT = "default"
_ANY_MODEL = ("openai", "gpt-4o-mini")


class ControllerUnconfigured(FailedPrecondition):
    """A setting that the controller cannot do without."""

    default_reason = "CONTROLLER_UNCONFIGURED"


class ControllerApp:
    """The controller as the server kit runs it."""

    name = "controller"

    def __init__(self, settings: ServiceSettings, *, connect: AppConnector | None = None) -> None:
        """Prepares the service.

        Args:
            settings: Settings of the process.
            connect: Opens a client of a task app; None speaks HTTP and gRPC.
        """
        self._settings = settings
        self._connect = _connect if connect is None else connect
        self._database: Database | None = None
        self._writer: Writer | None = None
        self._peers: Peers | None = None
        self._ledger: CallLedger | None = None
        self._registry: JobRegistry | None = None
        self._engine: DurableEngine | None = None
        self._metrics = ControllerMetrics()
        self._api: HttpApi | None = None
        self._api_address: str | None = None

    @property
    def http_address(self) -> str | None:
        """`host:port` of the scoring endpoints, once they are served; None without them."""
        return self._api_address

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Opens the stores, takes up the jobs under way, and adds the servicers."""
        settings = self._settings
        key = _required(settings)
        # The table of prices is large; read on first use it would hold up whatever comes then.
        prices = PriceTable.from_environment(os.environ)
        money = _Money(prices, Purse(TenantCaps.from_environment(os.environ)))
        warm = asyncio.to_thread(prices.listed, *_ANY_MODEL)
        database, _ = await asyncio.gather(open_database(settings.state_dir), warm)
        self._database = database
        self._writer = writer = Writer(database.write_engine)
        writer.start()
        self._peers = connect_peers(settings, ExternalProposers.from_environment(os.environ))
        self._metrics.expose()
        stores = _Stores(database, writer, self._metrics, ScoringAccounts())
        phases = _phases(stores, self._peers, money, settings=settings, key=key)
        self._ledger = phases.ledger
        secrets = SecretBox(key)
        self._registry = registry = JobRegistry(phases, secrets=secrets, connect=self._connect)
        self._engine = engine = DurableEngine(registry)
        await engine.launch(database_url=database.engine_url, executor_id=settings.node_id)
        for job_id in await phases.jobs.unfinished():
            await engine.take_up(job_id)
        online = PolicyStore(database, writer, tenant=TENANT)
        creator = JobCreator(
            jobs=phases.jobs,
            policies=online,
            events=phases.events,
            engine=engine,
            peers=self._peers,
            secrets=secrets,
            price_of=prices.price_of,
            tenant_left=phases.ledger.tenant_left,
            connect=self._connect,
        )
        traces = TraceServicer(
            TraceStore(database, writer, tenant=TENANT, max_bytes=max_bytes_from(os.environ)),
            phases.calls,
            price_of=prices.price_of,
            metrics=self._metrics,
        )
        policies = PolicyServicer(
            registry,
            jobs=phases.jobs,
            space=phases.space,
            policies=online,
            interceptor_url=settings.interceptor_url,
        )
        policy_v1.add_PolicyServiceServicer_to_server(policies, grpc_server)
        desk = ScoringDesk(
            self._peers, ledger=phases.ledger, calls=phases.calls, accounts=stores.scorings
        )
        gateway = VerifierGateway(self._peers, desk)
        verifier_v1.add_VerifierServiceServicer_to_server(gateway, grpc_server)
        listen = api_listen(os.environ, token=settings.auth_token)
        if listen is not None:
            options = api_options(os.environ, token=settings.auth_token)
            self._api = HttpApi(desk, self._peers, traces.session, options)
            self._api_address = await self._api.start(*listen)
        return _add_servicers(grpc_server, phases, registry, creator, traces)

    @property
    def ledger(self) -> CallLedger | None:
        """The call ledger, while the service is started."""
        return self._ledger

    async def drain(self) -> None:
        """Leaves the jobs to the next start; their calls in flight are journaled."""
        if self._engine is not None:
            await self._engine.close()

    async def stop(self) -> None:
        """Closes everything, the stores last."""
        if self._engine is not None:
            # Draining may have been cut, and what the engine still does needs the stores.
            await self._engine.close()
        if self._api is not None:
            await self._api.stop()
        self._metrics.close()
        if self._registry is not None:
            await self._registry.close()
        if self._ledger is not None:
            await self._ledger.close()
        if self._peers is not None:
            await self._peers.close()
        if self._writer is not None:
            await self._writer.close()
        if self._database is not None:
            await self._database.close()


class _Stores(NamedTuple):
    database: Database
    writer: Writer
    metrics: ControllerMetrics
    scorings: ScoringAccounts


class _Money(NamedTuple):
    prices: PriceTable
    purse: Purse


def _phases(
    stores: _Stores, peers: Peers, money: _Money, *, settings: ServiceSettings, key: str
) -> PhaseServices:
    database, writer, metrics, scorings = stores
    jobs = JobStore(database, writer, tenant=TENANT)
    events = MeteredEventLog(database, writer, tenant=TENANT, metrics=metrics)
    rollouts = MeteredRolloutStore(database, writer, tenant=TENANT, metrics=metrics)
    calls = MeteredCallStore(database, writer, tenant=TENANT, metrics=metrics)
    caps = partial(_caps, jobs, scorings)
    warnings = BudgetWarnings(jobs=jobs, events=events)
    options = LedgerOptions(
        price_of=money.prices.price_of, caps_of=caps, purse=money.purse, warn=warnings.tell
    )
    ledger = CallLedger(calls, options)
    dispatcher = Dispatcher(
        DispatchServices(
            ledger=ledger,
            calls=calls,
            rollouts=rollouts,
            peers=peers,
            sealer=TokenSealer(key),
            interceptor_url=settings.interceptor_url,
        )
    )
    return PhaseServices(
        jobs=jobs,
        states=JobStates(jobs=jobs, events=events),
        events=events,
        space=SpaceStore(database, writer, tenant=TENANT),
        log=StudyLog(database, writer, tenant=TENANT),
        rollouts=rollouts,
        calls=calls,
        ledger=ledger,
        dispatcher=dispatcher,
        peers=peers,
        progress=ProgressReporter(jobs=jobs, events=events, rollouts=rollouts, ledger=ledger),
    )


def _add_servicers(
    server: aio.Server,
    phases: PhaseServices,
    registry: JobRegistry,
    creator: JobCreator,
    traces: TraceServicer,
) -> Sequence[str]:
    """Adds every servicer and returns the full names of their services."""
    results = ResultBuilder(
        jobs=phases.jobs,
        events=phases.events,
        space=phases.space,
        log=phases.log,
        rollouts=phases.rollouts,
        ledger=phases.ledger,
    )
    services = JobServices(
        jobs=phases.jobs,
        events=phases.events,
        registry=registry,
        results=results,
        creator=creator,
        rollouts=phases.rollouts,
    )
    job_v1.add_JobServiceServicer_to_server(JobServicer(services), server)
    ledger_v1.add_CallLedgerServiceServicer_to_server(CallLedgerServicer(phases.ledger), server)
    trace_v1.add_TraceServiceServicer_to_server(traces, server)
    return (
        "burnish.api.job.v1.JobService",
        "burnish.api.ledger.v1.CallLedgerService",
        "burnish.api.policy.v1.PolicyService",
        "burnish.api.trace.v1.TraceService",
        "burnish.api.verifier.v1.VerifierService",
    )


async def _caps(jobs: JobStore, scorings: ScoringAccounts, job_id: str) -> Caps:
    asked = scorings.find(job_id)
    if asked is not None:
        return asked
    budget = (await jobs.get(job_id)).spec.budget
    return Caps(
        usd=budget.max_cost_usd if budget.HasField("max_cost_usd") else None,
        tokens=budget.max_tokens or None,
        usd_by_role=dict(budget.max_cost_usd_by_role),
    )


def _required(settings: ServiceSettings) -> str:
    missing = [
        name
        for name, value in (
            ("BURNISH_TOKEN_KEY", settings.token_key),
            ("BURNISH_SEARCH", settings.search_target),
            ("BURNISH_PROPOSER", settings.proposer_target),
            ("BURNISH_VERIFIER", settings.verifier_target),
            ("BURNISH_INTERCEPTOR_URL", settings.interceptor_url),
        )
        if not value
    ]
    if missing or settings.token_key is None:
        raise ControllerUnconfigured(
            f"set {', '.join(missing)}; `burnish up` sets them all",
            metadata={"missing": ", ".join(missing)},
        )
    return settings.token_key


def _connect(uri: str, api_key: str | None) -> TaskAppClient:
    return task_apps.connect(uri, api_key=api_key, options=AppOptions())


def main() -> int:
    """Runs the controller until it is told to stop."""
    return server.main(ControllerApp, service="controller")

"""Wires the verifier together and runs it."""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import TypeGuard

import structlog
from grpc import aio

from burnish import rpc
from burnish.api.verifier import v1 as verifier_v1
from burnish_runtime import plugins, server
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.llm.accounts import CallDesk
from burnish_runtime.llm.registry import PLUGIN_GROUP, ProviderFactory, ProviderRegistry
from burnish_runtime.settings import ServiceSettings
from burnish_verifier import embedding_models
from burnish_verifier.cache import ResultCache
from burnish_verifier.checks.base import Kinds
from burnish_verifier.checks.registry import with_plugins
from burnish_verifier.engine import Verifier
from burnish_verifier.graphs import Graphs
from burnish_verifier.guarded import GuardedRunner
from burnish_verifier.judges.evaluator import JudgeEvaluator
from burnish_verifier.nodes.code import CodeEvaluator
from burnish_verifier.nodes.remote import RemoteEvaluator
from burnish_verifier.nodes.similarity import SimilarityEvaluator
from burnish_verifier.peer_traces import ControllerTraces
from burnish_verifier.remote_nodes import GrpcRemoteCaller
from burnish_verifier.runner import Evaluators, GraphRunner
from burnish_verifier.sandbox.pool import Sandbox, refusal
from burnish_verifier.sandbox.work import SandboxLost
from burnish_verifier.servicer import VerifierServicer
from burnish_verifier.settings import VerifierSettings, remote_refusal
from burnish_verifier.shipped import shipped_graphs
from burnish_verifier.sources import NoTraces
from burnish_verifier.store import GraphStore
from burnish_verifier.validate import Abilities

_log = structlog.get_logger("burnish.verifier")
_GRAPHS = "verifier-graphs.sqlite3"
_RESULTS = "verifier-results.sqlite3"
_SANDBOX = "sandbox"
_SERVICE = "burnish.api.verifier.v1.VerifierService"
# A judge takes a hundred times as long; what is asked of the ledger meanwhile shares its commits.
_LEDGER_PAUSE = 0.003


class VerifierApp:
    """The verifier as a service.

    Attributes:
        name: Name of the service.
        http_address: It has no data plane.
    """

    name = "verifier"
    http_address: str | None = None

    def __init__(self, settings: ServiceSettings, *, own: VerifierSettings | None = None) -> None:
        """Takes the settings; nothing is opened yet.

        Args:
            settings: What every service is told.
            own: What the verifier is told beside; None reads the environment.

        Raises:
            SettingsInvalid: The environment has faults.
            PluginsUnusable: A plug-in cannot be used.
        """
        self._settings = settings
        self._own = own if own is not None else VerifierSettings.from_environment(os.environ)
        self._guarded = GuardedRunner()
        self._sandbox = Sandbox(
            size=self._own.sandbox_processes, folder=settings.state_dir.absolute() / _SANDBOX
        )
        self._registry = ProviderRegistry(settings, plugins=_providers())
        self._remote = GrpcRemoteCaller(
            token=self._own.remote_token, max_message_bytes=settings.max_message_bytes
        )
        self._channel: aio.Channel | None = None
        self._ledger: LedgerClient | None = None
        self._desk: CallDesk | None = None
        self._embedder: embedding_models.ModelEmbedder | None = None
        self._store: GraphStore | None = None
        self._cache: ResultCache | None = None

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Opens the files, reaches for the controller, and adds the servicer."""
        kinds = with_plugins()
        folder = self._settings.state_dir
        self._store = await asyncio.to_thread(GraphStore, folder / _GRAPHS)
        self._cache = await asyncio.to_thread(ResultCache, folder / _RESULTS)
        await self._reach_controller()
        refused = partial(remote_refusal, allowed=self._own.remote_nodes)
        able = Abilities(
            kinds=kinds,
            remote_refusal=refused,
            code_refusal=await self._code_refusal(),
            embedding_refusal=embedding_models.refusal,
        )
        graphs = Graphs(store=self._store, able=able, clock=time.time)
        await graphs.ship(shipped_graphs())
        verifier = Verifier(
            graphs=graphs,
            runner=GraphRunner(
                guarded=self._guarded,
                evaluators=self._evaluators(kinds),
                cache=self._cache,
                clock=time.monotonic,
            ),
            traces=NoTraces() if self._channel is None else ControllerTraces(self._channel),
        )
        servicer = VerifierServicer(verifier, graphs)
        verifier_v1.add_VerifierServiceServicer_to_server(servicer, grpc_server)
        return [_SERVICE]

    async def drain(self) -> None:
        """Waits for judgements whose asker went away: they are paid for."""
        if self._cache is not None:
            await self._cache.drain()
        if self._desk is not None:
            await self._desk.drain()

    async def stop(self) -> None:
        """Closes files and connections, and ends the processes that run code."""
        await self._guarded.close()
        await self._sandbox.close()
        await self._remote.close()
        if self._embedder is not None:
            await self._embedder.close()
        if self._ledger is not None:
            await self._ledger.close()
        await self._registry.close()
        if self._channel is not None:
            await self._channel.close()
        if self._cache is not None:
            await asyncio.to_thread(self._cache.close)
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def _reach_controller(self) -> None:
        if not self._settings.controller_target:
            return
        self._channel = rpc.connect(
            self._settings.controller_target,
            token=self._settings.auth_token,
            options=rpc.ChannelOptions(max_message_bytes=self._settings.max_message_bytes),
        )
        self._ledger = LedgerClient(
            self._channel,
            client_id=f"{self._settings.node_id}/verifier/{uuid.uuid4().hex}",
            max_message_bytes=self._settings.max_message_bytes,
            pause=_LEDGER_PAUSE,
        )
        await self._ledger.start()
        self._desk = CallDesk(self._ledger)

    async def _code_refusal(self) -> str:
        if self._own.sandbox == "off":
            return refusal(None, "off")
        try:
            isolation = await self._sandbox.isolation()
        except SandboxLost as error:
            _log.warning("sandbox_unavailable", error=str(error))
            return refusal(None, self._own.sandbox)
        _log.info(
            "sandbox_ready",
            namespaces=isolation.namespaces,
            files=isolation.files,
            system_calls=isolation.system_calls,
        )
        return refusal(isolation, self._own.sandbox)

    def _evaluators(self, kinds: Kinds) -> Evaluators:
        self._embedder = embedding_models.ModelEmbedder(self._registry, self._desk)
        return Evaluators(
            code=CodeEvaluator(self._sandbox, kinds),
            similarity=SimilarityEvaluator(self._embedder),
            judge=JudgeEvaluator(self._registry, self._desk),
            remote=RemoteEvaluator(
                self._remote,
                refusal=partial(remote_refusal, allowed=self._own.remote_nodes),
                random=random.Random(),  # noqa: S311 - spreads waits
            ),
        )


def main() -> int:
    """Runs the service until it is told to stop; returns the exit code."""
    return server.main(VerifierApp, service="verifier")


def _providers() -> dict[str, ProviderFactory]:
    loaded = plugins.load(PLUGIN_GROUP, accepts=callable)
    return {name: factory for name, factory in loaded.items() if _is_factory(factory)}


def _is_factory(plugin: object) -> TypeGuard[ProviderFactory]:
    return callable(plugin)

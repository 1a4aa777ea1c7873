"""Wires the proposer: providers, the ledger of the controller, and the servicer."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from grpc import aio

from burnish import rpc
from burnish.api.proposer import v1 as proposer_v1
from burnish_proposer.plugins import load_writers
from burnish_proposer.servicer import ProposerServicer
from burnish_proposer.tiers import default_models
from burnish_proposer.writers import Writer
from burnish_runtime import plugins, server
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.llm.accounts import CallDesk
from burnish_runtime.llm.registry import PLUGIN_GROUP, ProviderFactory, ProviderRegistry
from burnish_runtime.retries import RetryPolicy
from burnish_runtime.settings import ServiceSettings

_SERVICE = "burnish.api.proposer.v1.ProposerService"


class ProposerApp:
    """The proposer service.

    Attributes:
        name: Name of the service.
        http_address: It has no data plane.
    """

    name = "proposer"
    http_address: str | None = None

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        retry: RetryPolicy | None = None,
        writers: Mapping[str, Writer] | None = None,
    ) -> None:
        """Takes the settings; nothing is opened yet.

        Args:
            settings: Keys, and where the controller is.
            retry: How often a paid call is tried.
            writers: Who may write, by name; None takes the built-in writer and what is installed.

        Raises:
            InvalidArgument: The table of models in the settings is wrong, or a plug-in takes the
                name of a built-in provider.
            PluginsUnusable: A plug-in, of a provider or of a proposer, cannot be used.
        """
        self._settings = settings
        self._retry = retry
        self._models = default_models(settings.proposer_models)
        self._writers = load_writers() if writers is None else writers
        self._registry = ProviderRegistry(settings, plugins=_plugins())
        self._channel: aio.Channel | None = None
        self._ledger: LedgerClient | None = None
        self._desk: CallDesk | None = None

    async def start(self, server: aio.Server) -> Sequence[str]:
        """Opens the ledger's stream and adds the servicer.

        Raises:
            InvalidArgument: `BURNISH_CONTROLLER` is empty.
        """
        self._channel = rpc.connect(
            self._settings.controller_target,
            token=self._settings.auth_token,
            options=rpc.ChannelOptions(max_message_bytes=self._settings.max_message_bytes),
        )
        self._ledger = LedgerClient(
            self._channel,
            client_id=f"{self._settings.node_id}/proposer/{uuid.uuid4().hex}",
            max_message_bytes=self._settings.max_message_bytes,
        )
        await self._ledger.start()
        self._desk = CallDesk(self._ledger, retry=self._retry)
        servicer = ProposerServicer(
            registry=self._registry, desk=self._desk, models=self._models, writers=self._writers
        )
        proposer_v1.add_ProposerServiceServicer_to_server(servicer, server)
        return [_SERVICE]

    async def drain(self) -> None:
        """Waits for paid calls whose asker went away, so that their replies reach the ledger."""
        if self._desk is not None:
            await self._desk.drain()

    async def stop(self) -> None:
        """Closes the ledger's stream, the providers and the channel."""
        if self._ledger is not None:
            await self._ledger.close()
        await self._registry.close()
        if self._channel is not None:
            await self._channel.close()


def main() -> int:
    """Runs the service until it is told to stop; returns the exit code."""
    return server.main(ProposerApp, service="proposer")


def _plugins() -> dict[str, ProviderFactory]:
    loaded = plugins.load(PLUGIN_GROUP, accepts=callable)
    return {name: factory for name, factory in loaded.items() if _is_factory(factory)}


def _is_factory(plugin: object) -> TypeGuard[ProviderFactory]:
    return callable(plugin)

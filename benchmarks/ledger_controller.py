"""A controller with nothing but its call ledger and one policy, for ledger.py.

The ledger is the real one: its engine, its rows, its writer and its server. What is left out is
whatever dispatches rollouts: every scope is open from the start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from grpc import aio

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import Caps
from burnish_controller.ledger.calls import Scope
from burnish_controller.ledger.engine import CallLedger, LedgerOptions
from burnish_controller.ledger.servicer import CallLedgerServicer
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import Database, open_database
from burnish_controller.store.writer import Writer
from burnish_interceptor.testing import CANDIDATE, FakeController, offline_policy, prompts
from burnish_runtime import server
from burnish_runtime.settings import ServiceSettings

JOB_ID = "1"


def scope_id(number: int) -> str:
    """Returns the id of a scope, as long as a rollout's."""
    return f"{number:064x}"


def one_policy(model_url: str) -> FakeController:
    """Returns policies in memory: one of them, its model at an address of the benchmark's."""
    policy = offline_policy()
    for stage in policy.stages:
        stage.model.provider = "openai_compatible"
        stage.model.base_url = model_url
        stage.model.max_output_tokens = 64
    memory = FakeController()
    memory.policies[policy.name] = policy
    memory.candidates[CANDIDATE] = prompts("Name the intent. " * 40)
    return memory


class LedgerApp:
    """The service."""

    name = "controller"
    http_address: str | None = None

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        scopes: int,
        model_url: str,
        scope: Callable[[int], str] = scope_id,
    ) -> None:
        """Prepares it; nothing is opened yet.

        Args:
            settings: Where it listens and stores.
            scopes: How many scopes are open.
            model_url: Address of the policy's model.
            scope: Id of a scope by number.
        """
        self._scope = scope
        self._settings = settings
        self._scopes = scopes
        self._model_url = model_url
        self._database: Database | None = None
        self._writer: Writer | None = None
        self._ledger: CallLedger | None = None

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Opens the database and every scope."""
        self._database = database = await open_database(self._settings.state_dir)
        self._writer = writer = Writer(database.write_engine)
        writer.start()
        store = CallStore(database, writer, tenant="default")
        self._ledger = ledger = CallLedger(store, LedgerOptions(price_of=_price, caps_of=_caps))
        for number in range(self._scopes):
            scope = Scope(scope_id=self._scope(number), job_id=JOB_ID, closing=False)
            await ledger.open_scope(scope, before=False)
        ledger_v1.add_CallLedgerServiceServicer_to_server(CallLedgerServicer(ledger), grpc_server)
        policies = one_policy(self._model_url)
        policy_v1.add_PolicyServiceServicer_to_server(policies, grpc_server)
        return ["burnish.api.ledger.v1.CallLedgerService", "burnish.api.policy.v1.PolicyService"]

    async def drain(self) -> None:
        """Has nothing to flush."""

    async def stop(self) -> None:
        """Closes the store."""
        if self._ledger is not None:
            await self._ledger.close()
        if self._writer is not None:
            await self._writer.close()
        if self._database is not None:
            await self._database.close()


def _price(model: types_v1.ModelSpec, read: int | None) -> types_v1.Price:
    return types_v1.Price(input_usd_per_million=1.0, output_usd_per_million=2.0)


async def _caps(job_id: str) -> Caps:
    return Caps(usd=1e6)


def main() -> int:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scopes", type=int, required=True)
    parser.add_argument("--model-url", required=True)
    options = parser.parse_args()

    def build(settings: ServiceSettings) -> LedgerApp:
        return LedgerApp(settings, scopes=options.scopes, model_url=options.model_url)

    return server.main(build, service="controller")


if __name__ == "__main__":
    raise SystemExit(main())

"""`VerifierService` for clients: the verifier behind it, and an account for what judges cost.

Clients reach the controller and nothing else. What they have scored outside of any job is booked
on an account of its own, which the content of the request names: the same request again replays
what was paid for.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from burnish import rpc
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument
from burnish_controller.ledger.budget import Caps
from burnish_controller.ledger.calls import Scope
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.ledger.store import CallStore
from burnish_controller.peers import CALL_SECONDS, Peers
from burnish_controller.scoring import SCORE_SECONDS, judgement_scope

# No job can have an id with a dot.
_PREFIX = "scoring."
_Context = aio.ServicerContext[Any, Any]


class ScoringAccounts:
    """Caps of the accounts of scoring requests, while they are served."""

    def __init__(self) -> None:
        self._caps: dict[str, Caps] = {}
        self._users: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}

    def find(self, account_id: str) -> Caps | None:
        """Returns the caps of an account; None for one that no scoring request has opened.

        An account that is asked for after its request ended may spend nothing more.
        """
        if not account_id.startswith(_PREFIX):
            return None
        return self._caps.get(account_id, Caps(usd=0.0))

    @asynccontextmanager
    async def open(self, account_id: str, caps: Caps) -> AsyncIterator[None]:
        """Holds an account for one request; an equal request waits, and then replays."""
        turn = self._turns.setdefault(account_id, asyncio.Lock())
        self._users[account_id] += 1
        try:
            async with turn:
                self._caps[account_id] = caps
                try:
                    yield
                finally:
                    del self._caps[account_id]
        finally:
            self._users[account_id] -= 1
            if not self._users[account_id]:
                del self._users[account_id], self._turns[account_id]


class ScoringDesk:
    """Has rollouts scored for clients."""

    def __init__(
        self, peers: Peers, *, ledger: CallLedger, calls: CallStore, accounts: ScoringAccounts
    ) -> None:
        """Takes what is asked and where costs go.

        Args:
            peers: The verifier.
            ledger: Where judges ask for leave to make a call.
            calls: Calls that were made before.
            accounts: Told of the caps of each request.
        """
        self._peers = peers
        self._ledger = ledger
        self._calls = calls
        self._accounts = accounts

    async def score(
        self, request: verifier_v1.ScoreRolloutsRequest
    ) -> verifier_v1.ScoreRolloutsResponse:
        """Scores rollouts, and pays its judges up to what the request allows.

        Raises:
            InvalidArgument: The request is at fault, or names a job to pay.
            NotFound: There is no such graph.
        """
        if request.job:
            raise InvalidArgument(
                "`job` is set, but a job pays for its own rollouts only; leave it out, and give"
                " `max_cost_usd` for judges that cost money",
                reason="SCORING_PAYER_INVALID",
            )
        if not request.verifier_graph:
            return await self._scored(request)
        account_id = account_of(request)
        caps = Caps(usd=request.max_cost_usd if request.HasField("max_cost_usd") else 0.0)
        paid = verifier_v1.ScoreRolloutsRequest()
        paid.CopyFrom(request)
        paid.job = f"jobs/{account_id}"
        async with self._accounts.open(account_id, caps):
            try:
                async with self._scopes(account_id, paid):
                    return await self._scored(paid)
            finally:
                self._ledger.forget(account_id)

    async def _scored(
        self, request: verifier_v1.ScoreRolloutsRequest
    ) -> verifier_v1.ScoreRolloutsResponse:
        async with rpc.translated():
            return await self._peers.verifier.ScoreRollouts(request, timeout=SCORE_SECONDS)

    @asynccontextmanager
    async def _scopes(
        self, account_id: str, request: verifier_v1.ScoreRolloutsRequest
    ) -> AsyncIterator[None]:
        """Lets judges be called for each rollout, those calls replayed that were paid before."""
        wanted = _scope_ids(account_id, request)
        before = await self._calls.of_scopes(wanted)
        try:
            for scope_id in wanted:
                scope = Scope(scope_id=scope_id, job_id=account_id, closing=False)
                await self._ledger.open_scope(scope, before=scope_id in before)
            yield
        finally:
            for scope_id in wanted:
                self._ledger.close_scope(scope_id)


class VerifierGateway(verifier_v1.VerifierServiceServicer):
    """Graphs and scores for clients."""

    def __init__(self, peers: Peers, desk: ScoringDesk) -> None:
        self._peers = peers
        self._desk = desk

    async def ScoreRollouts(
        self, request: verifier_v1.ScoreRolloutsRequest, context: _Context
    ) -> verifier_v1.ScoreRolloutsResponse:
        """Scores rollouts."""
        return await self._desk.score(request)

    async def CreateVerifierGraph(
        self, request: verifier_v1.CreateVerifierGraphRequest, context: _Context
    ) -> verifier_v1.CreateVerifierGraphResponse:
        """Registers or checks a graph."""
        async with rpc.translated():
            return await self._peers.verifier.CreateVerifierGraph(request, timeout=CALL_SECONDS)

    async def GetVerifierGraph(
        self, request: verifier_v1.GetVerifierGraphRequest, context: _Context
    ) -> verifier_v1.GetVerifierGraphResponse:
        """Gets a graph."""
        async with rpc.translated():
            return await self._peers.verifier.GetVerifierGraph(request, timeout=CALL_SECONDS)

    async def ListVerifierGraphs(
        self, request: verifier_v1.ListVerifierGraphsRequest, context: _Context
    ) -> verifier_v1.ListVerifierGraphsResponse:
        """Lists graphs."""
        async with rpc.translated():
            return await self._peers.verifier.ListVerifierGraphs(request, timeout=CALL_SECONDS)


def account_of(request: verifier_v1.ScoreRolloutsRequest) -> str:
    """Returns the account of a request: its content without what it may cost."""
    content = verifier_v1.ScoreRolloutsRequest()
    content.CopyFrom(request)
    content.ClearField("max_cost_usd")
    data = content.SerializeToString(deterministic=True)
    return f"{_PREFIX}{hashlib.sha256(data).hexdigest()[:32]}"


def _scope_ids(account_id: str, request: verifier_v1.ScoreRolloutsRequest) -> Sequence[str]:
    ids = [one.rollout_id for one in request.rollouts]
    if not all(ids):
        raise InvalidArgument("a rollout has no `rollout_id`; give each one its own")
    return sorted({judgement_scope(account_id, one) for one in ids})

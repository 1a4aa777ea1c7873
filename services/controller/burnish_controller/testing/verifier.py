"""A verifier in memory: graphs by version, outcomes as a test says, judges paid by the ledger."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import grpc
from grpc import aio

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_runtime.ledger_client import LedgerClient

Context = aio.ServicerContext[Any, Any]
_SECONDS = 20.0


class FakeVerifier(verifier_v1.VerifierServiceServicer):
    """Fuses the app's own reward with an outcome that a test gives.

    Attributes:
        outcome: Outcome of a rollout under a graph; a failure leaves it unscored.
        judge: Model that a judgement of each rollout is paid to; None judges without a model.
        simulated: Whether its judge says that it is simulated.
        judged: How often a judge was really asked, by rollout.
        requests: Requests to score, in order.
        graphs: Versions of each graph, oldest first.
    """

    def __init__(self) -> None:
        self.outcome: Callable[[str, types_v1.RolloutResult], float | types_v1.Failure] = (
            lambda graph, rollout: 1.0
        )
        self.judge: types_v1.ModelSpec | None = None
        self.simulated = False
        self.judged: Counter[str] = Counter()
        self.requests: list[verifier_v1.ScoreRolloutsRequest] = []
        self.graphs: dict[str, list[verifier_v1.VerifierGraph]] = defaultdict(list)
        self._ledger: LedgerClient | None = None

    def attach(self, ledger: LedgerClient) -> None:
        """Pays judges by a ledger from now on."""
        self._ledger = ledger

    def add(self, graph: verifier_v1.VerifierGraph) -> str:
        """Registers a graph and returns the name of its version."""
        data = graph.SerializeToString(deterministic=True)
        name = graph.name or f"verifierGraphs/{hashlib.sha256(data).hexdigest()[:16]}"
        versions = self.graphs[name]
        kept = verifier_v1.VerifierGraph()
        kept.CopyFrom(graph)
        kept.version = len(versions) + 1
        kept.name = f"{name}/versions/{kept.version}"
        versions.append(kept)
        return kept.name

    async def CreateVerifierGraph(
        self, request: verifier_v1.CreateVerifierGraphRequest, context: Context
    ) -> verifier_v1.CreateVerifierGraphResponse:
        """Registers a graph, or only looks at it."""
        response = verifier_v1.CreateVerifierGraphResponse(verifier_graph=request.verifier_graph)
        if not request.validate_only:
            response.verifier_graph.name = self.add(request.verifier_graph)
        return response

    async def GetVerifierGraph(
        self, request: verifier_v1.GetVerifierGraphRequest, context: Context
    ) -> verifier_v1.GetVerifierGraphResponse:
        """Returns the latest version of a graph."""
        found = self.graphs.get(request.name)
        if not found:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no `{request.name}`")
        return verifier_v1.GetVerifierGraphResponse(verifier_graph=(found or [])[-1])

    async def ScoreRollouts(
        self, request: verifier_v1.ScoreRolloutsRequest, context: Context
    ) -> verifier_v1.ScoreRolloutsResponse:
        """Scores rollouts."""
        self.requests.append(request)
        scored = [await self._score(request, one) for one in request.rollouts]
        return verifier_v1.ScoreRolloutsResponse(
            scored_rollouts=scored, verifier_graph=request.verifier_graph
        )

    async def _score(
        self, request: verifier_v1.ScoreRolloutsRequest, rollout: types_v1.RolloutResult
    ) -> verifier_v1.ScoredRollout:
        found = verifier_v1.ScoredRollout(rollout_id=rollout.rollout_id)
        weights, parts = request.weights, {}
        if rollout.HasField("environment_reward"):
            parts["environment"] = rollout.environment_reward
        if request.verifier_graph:
            if self.judge is not None:
                refused = await self._paid(request, rollout, self.judge)
                if refused is not None:
                    found.failure.CopyFrom(refused)
                    return found
            outcome = self.outcome(request.verifier_graph, rollout)
            if isinstance(outcome, types_v1.Failure):
                found.failure.CopyFrom(outcome)
                return found
            parts["outcome"] = outcome
        shares = {name: float(getattr(weights, name)) for name in ("environment", "outcome")}
        wanted = {name: share for name, share in shares.items() if share > 0}
        if not wanted.keys() <= parts.keys():
            found.failure.reason = "NO_REWARD"
            return found
        total = sum(wanted.values())
        fused = sum(parts[name] * share for name, share in wanted.items()) / total
        found.simulated = self.simulated
        found.reward.fused = fused
        for name, value in parts.items():
            setattr(found.reward, name, value)
        return found

    async def _paid(
        self,
        request: verifier_v1.ScoreRolloutsRequest,
        rollout: types_v1.RolloutResult,
        model: types_v1.ModelSpec,
    ) -> types_v1.Failure | None:
        """Pays a judge for a rollout; returns why the ledger refuses, or None."""
        if self._ledger is None:
            raise RuntimeError("attach a ledger first")
        account = request.job.removeprefix("jobs/")
        decision = await self._ledger.begin(
            ledger_v1.BeginCall(
                job=request.job,
                scope=f"judgements/{account}/{rollout.rollout_id}",
                attempt=1,
                request_hash=hashlib.sha256(rollout.rollout_id.encode()).hexdigest(),
                ordinal=0,
                role=ledger_v1.CALL_ROLE_JUDGE,
                model=model,
                worst_case=ledger_v1.WorstCase(input_tokens=60, output_tokens=40),
            ),
            timeout=_SECONDS,
        )
        if decision.WhichOneof("decision") == "refused":
            return decision.refused
        if decision.WhichOneof("decision") == "proceed":
            self.judged[rollout.rollout_id] += 1
            await self._ledger.finish(
                ledger_v1.FinishCall(
                    call_id=decision.call_id,
                    reply=ledger_v1.CallReply(status=200, body=b"{}"),
                    usage=types_v1.Usage(input_tokens=30, output_tokens=10),
                )
            )
        return None

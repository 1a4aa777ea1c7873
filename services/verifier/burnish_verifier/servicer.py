"""`VerifierService`: each RPC hands over to the engine."""

from __future__ import annotations

from typing import Any

import grpc

from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier import convert
from burnish_verifier.engine import Verifier

_Context = grpc.aio.ServicerContext[Any, Any]


class VerifierServicer(verifier_v1.VerifierServiceServicer):
    """Scores rollouts with verifier graphs."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def ScoreRollouts(
        self, request: verifier_v1.ScoreRolloutsRequest, context: _Context
    ) -> verifier_v1.ScoreRolloutsResponse:
        """Scores rollouts."""
        rollouts = [convert.rollout_of(message) for message in request.rollouts]
        scored = await self._verifier.score(
            rollouts, graph=request.verifier_graph, weights=convert.weights_of(request.weights)
        )
        return verifier_v1.ScoreRolloutsResponse(
            scored_rollouts=map(convert.scored_message, rollouts, scored)
        )

    async def CreateVerifierGraph(
        self, request: verifier_v1.CreateVerifierGraphRequest, context: _Context
    ) -> verifier_v1.CreateVerifierGraphResponse:
        """Registers a graph."""
        name, graph = await self._verifier.create(
            convert.graph_of(request.verifier_graph), name=request.verifier_graph.name
        )
        return verifier_v1.CreateVerifierGraphResponse(
            verifier_graph=convert.graph_message(name, graph)
        )

    async def GetVerifierGraph(
        self, request: verifier_v1.GetVerifierGraphRequest, context: _Context
    ) -> verifier_v1.GetVerifierGraphResponse:
        """Gets a graph."""
        graph = await self._verifier.get(request.name)
        return verifier_v1.GetVerifierGraphResponse(
            verifier_graph=convert.graph_message(request.name, graph)
        )

    async def ListVerifierGraphs(
        self, request: verifier_v1.ListVerifierGraphsRequest, context: _Context
    ) -> verifier_v1.ListVerifierGraphsResponse:
        """Lists graphs by name."""
        page, token = await self._verifier.page(size=request.page_size, token=request.page_token)
        return verifier_v1.ListVerifierGraphsResponse(
            verifier_graphs=[convert.graph_message(name, graph) for name, graph in page],
            next_page_token=token,
        )

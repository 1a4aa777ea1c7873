"""`VerifierService`: each RPC hands over to the engine."""

from __future__ import annotations

from typing import Any

import grpc

from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier import convert, convert_graph
from burnish_verifier.engine import Verifier
from burnish_verifier.graphs import Graphs

_Context = grpc.aio.ServicerContext[Any, Any]


class VerifierServicer(verifier_v1.VerifierServiceServicer):
    """Scores rollouts with verifier graphs."""

    def __init__(self, verifier: Verifier, graphs: Graphs) -> None:
        self._verifier = verifier
        self._graphs = graphs

    async def ScoreRollouts(
        self, request: verifier_v1.ScoreRolloutsRequest, context: _Context
    ) -> verifier_v1.ScoreRolloutsResponse:
        """Scores rollouts."""
        scored, graph = await self._verifier.score(convert.request_of(request))
        return convert.response_message(request, scored, graph=graph)

    async def CreateVerifierGraph(
        self, request: verifier_v1.CreateVerifierGraphRequest, context: _Context
    ) -> verifier_v1.CreateVerifierGraphResponse:
        """Registers a graph, or only checks it."""
        graph = convert_graph.graph_of(request.verifier_graph)
        if request.validate_only:
            version = self._graphs.check(graph)
        else:
            version = await self._graphs.create(graph, name=request.verifier_graph.name)
        return verifier_v1.CreateVerifierGraphResponse(
            verifier_graph=convert_graph.version_message(version)
        )

    async def GetVerifierGraph(
        self, request: verifier_v1.GetVerifierGraphRequest, context: _Context
    ) -> verifier_v1.GetVerifierGraphResponse:
        """Gets a version of a graph."""
        version = await self._graphs.get(request.name)
        return verifier_v1.GetVerifierGraphResponse(
            verifier_graph=convert_graph.version_message(version)
        )

    async def ListVerifierGraphs(
        self, request: verifier_v1.ListVerifierGraphsRequest, context: _Context
    ) -> verifier_v1.ListVerifierGraphsResponse:
        """Lists graphs by name, or the versions of one."""
        page, token = await self._graphs.page(
            size=request.page_size, token=request.page_token, graph=request.verifier_graph
        )
        return verifier_v1.ListVerifierGraphsResponse(
            verifier_graphs=[convert_graph.version_message(version) for version in page],
            next_page_token=token,
        )

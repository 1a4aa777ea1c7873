"""The plain client's rollouts and verifier graphs: thin facades over the asynchronous ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from burnish.api.types.v1 import rollout_pb2
from burnish.api.verifier.v1 import verifier_service_pb2
from burnish.background import BackgroundLoop
from burnish.graphs import AsyncGraphs, GraphPage, GraphScore, GraphSnapshot, ScoreOptions
from burnish.rollouts import AsyncRollouts, RolloutScore


class Rollouts:
    """The finished rollouts of a controller's jobs."""

    def __init__(self, loop: BackgroundLoop, rollouts: AsyncRollouts) -> None:
        self._loop = loop
        self._rollouts = rollouts

    def of_job(
        self, job: str, *, phase: str = "", candidate_id: str = ""
    ) -> Iterator[RolloutScore]:
        """Yields a job's finished rollouts; see `AsyncRollouts.of_job`."""
        found = self._rollouts.of_job(job, phase=phase, candidate_id=candidate_id)
        return self._loop.iterate(found)


class Graphs:
    """The verifier graphs of a suite."""

    def __init__(self, loop: BackgroundLoop, graphs: AsyncGraphs) -> None:
        self._loop = loop
        self._graphs = graphs

    def check(self, graph: verifier_service_pb2.VerifierGraph) -> GraphSnapshot:
        """Checks a graph and stores nothing."""
        return self._loop.run(self._graphs.check(graph))

    def register(
        self, graph: verifier_service_pb2.VerifierGraph, *, name: str = ""
    ) -> GraphSnapshot:
        """Registers a graph and returns its version; see `AsyncGraphs.register`."""
        return self._loop.run(self._graphs.register(graph, name=name))

    def get(self, name: str) -> GraphSnapshot:
        """Gets a graph by id or name."""
        return self._loop.run(self._graphs.get(name))

    def list(self, *, graph: str = "", page_size: int = 0, page_token: str = "") -> GraphPage:
        """Lists the latest version of each graph, or every version of one."""
        return self._loop.run(
            self._graphs.list(graph=graph, page_size=page_size, page_token=page_token)
        )

    def score(
        self,
        graph: str,
        rollouts: Sequence[rollout_pb2.RolloutResult],
        *,
        options: ScoreOptions | None = None,
    ) -> tuple[GraphScore, ...]:
        """Scores rollouts with a registered graph; see `AsyncGraphs.score`."""
        return self._loop.run(self._graphs.score(graph, rollouts, options=options))

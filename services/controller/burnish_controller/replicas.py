"""What interceptor replicas say of the online policies: remembered, not stored."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1

_MAX_REPLICAS = 1_000


@dataclass(slots=True)
class _Replica:
    watches: int = 0
    revision: int = 0
    rejected: dict[str, types_v1.Failure] = field(default_factory=dict)
    report_time: float | None = None


class ReplicaBoard:
    """The last report of each replica; the longest silent are forgotten beyond a thousand."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Starts empty; `clock` gives Unix seconds."""
        self._clock = clock
        self._replicas: OrderedDict[str, _Replica] = OrderedDict()

    @contextmanager
    def watching(self, node_id: str) -> Iterator[None]:
        """Notes that a replica's watch is open while the context is."""
        self._of(node_id).watches += 1
        try:
            yield
        finally:
            self._of(node_id).watches -= 1

    def report(
        self, node_id: str, *, revision: int, rejected: Mapping[str, types_v1.Failure]
    ) -> dict[str, types_v1.Failure]:
        """Takes a report.

        Returns:
            The refusals in it that are new.
        """
        replica = self._of(node_id)
        fresh = {
            name: failure
            for name, failure in rejected.items()
            if replica.rejected.get(name) != failure
        }
        replica.revision = revision
        replica.rejected = dict(rejected)
        replica.report_time = self._clock()
        return fresh

    def of_policy(self, name: str, *, revision: int) -> list[policy_v1.ReplicaStatus]:
        """Returns what every replica says of a policy that last changed at a revision."""
        found = []
        for node_id, replica in sorted(self._replicas.items()):
            failure = replica.rejected.get(name)
            status = policy_v1.ReplicaStatus(
                node_id=node_id,
                connected=replica.watches > 0,
                applied=replica.revision >= revision and failure is None,
                applied_revision=replica.revision,
                rejection=failure,
            )
            if replica.report_time is not None:
                status.report_time.FromNanoseconds(int(replica.report_time * 1e9))
            found.append(status)
        return found

    def _of(self, node_id: str) -> _Replica:
        replica = self._replicas.setdefault(node_id, _Replica())
        self._replicas.move_to_end(node_id)
        if len(self._replicas) > _MAX_REPLICAS:
            silent = next((one for one, it in self._replicas.items() if not it.watches), None)
            if silent is not None and silent != node_id:
                del self._replicas[silent]
        return replica

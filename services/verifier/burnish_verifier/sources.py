"""Where the verifier gets the traces of rollouts that a request does not give."""

from __future__ import annotations

from typing import Protocol

from burnish_verifier.traces import TraceUnusable


class TraceSource(Protocol):
    """Finds session traces."""

    async def trace(self, rollout_id: str) -> bytes:
        """Returns the session trace of a rollout: JSON of trace format 3, in the app's view.

        Raises:
            TraceUnusable: The rollout has none.
            Unavailable: It cannot be asked for now.
        """


class NoTraces:
    """The source of a verifier that was not told where the controller is."""

    async def trace(self, rollout_id: str) -> bytes:
        """Refuses."""
        raise TraceUnusable(
            f"rollout `{rollout_id}`: a node reads its trace, the request gives none, and "
            "`BURNISH_CONTROLLER` is empty; give one of the two",
            reason="TRACE_MISSING",
            metadata={"rollout": rollout_id},
        )

"""The plain client's policies and traces: thin facades over the asynchronous ones."""

from __future__ import annotations

from collections.abc import Mapping

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.background import BackgroundLoop
from burnish.policies import AsyncPolicies, PolicyPage, PolicySnapshot
from burnish.traces import AsyncTraces


class Policies:
    """The online policies of a controller."""

    def __init__(self, loop: BackgroundLoop, policies: AsyncPolicies) -> None:
        self._loop = loop
        self._policies = policies

    def publish(
        self, job: str, *, name: str = "", share: float | None = None, candidate_id: str = ""
    ) -> PolicySnapshot:
        """Serves what a job found beside its baseline; see `AsyncPolicies.publish`."""
        return self._loop.run(
            self._policies.publish(job, name=name, share=share, candidate_id=candidate_id)
        )

    def publish_spec(
        self, name: str, spec: policy_v1.PolicySpec | Mapping[str, object]
    ) -> PolicySnapshot:
        """Serves a policy written by hand; see `AsyncPolicies.publish_spec`."""
        return self._loop.run(self._policies.publish_spec(name, spec))

    def set_weights(self, name: str, weights: Mapping[str, float]) -> PolicySnapshot:
        """Changes the weights of some arms; the others keep theirs."""
        return self._loop.run(self._policies.set_weights(name, weights))

    def get(self, name: str) -> PolicySnapshot:
        """Gets a policy by name or id."""
        return self._loop.run(self._policies.get(name))

    def list(self, *, page_size: int = 0, page_token: str = "") -> PolicyPage:
        """Lists one page of online policies, by name."""
        return self._loop.run(self._policies.list(page_size=page_size, page_token=page_token))

    def delete(self, name: str) -> None:
        """Stops serving a policy; one that is gone already is left as it is."""
        self._loop.run(self._policies.delete(name))


class Traces:
    """The traces that a controller keeps."""

    def __init__(self, loop: BackgroundLoop, traces: AsyncTraces) -> None:
        self._loop = loop
        self._traces = traces

    def session(
        self, rollout_id: str, *, compact: bool = False, provider_view: bool = False
    ) -> dict[str, object]:
        """Gets the calls of a rollout as one document; see `AsyncTraces.session`."""
        return self._loop.run(
            self._traces.session(rollout_id, compact=compact, provider_view=provider_view)
        )

"""Online policies over a channel: serve what a job found, shift traffic, see who serves it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.timestamp_pb2 import Timestamp

from burnish import rpc
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from burnish.errors import InvalidArgument
from burnish.jobs import job_name
from burnish.namespace import Namespace
from burnish.resources import PolicyName

_SUFFIX = "-live"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSnapshot:
    """One prompt of a policy and its share of the traffic.

    Attributes:
        arm: Its name, such as `winner`.
        weight: Relative weight.
        share: Share of new rollouts that it gets, in [0, 1].
        candidate_id: The candidate.
    """

    arm: str
    weight: float
    share: float
    candidate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSnapshot:
    """What one interceptor says of a policy.

    Attributes:
        node_id: Which.
        connected: Whether changes reach it.
        applied: Whether it serves the policy's last change.
        applied_revision: Revision of the whole set that it serves.
        rejection: Reason and message of a refusal; None when there is none.
    """

    node_id: str
    connected: bool
    applied: bool
    applied_revision: int
    rejection: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySnapshot:
    """An online policy as it was when looked at.

    Attributes:
        name: Resource name, `policies/{policy}`.
        version: Grows with every change.
        job: Job that its candidates come from; empty when it was written by hand.
        base_url: What an OpenAI client is given as its base URL.
        arms: What is served.
        stages: Model of each stage, as `provider/model`, by stage id.
        create_time: When it was first published; None when unknown.
        update_time: When it last changed; None when unknown.
        replicas: What interceptors say of it.
    """

    name: str
    version: int
    job: str
    base_url: str
    arms: tuple[ArmSnapshot, ...]
    stages: Mapping[str, str]
    create_time: datetime.datetime | None
    update_time: datetime.datetime | None
    replicas: tuple[ReplicaSnapshot, ...]

    @property
    def policy_id(self) -> str:
        """Id of the policy, the last segment of its name."""
        return PolicyName.parse(self.name).id

    @property
    def plain(self) -> dict[str, object]:
        """The same as plain JSON values."""
        plain = asdict(self)
        for name in ("create_time", "update_time"):
            moment = getattr(self, name)
            plain[name] = None if moment is None else moment.isoformat()
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPage:
    """One page of policies, by name.

    Attributes:
        policies: The policies.
        next_page_token: Empty on the last page.
    """

    policies: tuple[PolicySnapshot, ...]
    next_page_token: str


class AsyncPolicies(Namespace):
    """The online policies of a controller."""

    @property
    def _stub(self) -> PolicyServiceStub:
        return PolicyServiceStub(self._channel())

    async def publish(
        self,
        job: str,
        *,
        name: str = "",
        share: float | None = None,
        candidate_id: str = "",
        expected_version: int | None = None,
    ) -> PolicySnapshot:
        """Serves what a job found to a share of the traffic, beside the job's baseline.

        Args:
            job: Name or id of the job.
            name: Name or id of the policy; `{job}-live` when empty.
            share: Share of the candidate in [0, 1]; 0.1 when None.
            candidate_id: Another candidate of the job; its best when empty.
            expected_version: Version that the policy must have, 0 for a new one; None asks nothing.

        Raises:
            FailedPrecondition: The job has nothing to serve, or the version is another.
            InvalidArgument: The share is not in [0, 1].
        """
        wanted = job_name(job)
        request = policy_v1.PublishPolicyRequest(
            name=policy_name(name or wanted.removeprefix("jobs/") + _SUFFIX),
            job_arms=policy_v1.JobArms(job=wanted, share=share, candidate_id=candidate_id),
            expected_version=expected_version,
        )
        return await self._publish(request)

    async def publish_spec(
        self,
        name: str,
        spec: policy_v1.PolicySpec | Mapping[str, object],
        *,
        expected_version: int | None = None,
    ) -> PolicySnapshot:
        """Serves a policy written by hand.

        Args:
            name: Name or id of the policy.
            spec: Its stages and arms, as a message or as a mapping with the same names.
            expected_version: Version that the policy must have, 0 for a new one; None asks nothing.

        Raises:
            InvalidArgument: With every fault of the specification.
            FailedPrecondition: The version is another.
        """
        given = spec if isinstance(spec, policy_v1.PolicySpec) else _spec(spec)
        request = policy_v1.PublishPolicyRequest(
            name=policy_name(name), spec=given, expected_version=expected_version
        )
        return await self._publish(request)

    async def set_weights(
        self, name: str, weights: Mapping[str, float], *, expected_version: int | None = None
    ) -> PolicySnapshot:
        """Changes the weights of some arms; the others keep theirs.

        Raises:
            NotFound: There is no such policy.
            InvalidArgument: An arm is unknown, or nothing would be served.
        """
        request = policy_v1.SetPolicyWeightsRequest(
            name=policy_name(name), weights=dict(weights), expected_version=expected_version
        )
        async with rpc.translated():
            response = await self._stub.SetPolicyWeights(request, timeout=self._timeout)
        return snapshot(response.policy, response.status)

    async def get(self, name: str) -> PolicySnapshot:
        """Gets a policy by name or id.

        Raises:
            NotFound: There is no such policy.
        """
        request = policy_v1.GetPolicyRequest(name=policy_name(name))
        async with rpc.translated():
            response = await self._stub.GetPolicy(request, timeout=self._timeout)
        return snapshot(response.policy, response.status)

    async def list(self, *, page_size: int = 0, page_token: str = "") -> PolicyPage:
        """Lists one page of online policies, by name."""
        request = policy_v1.ListPoliciesRequest(page_size=page_size, page_token=page_token)
        async with rpc.translated():
            response = await self._stub.ListPolicies(request, timeout=self._timeout)
        return PolicyPage(
            policies=tuple(snapshot(one.policy, one.status) for one in response.policies),
            next_page_token=response.next_page_token,
        )

    async def delete(self, name: str) -> None:
        """Stops serving a policy; one that is gone already is left as it is."""
        request = policy_v1.DeletePolicyRequest(name=policy_name(name))
        async with rpc.translated():
            await self._stub.DeletePolicy(request, timeout=self._timeout)

    async def _publish(self, request: policy_v1.PublishPolicyRequest) -> PolicySnapshot:
        async with rpc.translated():
            response = await self._stub.PublishPolicy(request, timeout=self._timeout)
        return snapshot(response.policy, response.status)


def policy_name(text: str) -> str:
    """Returns the resource name for a policy's name or id.

    Raises:
        InvalidArgument: The text is neither.
    """
    return str(PolicyName.parse(text) if text.startswith("policies/") else PolicyName(text))


def snapshot(policy: policy_v1.Policy, status: policy_v1.PolicyStatus) -> PolicySnapshot:
    """Returns a policy and its status as plain values."""
    total = sum(one.weight for one in policy.candidates)
    return PolicySnapshot(
        name=policy.name,
        version=policy.version,
        job=policy.job,
        base_url=status.base_url,
        arms=tuple(
            ArmSnapshot(
                arm=one.arm,
                weight=one.weight,
                share=one.weight / total if total else 0.0,
                candidate_id=one.candidate_id,
            )
            for one in policy.candidates
        ),
        stages={
            stage.template.stage_id: f"{stage.model.provider}/{stage.model.model}"
            for stage in policy.stages
        },
        create_time=_moment(status, "create_time"),
        update_time=_moment(status, "update_time"),
        replicas=tuple(_replica(one) for one in status.replicas),
    )


def _replica(status: policy_v1.ReplicaStatus) -> ReplicaSnapshot:
    rejection = (status.rejection.reason, status.rejection.message)
    return ReplicaSnapshot(
        node_id=status.node_id,
        connected=status.connected,
        applied=status.applied,
        applied_revision=status.applied_revision,
        rejection=rejection if status.HasField("rejection") else None,
    )


def _moment(status: policy_v1.PolicyStatus, name: str) -> datetime.datetime | None:
    stamp: Timestamp = getattr(status, name)
    return stamp.ToDatetime(tzinfo=datetime.UTC) if stamp.seconds else None


def _spec(given: Mapping[str, object]) -> policy_v1.PolicySpec:
    try:
        return ParseDict(dict(given), policy_v1.PolicySpec())
    except ParseError as error:
        raise InvalidArgument(
            f"the policy cannot be read: {error}; see PolicySpec for its names",
            reason="POLICY_INVALID",
        ) from None

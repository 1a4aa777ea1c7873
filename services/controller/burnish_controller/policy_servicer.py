"""`PolicyService`: publishes online policies, and tells interceptors what to substitute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from burnish.api.policy import v1 as policy_v1
from burnish.errors import AlreadyExists, InvalidArgument, NotFound
from burnish.resources import JobName, PolicyName
from burnish_controller import publishing
from burnish_controller.proxies.models import job_of
from burnish_controller.publishing import Publication
from burnish_controller.registry import JobRegistry
from burnish_controller.replicas import ReplicaBoard
from burnish_controller.store.jobs import JobNotFound, JobStore
from burnish_controller.store.policies import PolicyStore, StoredPolicy
from burnish_controller.store.space import SpaceStore

HEARTBEAT_SECONDS = 10.0
_PAGE = 50
_MAX_PAGE = 500
_Context = aio.ServicerContext[Any, Any]
_log = structlog.get_logger("burnish.controller.policies")


class CandidateNotFound(NotFound):
    """No candidate of that id in that policy."""

    default_reason = "CANDIDATE_NOT_FOUND"


class PolicyNameTaken(AlreadyExists):
    """The name of a job's own policy."""

    default_reason = "POLICY_NAME_TAKEN"


class PolicyServicer(policy_v1.PolicyServiceServicer):
    """Policies over gRPC: the online ones from their store, each job's own from the job."""

    def __init__(
        self,
        registry: JobRegistry,
        *,
        jobs: JobStore,
        space: SpaceStore,
        policies: PolicyStore,
        interceptor_url: str,
    ) -> None:
        """Takes what is read and written; `interceptor_url` is the data plane's base URL."""
        self._registry = registry
        self._jobs = jobs
        self._space = space
        self._policies = policies
        self._interceptor_url = interceptor_url.rstrip("/")
        self._replicas = ReplicaBoard()
        self._watches: set[asyncio.Event] = set()

    async def PublishPolicy(
        self, request: policy_v1.PublishPolicyRequest, context: _Context
    ) -> policy_v1.PublishPolicyResponse:
        """Creates or replaces an online policy."""
        name = PolicyName.parse(request.name)
        await self._refuse_job(name)
        publication = await self._publication(str(name), request)
        expected = request.expected_version if request.HasField("expected_version") else None
        stored, changed = await self._policies.put(
            publication.policy, publication.prompts, expected_version=expected
        )
        self._published(stored, changed=changed)
        return policy_v1.PublishPolicyResponse(policy=stored.policy, status=self._status(stored))

    async def SetPolicyWeights(
        self, request: policy_v1.SetPolicyWeightsRequest, context: _Context
    ) -> policy_v1.SetPolicyWeightsResponse:
        """Changes the weights of some arms."""
        expected = request.expected_version if request.HasField("expected_version") else None
        weights = dict(request.weights)
        stored, changed = await self._policies.change(
            PolicyName.parse(request.name).id,
            lambda policy: publishing.reweighted(policy, weights),
            expected_version=expected,
        )
        self._published(stored, changed=changed)
        return policy_v1.SetPolicyWeightsResponse(policy=stored.policy, status=self._status(stored))

    async def ListPolicies(
        self, request: policy_v1.ListPoliciesRequest, context: _Context
    ) -> policy_v1.ListPoliciesResponse:
        """Lists the online policies by name."""
        size = min(request.page_size or _PAGE, _MAX_PAGE)
        found = await self._policies.page(size=size + 1, after=request.page_token)
        page = found[:size]
        response = policy_v1.ListPoliciesResponse(
            policies=[
                policy_v1.PublishedPolicy(policy=one.policy, status=self._status(one))
                for one in page
            ],
            revision=await self._policies.revision(),
        )
        if len(found) > size:
            response.next_page_token = PolicyName.parse(page[-1].policy.name).id
        return response

    async def DeletePolicy(
        self, request: policy_v1.DeletePolicyRequest, context: _Context
    ) -> policy_v1.DeletePolicyResponse:
        """Deletes an online policy."""
        name = PolicyName.parse(request.name)
        if await self._policies.delete(name.id):
            _log.info("policy_deleted", policy=str(name))
            self._wake()
        return policy_v1.DeletePolicyResponse()

    async def WatchPolicies(
        self, request: policy_v1.WatchPoliciesRequest, context: _Context
    ) -> AsyncIterator[policy_v1.WatchPoliciesResponse]:
        """Streams a snapshot or what was missed, then changes as they come, and heartbeats."""
        woken = asyncio.Event()
        self._watches.add(woken)
        try:
            with self._replicas.watching(request.node_id):
                revision = await self._policies.revision()
                snapshot = not 0 < request.after_revision <= revision
                sent = 0 if snapshot else request.after_revision
                while True:
                    changes = await self._policies.changes(sent)
                    sent = changes.revision
                    yield policy_v1.WatchPoliciesResponse(
                        revision=sent,
                        snapshot=snapshot,
                        policies=changes.policies,
                        removed=[] if snapshot else changes.removed,
                    )
                    snapshot = False
                    await _wait(woken)
        finally:
            self._watches.discard(woken)

    async def GetPolicy(
        self, request: policy_v1.GetPolicyRequest, context: _Context
    ) -> policy_v1.GetPolicyResponse:
        """Returns a job's own policy, or an online one."""
        policy_id = PolicyName.parse(request.name).id
        try:
            policy = await self._registry.policy(policy_id)
        except JobNotFound:
            stored = await self._policies.get(policy_id)
            if stored is None:
                raise
            return policy_v1.GetPolicyResponse(policy=stored.policy, status=self._status(stored))
        return policy_v1.GetPolicyResponse(policy=policy)

    async def GetCandidate(
        self, request: policy_v1.GetCandidateRequest, context: _Context
    ) -> policy_v1.GetCandidateResponse:
        """Returns a candidate's prompts."""
        policy_id = PolicyName.parse(request.policy).id
        job_id, _ = job_of(policy_id)
        candidate = await self._space.candidate(job_id, request.candidate_id)
        if candidate is not None:
            prompts = publishing.prompts_of(candidate, await self._space.components(job_id))
            return policy_v1.GetCandidateResponse(prompts=prompts)
        stored = await self._policies.prompts(policy_id, request.candidate_id)
        if stored is None:
            raise CandidateNotFound(
                f"`{request.policy}` has no candidate `{request.candidate_id}`",
                metadata={"policy": request.policy, "candidate_id": request.candidate_id},
            )
        return policy_v1.GetCandidateResponse(prompts=stored)

    async def ReportPolicyStatus(
        self, request: policy_v1.ReportPolicyStatusRequest, context: _Context
    ) -> policy_v1.ReportPolicyStatusResponse:
        """Takes note of what an interceptor serves and of what it refused."""
        fresh = self._replicas.report(
            request.node_id, revision=request.applied_revision, rejected=request.rejected
        )
        for name, failure in fresh.items():
            _log.warning("policy_refused", node=request.node_id, policy=name, reason=failure.reason)
        return policy_v1.ReportPolicyStatusResponse()

    async def _refuse_job(self, name: PolicyName) -> None:
        try:
            await self._jobs.get(job_of(name.id)[0])
        except JobNotFound:
            return
        raise PolicyNameTaken(
            f"`{name}` is the policy of job `jobs/{name.id}`; publish under another name",
            metadata={"policy": str(name)},
        )

    async def _publication(self, name: str, request: policy_v1.PublishPolicyRequest) -> Publication:
        source = request.WhichOneof("source")
        if source == "spec":
            return publishing.from_spec(name, request.spec)
        if source == "job_arms":
            JobName.parse(request.job_arms.job)
            return await publishing.from_job(
                name, request.job_arms, jobs=self._jobs, space=self._space
            )
        raise InvalidArgument(f"`{name}`: give `spec` or `job_arms`", reason="POLICY_INVALID")

    def _published(self, stored: StoredPolicy, *, changed: bool) -> None:
        if changed:
            policy = stored.policy
            _log.info("policy_published", policy=policy.name, version=policy.version)
            self._wake()

    def _wake(self) -> None:
        for woken in self._watches:
            woken.set()

    def _status(self, stored: StoredPolicy) -> policy_v1.PolicyStatus:
        name = stored.policy.name
        return policy_v1.PolicyStatus(
            revision=stored.revision,
            create_time=_timestamp(stored.create_time),
            update_time=_timestamp(stored.update_time),
            replicas=self._replicas.of_policy(name, revision=stored.revision),
            base_url=f"{self._interceptor_url}/p/{PolicyName.parse(name).id}/v1",
        )


async def _wait(woken: asyncio.Event) -> None:
    """Waits for a change, at most until the next heartbeat is due."""
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await woken.wait()
    except TimeoutError:
        return
    woken.clear()


def _timestamp(seconds: float) -> Timestamp:
    found = Timestamp()
    found.FromNanoseconds(int(seconds * 1e9))
    return found

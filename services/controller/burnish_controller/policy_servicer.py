"""`PolicyService`: tells interceptors what to substitute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from grpc import aio

from burnish.api.policy import v1 as policy_v1
from burnish.errors import NotFound
from burnish.resources import PolicyName
from burnish_controller.registry import JobRegistry
from burnish_controller.store.space import SpaceStore

_HEARTBEAT_SECONDS = 10.0
_Context = aio.ServicerContext[Any, Any]
_log = structlog.get_logger("burnish.controller.policies")


class CandidateNotFound(NotFound):
    """No candidate of that id in that policy."""

    default_reason = "CANDIDATE_NOT_FOUND"


class PolicyServicer(policy_v1.PolicyServiceServicer):
    """Policies over gRPC. Every policy is an offline job's so far, and those are not watched."""

    def __init__(self, registry: JobRegistry, space: SpaceStore) -> None:
        self._registry = registry
        self._space = space

    async def WatchPolicies(
        self, request: policy_v1.WatchPoliciesRequest, context: _Context
    ) -> AsyncIterator[policy_v1.WatchPoliciesResponse]:
        """Streams a snapshot of the online policies, then heartbeats."""
        yield policy_v1.WatchPoliciesResponse(revision=1, snapshot=True)
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            yield policy_v1.WatchPoliciesResponse(revision=1)

    async def GetPolicy(
        self, request: policy_v1.GetPolicyRequest, context: _Context
    ) -> policy_v1.GetPolicyResponse:
        """Returns a job's policy."""
        policy = await self._registry.policy(PolicyName.parse(request.name).id)
        return policy_v1.GetPolicyResponse(policy=policy)

    async def GetCandidate(
        self, request: policy_v1.GetCandidateRequest, context: _Context
    ) -> policy_v1.GetCandidateResponse:
        """Returns a candidate's prompts."""
        job_id = PolicyName.parse(request.policy).id
        candidate = await self._space.candidate(job_id, request.candidate_id)
        if candidate is None:
            raise CandidateNotFound(
                f"`{request.policy}` has no candidate `{request.candidate_id}`",
                metadata={"policy": request.policy, "candidate_id": request.candidate_id},
            )
        wanted = {
            component_id
            for choice in candidate.stages.values()
            for component_id in (choice.instruction_id, choice.demo_set_id)
        }
        components = [
            component
            for component in await self._space.components(job_id)
            if component.component_id in wanted
        ]
        return policy_v1.GetCandidateResponse(
            prompts=policy_v1.CandidatePrompts(candidate=candidate, components=components)
        )

    async def ReportPolicyStatus(
        self, request: policy_v1.ReportPolicyStatusRequest, context: _Context
    ) -> policy_v1.ReportPolicyStatusResponse:
        """Takes note of what an interceptor refused."""
        for name, failure in request.rejected.items():
            _log.warning("policy refused", node=request.node_id, policy=name, reason=failure.reason)
        return policy_v1.ReportPolicyStatusResponse()

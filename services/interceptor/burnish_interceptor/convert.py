"""The one bridge between the interceptor's value objects and the protobuf messages."""

from __future__ import annotations

from collections.abc import Mapping

from burnish import templates
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.types.v1 import candidate_pb2, model_pb2, rollout_pb2
from burnish.errors import BurnishError, Internal
from burnish.resources import PolicyName
from burnish_interceptor.policies.policy import (
    Arm,
    Change,
    Demo,
    MessagePattern,
    Mode,
    Model,
    Policy,
    Prompts,
    Rejection,
    Section,
    Stage,
    StagePrompt,
    Status,
    TextReplacement,
    Transform,
)


class CandidateIncomplete(Internal):
    """A candidate that came without one of its components. A bug of the sender."""

    default_reason = "CANDIDATE_INCOMPLETE"


def policy_request(policy_id: str) -> policy_v1.GetPolicyRequest:
    """Returns the request for a policy.

    Raises:
        ResourceNameInvalid: The id has a form that no policy has.
    """
    return policy_v1.GetPolicyRequest(name=str(PolicyName(policy_id)))


def candidate_request(policy_id: str, candidate_id: str) -> policy_v1.GetCandidateRequest:
    """Returns the request for a candidate's prompts."""
    return policy_v1.GetCandidateRequest(
        policy=str(PolicyName(policy_id)), candidate_id=candidate_id
    )


def watch_request(node_id: str, after_revision: int) -> policy_v1.WatchPoliciesRequest:
    """Returns the request for the online policies."""
    return policy_v1.WatchPoliciesRequest(node_id=node_id, after_revision=after_revision)


def change(message: policy_v1.WatchPoliciesResponse) -> Change:
    """Reads a change of the online policies; one that cannot be read says why."""
    found: list[Policy] = []
    unread: dict[str, Rejection] = {}
    for one in message.policies:
        try:
            found.append(policy(one))
        except (BurnishError, ValueError) as error:
            unread[one.name.removeprefix("policies/")] = Rejection(
                reason="POLICY_UNREADABLE", message=str(error)
            )
    return Change(
        revision=message.revision,
        snapshot=message.snapshot,
        policies=tuple(found),
        removed=frozenset(PolicyName.parse(name).id for name in message.removed),
        unread=unread,
    )


def report_request(
    node_id: str, revision: int, rejected: Mapping[str, Rejection]
) -> policy_v1.ReportPolicyStatusRequest:
    """Writes what a replica serves."""
    return policy_v1.ReportPolicyStatusRequest(
        node_id=node_id, applied_revision=revision, rejected=_rejections(rejected)
    )


def policy(message: policy_v1.Policy) -> Policy:
    """Reads a policy."""
    return Policy(
        policy_id=PolicyName.parse(message.name).id,
        version=message.version,
        job=message.job,
        stages=tuple(_stage(stage) for stage in message.stages),
        arms=tuple(
            Arm(name=one.arm, candidate_id=one.candidate_id, weight=one.weight)
            for one in message.candidates
        ),
        synchronous=message.synchronous_traces,
        learning_baseline=message.learning_baseline,
    )


def prompts(message: policy_v1.CandidatePrompts) -> Prompts:
    """Reads a candidate's prompts.

    Raises:
        CandidateIncomplete: The candidate names a component that the message lacks.
    """
    components = {one.component_id: one for one in message.components}
    named = {
        component_id
        for choice in message.candidate.stages.values()
        for component_id in (choice.instruction_id, choice.demo_set_id)
        if component_id
    }
    if missing := sorted(named - components.keys()):
        raise CandidateIncomplete(
            f"candidate `{message.candidate.candidate_id}` came without its components "
            f"{', '.join(missing)}; the controller has to send them all",
            metadata={"candidate_id": message.candidate.candidate_id},
        )
    return Prompts(
        candidate_id=message.candidate.candidate_id,
        stages={
            stage_id: _stage_prompt(
                components[choice.instruction_id].instruction if choice.instruction_id else None,
                _demos(components[choice.demo_set_id]) if choice.demo_set_id else (),
            )
            for stage_id, choice in message.candidate.stages.items()
        },
    )


def status_response(status: Status) -> interceptor_v1.GetInterceptorResponse:
    """Writes what the replica serves."""
    return interceptor_v1.GetInterceptorResponse(
        node_id=status.node_id,
        applied_revision=status.applied_revision,
        inflight_call_count=status.inflight_calls,
        buffered_trace_count=status.buffered_traces,
        public_url=status.public_url,
        buffered_trace_byte_count=status.buffered_bytes,
        dropped_trace_count=status.dropped_traces,
        rejected=_rejections(status.rejected),
        watching=status.watching,
    )


def _rejections(rejected: Mapping[str, Rejection]) -> dict[str, rollout_pb2.Failure]:
    return {
        f"policies/{policy_id}": rollout_pb2.Failure(reason=one.reason, message=one.message)
        for policy_id, one in rejected.items()
    }


def _stage(message: policy_v1.StagePolicy) -> Stage:
    pattern = message.template
    optional = frozenset(
        name
        for name, kind in pattern.wildcards.items()
        if kind == candidate_pb2.WILDCARD_KIND_OPTIONAL
    )
    by_pattern = pattern.mode == candidate_pb2.SUBSTITUTION_MODE_PATTERN
    return Stage(
        stage_id=pattern.stage_id,
        messages=tuple(
            MessagePattern(role=one.role, pattern=templates.parse(one.pattern))
            for one in pattern.messages
        ),
        optional=optional,
        mode=Mode.PATTERN if by_pattern else Mode.SYSTEM,
        model=_model(message.model),
        optimised=message.optimised,
    )


def _model(message: model_pb2.ModelSpec) -> Model:
    return Model(
        provider=message.provider,
        name=message.model,
        temperature=message.temperature if message.HasField("temperature") else None,
        max_output_tokens=message.max_output_tokens,
        base_url=message.base_url,
        price=(message.price.input_usd_per_million, message.price.output_usd_per_million)
        if message.HasField("price")
        else None,
        whole_price=message.price.SerializeToString(),
    )


def _stage_prompt(
    message: candidate_pb2.Instruction | None, demos: tuple[Demo, ...]
) -> StagePrompt:
    if message is None:
        return StagePrompt(instruction=None, demos=demos)
    if message.HasField("transform"):
        return StagePrompt(instruction=None, demos=demos, transform=_transform(message.transform))
    if message.sections:
        sections = tuple(
            Section(role=one.role, content=one.content, order=one.order) for one in message.sections
        )
        return StagePrompt(instruction=None, demos=demos, sections=sections)
    return StagePrompt(instruction=message.text, demos=demos)


def _transform(message: candidate_pb2.TextTransform) -> Transform:
    return Transform(
        replacements=tuple(
            TextReplacement(
                old_text=one.old_text if one.HasField("old_text") else None,
                new_text=one.new_text,
                role=one.role or "system",
                position=one.position if one.HasField("position") else None,
            )
            for one in message.replacements
        ),
        whole=message.match == candidate_pb2.TEXT_MATCH_EXACT,
        case_sensitive=not message.ignore_case,
        strict=message.strict,
    )


def _demos(message: candidate_pb2.Component) -> tuple[Demo, ...]:
    return tuple(
        Demo(bindings=dict(demo.bindings), messages=tuple(demo.messages))
        for demo in message.demo_set.demos
    )

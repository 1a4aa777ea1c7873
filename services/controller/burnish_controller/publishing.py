"""Turns what is to be published, by hand or from a job, into a policy and its prompts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from burnish import templates
from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import FailedPrecondition, InvalidArgument
from burnish.models import ModelRole, check_model
from burnish_controller import prompt_forms
from burnish_controller.context import (
    SYSTEM_ROLES,
    baseline_candidate,
    candidate,
    demo_component,
    stages_of,
)
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.space import SpaceStore

MAX_ARMS = 16
MAX_WEIGHT = 1e6
DEFAULT_SHARE = 0.1
_ARM = re.compile(r"[a-z0-9_-]{1,32}")
_BASELINE_ARM = "baseline"
_WINNER_ARM = "winner"
_CANDIDATE_ARM = "candidate"


class PolicyInvalid(InvalidArgument):
    """A policy that can never be served."""

    default_reason = "POLICY_INVALID"


class NothingToServe(FailedPrecondition):
    """A job that has no candidate beside its baseline, or does not know its baseline yet."""

    default_reason = "JOB_HAS_NO_WINNER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is stored of a policy.

    Attributes:
        policy: The policy, without a version.
        prompts: The prompts of its candidates.
    """

    policy: policy_v1.Policy
    prompts: list[policy_v1.CandidatePrompts]


def from_spec(name: str, spec: policy_v1.PolicySpec) -> Publication:
    """Returns what a policy written by hand stands for.

    Raises:
        PolicyInvalid: With every fault.
    """
    faults = [*_stage_faults(spec), *_arm_faults(spec)]
    if faults:
        raise PolicyInvalid(f"`{name}`: " + "; ".join(faults), metadata={"policy": name})
    policy = policy_v1.Policy(name=name, stages=spec.stages)
    for stage in policy.stages:
        stage.optimised = any(stage.template.stage_id in arm.prompts for arm in spec.arms)
    prompts = []
    for arm in spec.arms:
        one = _prompts_of_arm(arm)
        prompts.append(one)
        policy.candidates.add(
            candidate_id=one.candidate.candidate_id, weight=arm.weight, arm=arm.arm
        )
    return Publication(policy=policy, prompts=prompts)


async def from_job(
    name: str, arms: policy_v1.JobArms, *, jobs: JobStore, space: SpaceStore
) -> Publication:
    """Returns a job's candidate as a canary beside the job's baseline.

    Raises:
        NothingToServe: The job has no such candidate.
        PolicyInvalid: The share is not in [0, 1].
    """
    share = arms.share if arms.HasField("share") else DEFAULT_SHARE
    if not 0 <= share <= 1:
        raise PolicyInvalid(
            f"`{name}`: `share` is {share:g}; give the candidate's share in [0, 1]",
            metadata={"policy": name, "share": f"{share:g}"},
        )
    job_id = arms.job.removeprefix("jobs/")
    job = await jobs.get(job_id)
    stages = stages_of(job.spec, await jobs.templates(job_id))
    baseline_id = baseline_candidate(stages).candidate_id if stages else ""
    candidate_id = arms.candidate_id or job.best_candidate_id
    if not stages or not candidate_id or candidate_id == baseline_id:
        raise _nothing(job, candidate_id=arms.candidate_id)
    served = await _prompts_in(space, job_id, [baseline_id, candidate_id])
    if len(served) < 2:
        raise _nothing(job, candidate_id=candidate_id)
    policy = policy_v1.Policy(name=name, job=job.name, stages=stages)
    arm = _CANDIDATE_ARM if arms.candidate_id else _WINNER_ARM
    policy.candidates.add(candidate_id=baseline_id, weight=1.0 - share, arm=_BASELINE_ARM)
    policy.candidates.add(candidate_id=candidate_id, weight=share, arm=arm)
    return Publication(policy=policy, prompts=served)


def reweighted(policy: policy_v1.Policy, weights: Mapping[str, float]) -> policy_v1.Policy:
    """Returns a policy with some arms' weights changed.

    Raises:
        PolicyInvalid: An arm is unknown, or a weight cannot be served.
    """
    arms = [one.arm for one in policy.candidates]
    faults = [f"it has no arm `{arm}`, only {_listed(arms)}" for arm in weights if arm not in arms]
    faults += [_weight_fault(arm, weight) for arm, weight in weights.items() if _bad(weight)]
    changed = policy_v1.Policy()
    changed.CopyFrom(policy)
    for one in changed.candidates:
        one.weight = weights.get(one.arm, one.weight)
    if not faults and not any(one.weight > 0 for one in changed.candidates):
        faults.append("no arm is left with a weight above 0; delete the policy to serve nobody")
    if not weights:
        faults.append("`weights` is empty")
    if faults:
        raise PolicyInvalid(
            f"`{policy.name}`: " + "; ".join(faults), metadata={"policy": policy.name}
        )
    return changed


def prompts_of(
    found: types_v1.Candidate, components: Iterable[types_v1.Component]
) -> policy_v1.CandidatePrompts:
    """Returns a candidate with those of the components that it is made of."""
    wanted = {
        component_id
        for choice in found.stages.values()
        for component_id in (choice.instruction_id, choice.demo_set_id)
    }
    return policy_v1.CandidatePrompts(
        candidate=found,
        components=[one for one in components if one.component_id in wanted],
    )


async def _prompts_in(
    space: SpaceStore, job_id: str, ids: Sequence[str]
) -> list[policy_v1.CandidatePrompts]:
    components = await space.components(job_id)
    found = [await space.candidate(job_id, candidate_id) for candidate_id in ids]
    return [prompts_of(one, components) for one in found if one is not None]


def _nothing(job: job_v1.Job, *, candidate_id: str) -> NothingToServe:
    what = f"no candidate `{candidate_id}`" if candidate_id else "nothing better than its baseline"
    return NothingToServe(
        f"`{job.name}` has {what} to serve; name another candidate of its results, or wait until "
        "it has found one",
        metadata={"job": job.name, "candidate_id": candidate_id},
    )


def _prompts_of_arm(arm: policy_v1.PolicyArm) -> policy_v1.CandidatePrompts:
    choices: dict[str, types_v1.StageChoice] = {}
    components = []
    for stage_id, prompt in arm.prompts.items():
        demos = demo_component(stage_id, list(prompt.demos), source=types_v1.COMPONENT_SOURCE_GIVEN)
        components.append(demos)
        choice = types_v1.StageChoice(demo_set_id=demos.component_id)
        content = prompt_forms.content_of(prompt)
        if content is not None:
            said = prompt_forms.component_of(
                stage_id, content, source=types_v1.COMPONENT_SOURCE_GIVEN
            )
            components.append(said)
            choice.instruction_id = said.component_id
        choices[stage_id] = choice
    return policy_v1.CandidatePrompts(candidate=candidate(choices), components=components)


def _stage_faults(spec: policy_v1.PolicySpec) -> Iterable[str]:
    if not spec.stages:
        yield "`stages` is empty; give at least one"
    seen: set[str] = set()
    for number, stage in enumerate(spec.stages):
        stage_id = stage.template.stage_id
        if not stage_id:
            yield f"`stages[{number}].template.stage_id` is empty"
        elif stage_id in seen:
            yield f"stage `{stage_id}` is given twice"
        seen.add(stage_id)
        if not stage.template.messages:
            yield f"stage `{stage_id}` has no messages to be recognised by"
        if not stage.model.provider or not stage.model.model:
            yield f"stage `{stage_id}` has no model; give `model.provider` and `model.model`"
        else:
            yield from _model_problems(stage_id, stage.model)


def _model_problems(stage_id: str, model: types_v1.ModelSpec) -> Iterable[str]:
    for found in check_model(provider=model.provider, model=model.model, role=ModelRole.POLICY):
        if found.refused:
            shown = f"{model.provider}/{model.model}"
            yield f"stage `{stage_id}` has the model `{shown}`, which {found.message}; {found.fix}"


def _arm_faults(spec: policy_v1.PolicySpec) -> Iterable[str]:
    if not 1 <= len(spec.arms) <= MAX_ARMS:
        yield f"`arms` has {len(spec.arms)} entries; give 1 to {MAX_ARMS}"
    stages = {stage.template.stage_id: stage.template for stage in spec.stages}
    seen: set[str] = set()
    prompts: dict[str, str] = {}
    for arm in spec.arms:
        if _ARM.fullmatch(arm.arm) is None:
            yield f"arm `{arm.arm[:40]}`: name it with 1 to 32 of `a-z`, `0-9`, `_` and `-`"
        elif arm.arm in seen:
            yield f"arm `{arm.arm}` is given twice"
        seen.add(arm.arm)
        if _bad(arm.weight):
            yield _weight_fault(arm.arm, arm.weight)
        broken = False
        for stage_id, prompt in arm.prompts.items():
            if stage_id not in stages:
                broken = True
                yield f"arm `{arm.arm}` has a prompt for stage `{stage_id}`, which is not given"
                continue
            faults = list(_prompt_faults(arm.arm, stages[stage_id], prompt))
            broken = broken or bool(faults)
            yield from faults
        if not broken:
            same = prompts.setdefault(_prompts_of_arm(arm).candidate.candidate_id, arm.arm)
            if same != arm.arm:
                yield f"arms `{same}` and `{arm.arm}` say the same; drop one"
    if spec.arms and not any(arm.weight > 0 for arm in spec.arms):
        yield "no arm has a weight above 0"


def _prompt_faults(
    arm: str, template: types_v1.PromptTemplate, prompt: policy_v1.StagePrompt
) -> Iterable[str]:
    stage = template.stage_id
    yield from prompt_forms.faults(f"arm `{arm}`, stage `{stage}`", template, prompt)
    if prompt.HasField("instruction") and template.mode == types_v1.SUBSTITUTION_MODE_PATTERN:
        required = {
            name
            for message in template.messages
            if message.role in SYSTEM_ROLES
            for name in templates.parse(message.pattern).names
            if template.wildcards.get(name) != types_v1.WILDCARD_KIND_OPTIONAL
        }
        missing = sorted(required - templates.parse(prompt.instruction).names)
        if missing:
            yield f"arm `{arm}`: the instruction of `{stage}` lost {_listed(missing)}"
    for number, demo in enumerate(prompt.demos):
        try:
            objects = [json.loads(message) for message in demo.messages]
        except ValueError:
            yield f"arm `{arm}`: demo {number} of `{stage}` has a message that is not JSON"
            continue
        if not objects or not all(isinstance(one, dict) and "role" in one for one in objects):
            yield f"arm `{arm}`: demo {number} of `{stage}` needs chat messages with a `role`"


def _bad(weight: float) -> bool:
    return not math.isfinite(weight) or not 0 <= weight <= MAX_WEIGHT


def _weight_fault(arm: str, weight: float) -> str:
    return f"arm `{arm}` has weight {weight:g}; give one in [0, {MAX_WEIGHT:g}]"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)

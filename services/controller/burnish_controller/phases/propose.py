"""Has the proposer write instructions, stage by stage, and adds them to the space."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import (
    JobContext,
    baseline_instruction,
    instruction_component,
    placeholders,
)
from burnish_controller.demos import (
    bindings_text,
    example_text,
    message_text,
    reply_message,
)
from burnish_controller.dispatch import output_text, reference_text
from burnish_controller.ledger.calls import Call, Scope
from burnish_controller.peers import patiently
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.phases.bootstrap import labelled_rows
from burnish_controller.store.rollouts import FinishedRollout

PROPOSAL_SECONDS = 1800.0
HISTORY = 20


async def propose(
    services: PhaseServices, job: JobContext, *, key: str, iteration: int, stage_ids: Sequence[str]
) -> list[types_v1.Component]:
    """Asks for instructions for each stage and returns the components they became.

    Args:
        services: What the phases work with.
        job: The job.
        key: Names the proposal; deterministic, so that a repeat replays what was paid.
        iteration: Iteration of the search that asks.
        stage_ids: Stages to write for; empty means every optimised stage.
    """
    found: list[types_v1.Component] = []
    for stage in job.stages:
        stage_id = stage.template.stage_id
        wanted = not stage_ids or stage_id in stage_ids
        if wanted and _wants_instructions(job, stage_id) and job.spec.proposer.instruction_count:
            request = await _request(services, job, stage.template, key=key)
            found += await _ask(services, job, request, iteration=iteration)
    return found


async def _ask(
    services: PhaseServices,
    job: JobContext,
    request: proposer_v1.ProposeInstructionsRequest,
    *,
    iteration: int,
) -> list[types_v1.Component]:
    scope_id = f"proposals/{request.context.request_id}"
    before = (await services.calls.of_scopes([scope_id])).get(scope_id, [])
    scope = Scope(
        scope_id=scope_id,
        job_id=job.job_id,
        closing=False,
        calls={call.key: call for call in before},
    )
    services.ledger.open_scope(scope)
    request.context.attempt = max((call.attempt for call in before), default=0)

    async def stream() -> list[proposer_v1.ProposeInstructionsResponse]:
        request.context.attempt += 1
        return [
            response
            async for response in services.peers.proposer.ProposeInstructions(
                request, timeout=PROPOSAL_SECONDS
            )
        ]

    try:
        responses = await patiently(stream)
    finally:
        services.ledger.close_scope(scope_id)
    return await _take(services, job, request, responses, iteration=iteration)


async def _take(
    services: PhaseServices,
    job: JobContext,
    request: proposer_v1.ProposeInstructionsRequest,
    responses: Sequence[proposer_v1.ProposeInstructionsResponse],
    *,
    iteration: int,
) -> list[types_v1.Component]:
    found: list[types_v1.Component] = []
    request_id = request.context.request_id
    refusals = 0
    completed = job_v1.ProposalCompleted(stage_id=request.stage.stage_id, iteration=iteration)
    for response in responses:
        match response.WhichOneof("outcome"):
            case "instruction" if response.instruction.index > 0:
                component = instruction_component(
                    response.instruction.stage_id,
                    response.instruction.text,
                    source=types_v1.COMPONENT_SOURCE_PROPOSED,
                )
                found.append(component)
                await _log_component(services, job, component, response.instruction, iteration)
            case "refusal":
                await _log_refusal(services, job, f"{request_id}/{refusals}", response.refusal)
                refusals += 1
            case "summary":
                completed.description = response.summary.description
    completed.accepted_count = len(found)
    completed.refused_count = refusals
    await services.events.append(
        job.job_id,
        f"proposal/{request_id}",
        job_v1.JobEvent(
            message=f"{len(found)} instructions for stage {completed.stage_id}"
            f" by {completed.description}",
            proposal_completed=completed,
        ),
    )
    await services.space.add_components(job.job_id, found)
    return found


async def _request(
    services: PhaseServices, job: JobContext, template: types_v1.PromptTemplate, *, key: str
) -> proposer_v1.ProposeInstructionsRequest:
    spec = job.spec.proposer
    roles = {stage.template.stage_id: stage.role for stage in job.spec.stages}
    stage_id = template.stage_id
    request = proposer_v1.ProposeInstructionsRequest(
        context=proposer_v1.ProposalContext(
            job=job.job.name,
            request_id=f"{job.job_id}/{key}/{stage_id}",
            effort=spec.effort,
            output_tier=spec.output_tier,
        ),
        stage=proposer_v1.StageBrief(
            stage_id=stage_id,
            role=roles.get(stage_id, ""),
            template=template,
            baseline_instruction=baseline_instruction(template),
            placeholders=placeholders(template),
        ),
        count=spec.instruction_count,
        retry_limit=spec.retry_limit,
        random_seed=job.spec.random_seed,
        guidance=spec.guidance,
        specification=spec.specification,
    )
    if spec.HasField("meta_model"):
        request.context.meta_model.CopyFrom(spec.meta_model)
    elif job.spec.policy_model.provider == "local":
        request.context.meta_model.provider = "local"
        request.context.meta_model.model = "local-proposer"
    program = await job.app.program()
    if program is not None:
        request.program_description = program.code or program.description
    await _show_rows(services, job, request)
    request.history.extend(await _history(services, job, stage_id))
    return request


async def _show_rows(
    services: PhaseServices, job: JobContext, request: proposer_v1.ProposeInstructionsRequest
) -> None:
    """Shows labelled rows of the bootstrap and reference pools, and what the baseline got wrong."""
    stage_id = request.stage.stage_id
    done = await services.rollouts.of_job(job.job_id, phase="bootstrap")
    done = [one for one in done if one.fused is not None]
    calls = await services.calls.of_scopes([one.result.rollout_id for one in done])
    last = {one: _last(calls.get(one, []), stage_id) for one in calls}
    spec = job.spec.offline.bootstrap
    least = spec.min_reward if spec.HasField("min_reward") else 0.8
    rows = []
    if len(job.stages) == 1:
        rows = await labelled_rows(job, [*job.pools.bootstrap, *job.pools.reference])
    wanted = {row.seed: row for row in rows}
    for row in rows:
        request.examples.add(input=example_text(row), output=row.output)
    for one in done:
        call = last.get(one.result.rollout_id)
        label = wanted.get(one.result.cell.seed)
        if call is None or call.trace is None:
            continue
        message = reply_message(call)
        said = message_text(message) if message is not None else output_text(one.result)
        came = example_text(label) if label is not None else bindings_text(call.trace.bindings)
        passed = one.fused is not None and one.fused >= least
        if passed and label is None:
            request.examples.add(input=came, output=said)
        elif not passed:
            expected = label.output if label is not None else reference_text(one.result)
            if expected:
                request.failures.add(input=came, expected=expected, actual=said)


async def _history(
    services: PhaseServices, job: JobContext, stage_id: str
) -> list[proposer_v1.ScoredInstruction]:
    """Returns what was tried for a stage, best first, pooled over its demo sets."""
    texts = {
        one.component_id: one.instruction.text
        for one in await services.space.components(job.job_id)
        if one.stage_id == stage_id and one.WhichOneof("content") == "instruction"
    }
    chosen = {
        one.candidate_id: one.stages[stage_id].instruction_id
        for one in await services.space.candidates(job.job_id)
        if stage_id in one.stages
    }
    pooled: dict[str, list[FinishedRollout]] = {}
    for phase in ("baseline", "search"):
        for rollout in await services.rollouts.of_job(job.job_id, phase=phase):
            instruction = chosen.get(rollout.result.cell.candidate_id)
            if instruction is not None:
                pooled.setdefault(instruction, []).append(rollout)
    found = [
        proposer_v1.ScoredInstruction(text=texts[one], reward=estimate(rollouts))
        for one, rollouts in pooled.items()
        if one in texts and estimate(rollouts) is not None
    ]
    return sorted(found, key=lambda one: (-one.reward.mean, one.text))[:HISTORY]


def _last(calls: Sequence[Call], stage_id: str) -> Call | None:
    for call in reversed(calls):
        if call.trace is not None and call.trace.stage_id in {stage_id, ""}:
            return call
    return None


def _wants_instructions(job: JobContext, stage_id: str) -> bool:
    declared = {stage.template.stage_id: stage.optimise_instruction for stage in job.spec.stages}
    return declared.get(stage_id, True)


async def _log_component(
    services: PhaseServices,
    job: JobContext,
    component: types_v1.Component,
    proposed: proposer_v1.ProposedInstruction,
    iteration: int,
) -> None:
    await services.events.append(
        job.job_id,
        f"component/{component.component_id}",
        job_v1.JobEvent(
            message=f"instruction {proposed.index} for stage {proposed.stage_id}"
            f" by {proposed.model}",
            component_added=job_v1.ComponentAdded(
                component=component,
                index=proposed.index,
                iteration=iteration,
                author=proposed.model,
                rationale=proposed.rationale,
            ),
        ),
    )


async def _log_refusal(
    services: PhaseServices, job: JobContext, key: str, refusal: proposer_v1.RefusedProposal
) -> None:
    reason = proposer_v1.ProposalRefusal.Name(refusal.reason).removeprefix("PROPOSAL_REFUSAL_")
    await services.events.append(
        job.job_id,
        f"refusal/{key}",
        job_v1.JobEvent(
            level=job_v1.EVENT_LEVEL_WARNING,
            message=f"a proposed instruction was refused: {refusal.message}",
            proposal_refused=job_v1.ProposalRefused(
                stage_id=refusal.stage_id, reason=reason, message=refusal.message
            ),
        ),
    )

"""What the proposer is shown: the program, its rows, what went wrong, and what was tried."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import (
    DEFAULT_MIN_REWARD,
    JobContext,
    baseline_instruction,
    placeholders,
)
from burnish_controller.demos import (
    bindings_text,
    example_text,
    message_text,
    reply_message,
)
from burnish_controller.ledger.calls import Call
from burnish_controller.outputs import output_text, reference_text, stage_reference
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.phases.bootstrap import labelled_rows
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import ask

HISTORY = 20


def summary_request(
    job: JobContext, proposal: proposer_v1.ProposeInstructionsRequest
) -> proposer_v1.SummarizeDatasetRequest | None:
    """Returns the request for a summary of a proposal's rows; None when it is not worth one.

    Its id is that of the stage alone, so later proposals replay what was paid for the first.
    """
    if proposal.context.effort == proposer_v1.EFFORT_LOW_CONTEXT or not proposal.examples:
        return None
    request = proposer_v1.SummarizeDatasetRequest(
        context=proposal.context, examples=proposal.examples
    )
    request.context.request_id = f"{job.job_id}/summary/{proposal.stage.stage_id}"
    return request


async def proposal_request(
    services: PhaseServices, job: JobContext, template: types_v1.PromptTemplate, *, key: str
) -> proposer_v1.ProposeInstructionsRequest:
    """Returns the request for one stage's instructions, with all that there is to show."""
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
    program = await ask(job.app.program)
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
    least = spec.min_reward if spec.HasField("min_reward") else DEFAULT_MIN_REWARD
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
        expected = label.output if label is not None else stage_reference(one.result, stage_id)
        if label is None and expected:
            # The rollout's reward is that of all its stages; this says how this one did.
            passed = said.strip() == expected
        if passed and label is None:
            request.examples.add(input=came, output=said)
        elif not passed:
            expected = expected or reference_text(one.result)
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

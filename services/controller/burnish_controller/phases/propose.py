"""Has the proposer write instructions, stage by stage, and adds them to the space."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, ResourceExhausted
from burnish_controller.context import JobContext, instruction_component
from burnish_controller.ledger.calls import Scope
from burnish_controller.peers import patiently
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.briefing import Round, proposal_request, summary_request
from burnish_controller.phases.judged import judged
from burnish_controller.phases.logs import log_component, positions
from burnish_controller.phases.reflecting import show_parents

PROPOSAL_SECONDS = 1800.0
NO_MONEY = "BUDGET_EXHAUSTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What came of one request.

    Attributes:
        asked: The round that it is part of.
        failure: What cut it short; None when it is whole.
    """

    request: proposer_v1.ProposeInstructionsRequest
    responses: Sequence[proposer_v1.ProposeInstructionsResponse]
    asked: Round
    failure: BurnishError | None

    @property
    def proposed(self) -> list[proposer_v1.ProposedInstruction]:
        """The new instructions."""
        return [one.instruction for one in self.responses if one.instruction.index > 0]

    @property
    def refusals(self) -> list[proposer_v1.RefusedProposal]:
        """What the guards refused."""
        return [one.refusal for one in self.responses if one.HasField("refusal")]


async def propose(
    services: PhaseServices, job: JobContext, asked: Round
) -> list[types_v1.Component]:
    """Asks for instructions for each stage and returns the components they became.

    Args:
        services: What the phases work with.
        job: The job.
        asked: Which round it is, and what it is to learn from.
    """
    found: list[types_v1.Component] = []
    written = job.written_stage_ids()
    for stage in job.stages:
        stage_id = stage.template.stage_id
        if job.cancelled or stage_id not in written:
            continue
        if asked.stage_ids and stage_id not in asked.stage_ids:
            continue
        request = await proposal_request(services, job, stage.template, asked)
        if request is not None:
            external = services.peers.external_proposers.get(job.spec.proposer.proposer)
            if external is None:
                request.proposer = job.spec.proposer.proposer
                request.dataset_summary = await _summary(services, job, request)
            await show_parents(services, job, request, asked)
            found += await _ask(services, job, request, asked, external)
    return found


async def _summary(
    services: PhaseServices, job: JobContext, proposal: proposer_v1.ProposeInstructionsRequest
) -> str:
    """Returns what the rows of a proposal are like; empty without rows, or without the money."""
    request = summary_request(job, proposal)
    if request is None:
        return ""

    async def ask() -> proposer_v1.SummarizeDatasetResponse:
        request.context.attempt += 1
        return await services.peers.proposer.SummarizeDataset(request, timeout=PROPOSAL_SECONDS)

    try:
        async with _paid(services, job, request.context):
            return (await patiently(ask)).summary
    except ResourceExhausted as error:
        if error.reason != NO_MONEY:
            raise
        await services.events.append(
            job.job_id,
            f"summary/{request.context.request_id}",
            job_v1.JobEvent(
                level=job_v1.EVENT_LEVEL_WARNING,
                message=f"the rows are not summarised: {error.message}",
            ),
        )
        return ""


async def _ask(
    services: PhaseServices,
    job: JobContext,
    request: proposer_v1.ProposeInstructionsRequest,
    asked: Round,
    external: proposer_v1.ProposerServiceStub | None,
) -> list[types_v1.Component]:
    """Asks for one stage's instructions; what came before a failure is kept, for it is paid."""
    attempts: list[list[proposer_v1.ProposeInstructionsResponse]] = []
    writer = external if external is not None else services.peers.proposer

    async def stream() -> None:
        request.context.attempt += 1
        attempts.append([])
        async for response in writer.ProposeInstructions(request, timeout=PROPOSAL_SECONDS):
            attempts[-1].append(response)

    failure: BurnishError | None = None
    try:
        async with _paid(services, job, request.context):
            await patiently(stream)
    except BurnishError as error:
        failure = error
    responses = attempts[-1] if failure is None else max(attempts, key=len, default=[])
    if external is not None:
        responses = await judged(services, job, request, responses)
    answer = _Answer(request=request, responses=responses, asked=asked, failure=failure)
    if failure is not None and not answer.proposed and failure.reason != NO_MONEY:
        raise failure
    found = await _take(services, job, answer)
    await _log_completed(services, job, answer)
    return found


@asynccontextmanager
async def _paid(
    services: PhaseServices, job: JobContext, context: proposer_v1.ProposalContext
) -> AsyncIterator[None]:
    """Lets the proposer's calls on a request begin, those of earlier attempts replayed."""
    scope_id = f"proposals/{context.request_id}"
    before = (await services.calls.of_scopes([scope_id])).get(scope_id, [])
    context.attempt = max((call.attempt for call in before), default=0)
    scope = Scope(scope_id=scope_id, job_id=job.job_id, closing=False)
    await services.ledger.open_scope(scope, before=bool(before))
    try:
        yield
    finally:
        services.ledger.close_scope(scope_id)


async def _take(
    services: PhaseServices, job: JobContext, answer: _Answer
) -> list[types_v1.Component]:
    found = [
        instruction_component(one.stage_id, one.text, source=types_v1.COMPONENT_SOURCE_PROPOSED)
        for one in answer.proposed
    ]
    origins = await _origins(services, job, answer)
    for component in found:
        component.parent_component_ids.extend(origins)
    await services.space.add_components(job.job_id, found)
    places = await positions(services, job)
    for component, one in zip(found, answer.proposed, strict=True):
        added = job_v1.ComponentAdded(
            component=component,
            index=places[component.component_id],
            iteration=answer.asked.iteration,
            author=one.model,
            rationale=one.rationale,
            proposal_id=answer.request.context.request_id,
        )
        message = f"instruction {added.index} for stage {one.stage_id} by {one.model}"
        await log_component(services, job, message=message, added=added)
    for number, refusal in enumerate(answer.refusals):
        await _log_refusal(services, job, f"{answer.request.context.request_id}/{number}", refusal)
    return found


async def _origins(services: PhaseServices, job: JobContext, answer: _Answer) -> list[str]:
    """Returns the ids of the instructions that new ones were derived from."""
    mode, stage_id = answer.request.WhichOneof("mode"), answer.request.stage.stage_id
    if mode is None:
        return []
    ids = []
    for parent in answer.asked.parents[: 2 if mode == "merge" else 1]:
        known = await services.space.candidate(job.job_id, parent)
        if known is not None:
            ids.append(known.stages[stage_id].instruction_id)
    return ids


async def _log_completed(services: PhaseServices, job: JobContext, answer: _Answer) -> None:
    stage_id = answer.request.stage.stage_id
    authors = [one.model for one in answer.proposed]
    described = [one.summary.description for one in answer.responses if one.HasField("summary")]
    completed = job_v1.ProposalCompleted(
        stage_id=stage_id,
        description=(described or authors or [""])[-1],
        accepted_count=len(answer.proposed),
        refused_count=len(answer.refusals),
        iteration=answer.asked.iteration,
    )
    event = job_v1.JobEvent(proposal_completed=completed)
    event.message = f"{completed.accepted_count} instructions for stage {stage_id}"
    if completed.description:
        event.message += f" by {completed.description}"
    if answer.failure is not None:
        event.level = job_v1.EVENT_LEVEL_WARNING
        event.message += f"; cut short ({answer.failure.reason}): {answer.failure.message}"
    await services.events.append(job.job_id, f"proposal/{answer.request.context.request_id}", event)


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

"""What the proposer is shown: the program, its rows, what went wrong, and what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext, baseline_instruction, placeholders
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.phases.evidence import show_latest, show_rows
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import ask

HISTORY = 100
AVOIDED = 20
MOST_PER_ROUND = 64
_LEAST_FACTOR, _MOST_FACTOR = 0.01, 2.0


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
    # The same at every round, or what was paid for the first could not be replayed.
    request.context.ClearField("temperature_factor")
    request.context.request_id = f"{job.job_id}/summary/{proposal.stage.stage_id}"
    return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of proposals.

    Attributes:
        key: Names it; deterministic, so that a repeat replays what was paid.
        iteration: Iteration of the search that asks.
        number: How many rounds there were before.
        stage_ids: Stages to write for; empty means every optimised stage.
        count: Instructions per stage; 0 takes the job's own number.
        parents: Ids of the candidates to learn from, best first.
        mode: How the instructions come about.
        evidence_seeds: Rows of the online pool to learn from; empty leaves them to who answers.
    """

    key: str
    iteration: int = 0
    number: int = 0
    stage_ids: Sequence[str] = ()
    count: int = 0
    parents: Sequence[str] = ()
    mode: search_v1.ProposalMode.ValueType = search_v1.PROPOSAL_MODE_UNSPECIFIED
    evidence_seeds: Sequence[int] = ()


async def proposal_request(
    services: PhaseServices,
    job: JobContext,
    template: types_v1.PromptTemplate,
    asked: Round,
) -> proposer_v1.ProposeInstructionsRequest | None:
    """Returns the request for one stage's instructions, with all that there is to show.

    None when the stage has as many instructions as the job allows.
    """
    spec = job.spec.proposer
    declared = {stage.template.stage_id: stage for stage in job.spec.stages}
    stage_id = template.stage_id
    stage = declared.get(stage_id, job_v1.StageSpec())
    bank = await _bank(services, job, stage_id)
    count = _count(spec, asked, bank)
    if count == 0:
        return None
    request = proposer_v1.ProposeInstructionsRequest(
        context=_context(job, asked, stage_id),
        stage=proposer_v1.StageBrief(
            stage_id=stage_id,
            role=stage.role,
            template=template,
            baseline_instruction=baseline_instruction(template),
            placeholders=placeholders(template),
            module_description=stage.module_description,
            protected_texts=stage.protected_texts,
        ),
        count=count,
        retry_limit=spec.retry_limit,
        # A later round that finds the same evidence is still to write something else.
        random_seed=job.spec.random_seed + asked.number,
        guidance=spec.guidance,
        specification=spec.specification,
        meta_prompt=spec.meta_prompt,
    )
    if spec.meta_update.HasField("duplicate_overlap"):
        request.duplicate_overlap = spec.meta_update.duplicate_overlap
    program = await ask(job.app.program)
    if program is not None:
        request.program_description = program.code or program.description
    await show_rows(services, job, request)
    if asked.number and spec.HasField("meta_update"):
        await show_latest(services, job, request, asked.parents)
    request.history.extend(await _history(services, job, stage_id, bank))
    avoided = [bank.known[one] for one in reversed(bank.retired) if one in bank.known]
    request.avoid.extend(avoided[:AVOIDED])
    return request


def _context(job: JobContext, asked: Round, stage_id: str) -> proposer_v1.ProposalContext:
    spec = job.spec.proposer
    context = proposer_v1.ProposalContext(
        job=job.job.name,
        request_id=f"{job.job_id}/{asked.key}/{stage_id}",
        effort=spec.effort,
        output_tier=spec.output_tier,
        max_instruction_tokens=spec.max_instruction_tokens,
    )
    if spec.HasField("temperature"):
        context.temperature = spec.temperature
    if asked.number and spec.meta_update.HasField("temperature_decay"):
        factor = float(spec.meta_update.temperature_decay) ** asked.number
        context.temperature_factor = min(max(factor, _LEAST_FACTOR), _MOST_FACTOR)
    if spec.HasField("meta_model"):
        context.meta_model.CopyFrom(spec.meta_model)
    elif job.spec.policy_model.provider == "local":
        context.meta_model.provider = "local"
        context.meta_model.model = "local-proposer"
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bank:
    """The instructions of a stage that earlier rounds settled, by the study's ledger.

    What the round itself has written is not among them: a round that runs again after a crash has
    to ask for the same again, or what was paid for could not be replayed.
    """

    known: Mapping[str, str]
    proposed: frozenset[str]
    retired: Sequence[str]


async def _bank(services: PhaseServices, job: JobContext, stage_id: str) -> _Bank:
    joined: set[str] = set()
    retired: list[str] = []
    for entry in await services.log.entries(job.job_id):
        joined |= {one.component_id for one in entry.components_added.components}
        retired += entry.components_retired.component_ids
    known, proposed = {}, set()
    for one in await services.space.components(job.job_id):
        if one.stage_id != stage_id or one.WhichOneof("content") != "instruction":
            continue
        if one.source == types_v1.COMPONENT_SOURCE_PROPOSED:
            if one.component_id not in joined:
                continue
            proposed.add(one.component_id)
        known[one.component_id] = one.instruction.text
    return _Bank(known=known, proposed=frozenset(proposed), retired=retired)


def _count(spec: job_v1.ProposerSpec, asked: Round, bank: _Bank) -> int:
    """Returns how many instructions a stage still gets in a round."""
    if not spec.instruction_count:
        return 0
    count = min(asked.count or spec.instruction_count, MOST_PER_ROUND)
    if spec.max_instruction_count:
        count = min(count, spec.max_instruction_count - len(bank.proposed))
    return max(count, 0)


async def _history(
    services: PhaseServices, job: JobContext, stage_id: str, bank: _Bank
) -> list[proposer_v1.ScoredInstruction]:
    """Returns what was tried for a stage, best first, pooled over its demo sets; then the rest."""
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
        proposer_v1.ScoredInstruction(text=text, reward=estimate(pooled.get(one, [])))
        for one, text in bank.known.items()
    ]
    found.sort(key=lambda one: (not one.HasField("reward"), -one.reward.mean, one.text))
    return found[:HISTORY]

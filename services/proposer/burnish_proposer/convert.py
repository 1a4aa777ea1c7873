"""Between the API's messages and the engine's values: the only module that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, InvalidArgument
from burnish.resources import JobName
from burnish_proposer.brief import (
    Brief,
    Effort,
    Example,
    FailedExample,
    OutputTier,
    Pattern,
    Tried,
)
from burnish_proposer.grounded import CallSettings, Proposed, Refused
from burnish_proposer.guards import RefusalReason
from burnish_proposer.summary import SummaryLimits
from burnish_proposer.tiers import (
    CONTEXT_PLANS,
    ModelChoice,
    model_problems,
    output_limit,
    tier_problems,
)
from burnish_runtime.llm.accounts import Account

_MAX_COUNT = 64
_MAX_RETRIES = 20
_MAX_REQUEST_ID = 512
_BATCH_ROWS = 25

BUILT_IN = "grounded"
_BUILT_IN_DESCRIBED = "Has a meta-model write out of all the evidence that a job has gathered."

# An LLM that is asked several times has to answer differently; a local model does so by variant.
_TEMPERATURE = 1.0

_EFFORTS: Mapping[int, Effort] = {
    proposer_v1.EFFORT_UNSPECIFIED: Effort.LOW,
    proposer_v1.EFFORT_LOW_CONTEXT: Effort.LOW_CONTEXT,
    proposer_v1.EFFORT_LOW: Effort.LOW,
    proposer_v1.EFFORT_MEDIUM: Effort.MEDIUM,
    proposer_v1.EFFORT_HIGH: Effort.HIGH,
}
_TIERS: Mapping[int, OutputTier] = {
    proposer_v1.OUTPUT_TIER_UNSPECIFIED: OutputTier.FAST,
    proposer_v1.OUTPUT_TIER_RAPID: OutputTier.RAPID,
    proposer_v1.OUTPUT_TIER_FAST: OutputTier.FAST,
    proposer_v1.OUTPUT_TIER_SLOW: OutputTier.SLOW,
}
_REFUSALS: Mapping[RefusalReason, proposer_v1.ProposalRefusal.ValueType] = {
    RefusalReason.PLACEHOLDER: proposer_v1.PROPOSAL_REFUSAL_PLACEHOLDER,
    RefusalReason.TOO_LONG: proposer_v1.PROPOSAL_REFUSAL_TOO_LONG,
    RefusalReason.DUPLICATE: proposer_v1.PROPOSAL_REFUSAL_DUPLICATE,
    RefusalReason.COPIES_ROW: proposer_v1.PROPOSAL_REFUSAL_COPIES_ROW,
    RefusalReason.UNPARSABLE: proposer_v1.PROPOSAL_REFUSAL_UNPARSABLE,
    RefusalReason.EMPTY: proposer_v1.PROPOSAL_REFUSAL_EMPTY,
}


class ProposalInvalid(InvalidArgument):
    """A request for proposals that can never be served. Do not retry."""

    default_reason = "PROPOSAL_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Who pays for a request, and what writes.

    Attributes:
        account: Who pays.
        effort: How much context to spend.
        spec: The model.
        settings: How it is called.
    """

    account: Account
    effort: Effort
    spec: types_v1.ModelSpec
    settings: CallSettings


def proposal(
    request: proposer_v1.ProposeInstructionsRequest, *, models: Mapping[Effort, ModelChoice]
) -> tuple[Payment, Brief]:
    """Reads a request for instructions.

    Raises:
        ProposalInvalid: With every problem of it. Never valid; do not retry.
    """
    problems, payment = _payment(request.context, models)
    if not request.stage.stage_id:
        problems.append("`stage.stage_id` is empty; name the stage")
    if not 1 <= request.count <= _MAX_COUNT:
        problems.append(f"`count` is {request.count}; give one in [1, {_MAX_COUNT}]")
    if not 0 <= request.retry_limit <= _MAX_RETRIES:
        problems.append(f"`retry_limit` is {request.retry_limit}; give one in [0, {_MAX_RETRIES}]")
    _raise(problems)
    return payment, _brief(request, payment.effort)


def summary_payment(
    request: proposer_v1.SummarizeDatasetRequest, *, models: Mapping[Effort, ModelChoice]
) -> Payment:
    """Reads who pays for a summary.

    Raises:
        ProposalInvalid: With every problem of it. Never valid; do not retry.
    """
    problems, payment = _payment(request.context, models)
    _raise(problems)
    return payment


def summary_limits(payment: Payment) -> SummaryLimits:
    """Returns how much a summary may look at."""
    plan = CONTEXT_PLANS[payment.effort]
    if payment.spec.provider == "local":
        # Only an LLM can build on its earlier summary; a local model looks at everything at once.
        return SummaryLimits(calls=1, batch_rows=plan.rows, max_tokens=plan.prompt_tokens)
    return SummaryLimits(
        calls=plan.summary_calls, batch_rows=_BATCH_ROWS, max_tokens=plan.prompt_tokens
    )


def examples(rows: list[proposer_v1.ExamplePair]) -> tuple[Example, ...]:
    """Reads labelled rows."""
    return tuple(Example(input=row.input, output=row.output) for row in rows)


def outcome(
    event: Proposed | Refused, *, stage_id: str, model: str
) -> proposer_v1.ProposeInstructionsResponse:
    """Writes the outcome of one position."""
    if isinstance(event, Refused):
        return proposer_v1.ProposeInstructionsResponse(
            refusal=proposer_v1.RefusedProposal(
                index=event.index,
                stage_id=stage_id,
                reason=_REFUSALS[event.refusal.reason],
                message=event.refusal.message,
            )
        )
    return proposer_v1.ProposeInstructionsResponse(
        instruction=proposer_v1.ProposedInstruction(
            index=event.index,
            stage_id=stage_id,
            text=event.text,
            rationale=event.rationale,
            tip=event.tip,
            model=model if event.index > 0 else "",
        )
    )


def description(payment: Payment, brief: Brief, *, rows: int, failures: int) -> str:
    """Says what wrote, and what it was shown."""
    model = payment.spec.model
    total = len(brief.examples)
    count = _counted(rows, "row") if rows == total else f"{rows} of {_counted(total, 'row')}"
    verb = "mined from" if payment.spec.provider == "local" else "shown"
    failed = f" and {_counted(failures, 'failure')}" if failures else ""
    return f"{model}, {verb} {count}{failed}"


def proposers(plugins: Mapping[str, str]) -> proposer_v1.ListProposersResponse:
    """Writes who may write: the built-in proposer, then the plug-ins with their descriptions."""
    return proposer_v1.ListProposersResponse(
        proposers=[
            proposer_v1.Proposer(name=name, description=described)
            for name, described in ((BUILT_IN, _BUILT_IN_DESCRIBED), *sorted(plugins.items()))
        ]
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _payment(
    context: proposer_v1.ProposalContext, models: Mapping[Effort, ModelChoice]
) -> tuple[list[str], Payment]:
    problems: list[str] = []
    try:
        JobName.parse(context.job)
    except BurnishError as error:
        problems.append(f"`context.job`: {error.message}")
    if not 1 <= len(context.request_id) <= _MAX_REQUEST_ID:
        problems.append(f"`context.request_id` has to have 1 to {_MAX_REQUEST_ID} characters")
    if context.attempt < 0:
        problems.append(f"`context.attempt` is {context.attempt}; count from 1")
    effort = _EFFORTS.get(context.effort)
    tier = _TIERS.get(context.output_tier)
    if effort is None:
        problems.append(f"`context.effort` {context.effort} is unknown; see `Effort`")
    if tier is None:
        problems.append(f"`context.output_tier` {context.output_tier} is unknown; see `OutputTier`")
    effort, tier = effort or Effort.LOW, tier or OutputTier.FAST
    problems += tier_problems(effort, tier)
    if context.meta_model.provider and not context.meta_model.model:
        problems.append("`meta_model` names a provider and no model; name both, or neither")
    spec = _spec(context, models[effort])
    problems += model_problems(ModelChoice(provider=spec.provider, model=spec.model))
    limit = output_limit(tier, spec.model)
    if spec.max_output_tokens < 0:
        problems.append(
            f"`meta_model.max_output_tokens` is {spec.max_output_tokens}; give 0 or more"
        )
    elif spec.max_output_tokens > 0:
        limit = min(limit, spec.max_output_tokens)
    return problems, Payment(
        account=Account(
            job=context.job,
            scope=f"proposals/{context.request_id}",
            attempt=max(context.attempt, 1),
            role=ledger_v1.CALL_ROLE_PROPOSER,
        ),
        effort=effort,
        spec=spec,
        settings=CallSettings(
            model=spec.model, max_output_tokens=limit, temperature=_temperature(spec)
        ),
    )


def _spec(context: proposer_v1.ProposalContext, default: ModelChoice) -> types_v1.ModelSpec:
    spec = types_v1.ModelSpec()
    spec.CopyFrom(context.meta_model)
    if not spec.model:
        spec.provider, spec.model = default.provider, default.model
    return spec


def _temperature(spec: types_v1.ModelSpec) -> float | None:
    if spec.HasField("temperature"):
        return spec.temperature
    return None if spec.provider == "local" else _TEMPERATURE


def _brief(request: proposer_v1.ProposeInstructionsRequest, effort: Effort) -> Brief:
    stage = request.stage
    return Brief(
        stage_id=stage.stage_id,
        role=stage.role,
        patterns=tuple(
            Pattern(role=message.role, text=message.pattern) for message in stage.template.messages
        ),
        baseline=stage.baseline_instruction,
        placeholders=tuple(stage.placeholders),
        count=request.count,
        retry_limit=request.retry_limit,
        random_seed=request.random_seed,
        effort=effort,
        output_tier=_TIERS[request.context.output_tier],
        dataset_summary=request.dataset_summary,
        program=request.program_description,
        examples=examples(list(request.examples)),
        failures=tuple(
            FailedExample(input=row.input, expected=row.expected, actual=row.actual)
            for row in request.failures
        ),
        history=tuple(
            Tried(text=tried.text, reward=tried.reward.mean, row_count=tried.reward.row_count)
            for tried in request.history
        ),
        guidance=request.guidance,
        specification=request.specification,
    )


def _raise(problems: list[str]) -> None:
    if problems:
        raise ProposalInvalid("; ".join(problems), metadata={"problem_count": str(len(problems))})

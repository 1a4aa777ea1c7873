"""Between the API's messages and the engine's values: the only module that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, InvalidArgument
from burnish.resources import JobName
from burnish_proposer.batch import Batch, Proposed, Refused
from burnish_proposer.brief import Brief, Effort, Example, OutputTier
from burnish_proposer.convert_brief import brief, brief_problems
from burnish_proposer.grounded import NAME as BUILT_IN
from burnish_proposer.guards import RefusalReason
from burnish_proposer.summary import SummaryLimits
from burnish_proposer.tiers import (
    CONTEXT_PLANS,
    ModelChoice,
    model_problems,
    output_limit,
    tier_problems,
)
from burnish_proposer.writers import CallSettings, Writer
from burnish_runtime.llm.accounts import Account

_MAX_REQUEST_ID = 512
_BATCH_ROWS = 25

# An LLM that is asked several times has to answer differently; a local model does so by variant.
_TEMPERATURE = 1.0
_MOST_TEMPERATURE = 2.0

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
    RefusalReason.PROTECTED_TEXT: proposer_v1.PROPOSAL_REFUSAL_PROTECTED_TEXT,
    RefusalReason.LEAKS_TEXT: proposer_v1.PROPOSAL_REFUSAL_LEAKS_TEXT,
    RefusalReason.INJECTION: proposer_v1.PROPOSAL_REFUSAL_INJECTION,
}


class ProposalInvalid(InvalidArgument):
    """A request for proposals that can never be served. Do not retry."""

    default_reason = "PROPOSAL_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Who wrote a batch, and from what."""

    proposer: str
    brief: Brief


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
    problems += brief_problems(request)
    _raise(problems)
    tier = _TIERS[request.context.output_tier]
    return payment, brief(request, effort=payment.effort, output_tier=tier)


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


def summary(
    proposed: Batch, written: Written, *, payment: Payment, usage: types_v1.Usage
) -> proposer_v1.ProposeInstructionsResponse:
    """Writes the end of a proposal: what was spent, who wrote, and what it was shown."""
    shown = proposed.shown
    return proposer_v1.ProposeInstructionsResponse(
        summary=proposer_v1.ProposalSummary(
            usage=usage,
            description=_description(proposed, written, payment),
            shown=proposer_v1.ShownEvidence(
                row_count=shown.get("examples", 0),
                failure_count=shown.get("failures", 0),
                demo_count=shown.get("demos", 0),
                history_count=shown.get("history", 0),
                reference_count=shown.get("references", 0),
                prompt_token_count=proposed.prompt_tokens,
            ),
        )
    )


def nothing_spent() -> types_v1.Usage:
    """Returns the bill of a request that called no model."""
    return types_v1.Usage(cost_usd=0.0)


def proposers(writers: Mapping[str, Writer]) -> proposer_v1.ListProposersResponse:
    """Writes who may write."""
    return proposer_v1.ListProposersResponse(
        proposers=[
            proposer_v1.Proposer(name=name, description=writer.description)
            for name, writer in writers.items()
        ]
    )


def _description(proposed: Batch, written: Written, payment: Payment) -> str:
    model, shown = payment.spec.model, proposed.shown
    if not proposed.prompt_tokens:
        return f"`{written.proposer}`, without a meta-model"
    name = model if written.proposer == BUILT_IN else f"`{written.proposer}` with {model}"
    rows, total = shown.get("examples", 0), len(written.brief.examples)
    counted = _counted(rows, "row") if rows == total else f"{rows} of {_counted(total, 'row')}"
    others = [
        _counted(shown[kind], noun)
        for kind, noun in (
            ("failures", "failure"),
            ("demos", "demo"),
            ("references", "reference text"),
            ("parents", "parent"),
        )
        if shown.get(kind)
    ]
    verb = "mined from" if payment.spec.provider == "local" else "shown"
    listed = [counted, *others]
    text = ", ".join(listed[:-1]) + f" and {listed[-1]}" if others else counted
    return f"{name}, {verb} {text}"


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
    problems += _sampling_problems(context)
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
            model=spec.model, max_output_tokens=limit, temperature=_temperature(context, spec)
        ),
    )


def _sampling_problems(context: proposer_v1.ProposalContext) -> list[str]:
    problems = []
    if context.HasField("temperature") and not 0 <= context.temperature <= _MOST_TEMPERATURE:
        problems.append(f"`context.temperature` is {context.temperature}; give one in [0, 2]")
    factor = context.temperature_factor
    if context.HasField("temperature_factor") and not 0 < factor <= _MOST_TEMPERATURE:
        problems.append(f"`context.temperature_factor` is {factor}; give one in (0, 2]")
    if context.max_instruction_tokens < 0:
        problems.append(
            f"`context.max_instruction_tokens` is {context.max_instruction_tokens}; give 0 or more"
        )
    return problems


def _spec(context: proposer_v1.ProposalContext, default: ModelChoice) -> types_v1.ModelSpec:
    spec = types_v1.ModelSpec()
    spec.CopyFrom(context.meta_model)
    if not spec.model:
        spec.provider, spec.model = default.provider, default.model
    return spec


def _temperature(context: proposer_v1.ProposalContext, spec: types_v1.ModelSpec) -> float | None:
    if spec.HasField("temperature"):
        base = spec.temperature
    elif context.HasField("temperature"):
        base = context.temperature
    elif spec.provider == "local":
        return None
    else:
        base = _TEMPERATURE
    factor = context.temperature_factor if context.HasField("temperature_factor") else 1.0
    return round(min(base * factor, _MOST_TEMPERATURE), 6)


def _raise(problems: list[str]) -> None:
    if problems:
        raise ProposalInvalid("; ".join(problems), metadata={"problem_count": str(len(problems))})

"""What an effort and an output tier stand for, and which models may write proposals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from burnish.errors import InvalidArgument
from burnish.models import (
    EFFORT_MODELS,
    OUTPUT_TIER_TOKENS,
    PROVIDERS,
    ModelRole,
    bare_model,
    check_model,
)
from burnish_proposer.brief import Effort, OutputTier

_VARIABLE = "BURNISH_PROPOSER_MODELS"

# Models that answer 400 when asked for more than they can write.
_MOST_OUTPUT: Mapping[str, int] = {"gpt-4o": 16_384, "gpt-4o-mini": 16_384}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPlan:
    """How much of a brief one proposal is shown.

    Attributes:
        rows: Most labelled rows.
        failures: Most failed rows.
        demos: Most rows that went well.
        history: Most earlier instructions.
        avoid: Most instructions to stay away from.
        reference_tokens: Most tokens of the reference corpus.
        specification_tokens: Most tokens of the system specification.
        program_tokens: Most tokens of the program.
        summary: Whether the summary of the data set is shown.
        prompt_tokens: Most tokens of the whole meta-prompt, as estimated.
        summary_calls: Most calls that a summary of the data set may take.
    """

    rows: int
    failures: int
    demos: int
    history: int
    avoid: int
    reference_tokens: int
    specification_tokens: int
    program_tokens: int
    summary: bool
    prompt_tokens: int
    summary_calls: int


CONTEXT_PLANS: Mapping[Effort, ContextPlan] = {
    Effort.LOW_CONTEXT: ContextPlan(
        rows=100,
        failures=0,
        demos=0,
        history=0,
        avoid=3,
        reference_tokens=0,
        specification_tokens=2_000,
        program_tokens=0,
        summary=False,
        prompt_tokens=24_000,
        summary_calls=1,
    ),
    Effort.LOW: ContextPlan(
        rows=300,
        failures=20,
        demos=5,
        history=5,
        avoid=5,
        reference_tokens=5_000,
        specification_tokens=5_000,
        program_tokens=0,
        summary=True,
        prompt_tokens=48_000,
        summary_calls=4,
    ),
    # A model with a window of 128,000 tokens still has room for its answer.
    Effort.MEDIUM: ContextPlan(
        rows=1_000,
        failures=60,
        demos=20,
        history=10,
        avoid=10,
        reference_tokens=20_000,
        specification_tokens=10_000,
        program_tokens=8_000,
        summary=True,
        prompt_tokens=96_000,
        summary_calls=6,
    ),
    Effort.HIGH: ContextPlan(
        rows=3_000,
        failures=200,
        demos=60,
        history=30,
        avoid=20,
        reference_tokens=50_000,
        specification_tokens=20_000,
        program_tokens=20_000,
        summary=True,
        prompt_tokens=200_000,
        summary_calls=10,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A provider and its model."""

    provider: str
    model: str


def default_models(overrides: str = "") -> dict[Effort, ModelChoice]:
    """Returns the model of each effort.

    Args:
        overrides: `EFFORT=provider:model` pairs parted by commas, such as
            `LOW=google:gemini-2.5-flash`; replaces single entries of the table.

    Raises:
        InvalidArgument: With every problem of the overrides. Never valid; do not retry.
    """
    models = {
        Effort(effort): ModelChoice(provider=provider, model=model)
        for effort, (provider, model) in EFFORT_MODELS.items()
    }
    problems: list[str] = []
    for entry in filter(None, (part.strip() for part in overrides.split(","))):
        effort, _, choice = entry.partition("=")
        provider, _, model = choice.strip().partition(":")
        name = effort.strip().upper()
        if name not in Effort.__members__ or not provider or not model:
            efforts = ", ".join(Effort)
            problems.append(
                f"`{entry}` is not `EFFORT=provider:model`, with an effort of {efforts}"
            )
            continue
        chosen = ModelChoice(provider=provider, model=model)
        problems.extend(model_problems(chosen))
        models[Effort(name)] = chosen
    if problems:
        raise InvalidArgument(
            f"`{_VARIABLE}`: " + "; ".join(problems),
            reason="PROPOSER_MODELS_INVALID",
            metadata={"variable": _VARIABLE},
        )
    return models


def model_problems(choice: ModelChoice) -> list[str]:
    """Returns why a model may not write proposals, each with its fix; empty when it may."""
    # A provider that a plug-in registers is unknown to the table; only the walls hold for it.
    provider = choice.provider if choice.provider in PROVIDERS else "openai_compatible"
    return [
        f"model `{choice.model}` of provider `{choice.provider}`: {finding.message}; {finding.fix}"
        for finding in check_model(provider=provider, model=choice.model, role=ModelRole.PROPOSER)
        if finding.refused
    ]


def tier_problems(effort: Effort, tier: OutputTier) -> list[str]:
    """Returns why an output tier does not go with an effort; empty when it does."""
    if tier is OutputTier.RAPID and effort is not Effort.LOW_CONTEXT:
        return [
            f"output tier RAPID goes only with effort LOW_CONTEXT, not with {effort.value}, "
            "because 3,000 tokens cannot hold what more context is for; "
            "use FAST, or effort LOW_CONTEXT"
        ]
    return []


def instruction_tokens(tier: OutputTier) -> int:
    """Returns the most tokens of one instruction."""
    return OUTPUT_TIER_TOKENS[tier.value]


def output_limit(tier: OutputTier, model: str) -> int:
    """Returns the output limit of a call: the tier's, or what the model can write at most."""
    return min(OUTPUT_TIER_TOKENS[tier.value], _MOST_OUTPUT.get(bare_model(model), 2**31 - 1))

"""The tables inside `[prompt_learning.mipro]`: stages, modules and the free-form blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field

from burnish.config.base import (
    ConfigModel,
    Fraction,
    NonNegFloat,
    NonNegInt,
    Number,
    PosFloat,
    PosInt,
)
from burnish.config.enums import ProviderName, WildcardMode
from burnish.config.policy import MessagePatternConfig, PromptLearningPolicyConfig
from burnish.config.seeds import Seeds


class MIPROSeedConfig(ConfigModel):
    """Seed pools as one table, the grouped form of the pools of `MIPROConfig`."""

    bootstrap: Seeds | None = None
    online: Seeds | None = None
    validation: Seeds | None = Field(
        default=None, validation_alias=AliasChoices("validation", "val")
    )
    test: Seeds | None = None
    reference: Seeds | None = None


class MIPROMetaConfig(ConfigModel):
    """The deprecated meta-model table; it sets the proposer's model."""

    model: str | None = None
    provider: ProviderName | None = None
    inference_url: str | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    max_tokens: PosInt | None = None


class ProposerTable(ConfigModel):
    """Who writes proposals, where the effort tier is not to choose.

    Attributes:
        mode: What is proposed; `instruction_only` online.
        model: Overrides the tier's model.
        provider: Its provider.
        upstream_base_url: Where a self-hosted model is served.
        temperature: Sampling temperature in [0, 2].
        max_tokens: Overrides the output tier's cap.
        generate_at_iterations: Iterations that ask for proposals.
        instructions_per_batch: Proposals per round.
        plugin: Who writes: an installed plug-in, or a proposer that the operator named.
    """

    mode: str | None = None
    model: str | None = None
    provider: ProviderName | None = None
    upstream_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("upstream_base_url", "inference_url")
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    max_tokens: PosInt | None = None
    generate_at_iterations: list[NonNegInt] | None = None
    instructions_per_batch: PosInt | None = None
    plugin: Annotated[str, Field(min_length=1)] | None = None


class TPEConfig(ConfigModel):
    """Settings of the tree-structured Parzen estimator.

    Attributes:
        gamma: Share of trials that counts as good, in (0, 1).
        n_candidates: Draws per suggestion.
        n_startup_trials: Random trials before the first draw.
        epsilon: Chance of a uniform draw.
        alpha: Smoothing of categories.
        prior_weight: Weight of the uniform prior.
    """

    gamma: Annotated[Number, Field(gt=0, lt=1)] = 0.25
    n_candidates: PosInt = 24
    n_startup_trials: NonNegInt = 10
    epsilon: Fraction = 0.25
    alpha: NonNegFloat = Field(
        default=1.0, validation_alias=AliasChoices("alpha", "categorical_alpha")
    )
    prior_weight: PosFloat = 1.0


class DemoConfig(ConfigModel):
    """How demo sets are built.

    Attributes:
        max_few_shot_examples: Demos in the largest set.
        sets_per_size: Demo sets per size.
        include_empty: Whether zero-shot is always offered.
    """

    max_few_shot_examples: NonNegInt | None = None
    sets_per_size: PosInt | None = None
    include_empty: bool = True


class GroundingConfig(ConfigModel):
    """How one call for proposals looks.

    Attributes:
        n: Proposals per call.
        temperature: Sampling temperature in [0, 2].
        max_tokens: Most tokens per proposal.
    """

    n: PosInt | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    max_tokens: PosInt | None = None


class MetaUpdateConfig(ConfigModel):
    """When instructions are proposed anew, and which are kept.

    Attributes:
        enabled: Whether that happens at all.
        every_iterations: Iterations between two rounds.
        topk_success: Successes of the best candidates shown to the proposer.
        topk_failure: Failures of the best candidates shown to the proposer.
        validate_on_batch: Online seeds of a proposal's quick screen; absent: no screen.
        keep_k: Most instructions that the search goes on with, the baseline included.
        dedup_token_overlap: Share of common words in (0, 1] that makes a duplicate, in every round;
            absent: 0.97, with fewer than eight words apart.
        regen_temperature_decay: Factor on the temperature per round.
    """

    enabled: bool = True
    every_iterations: PosInt = 3
    topk_success: NonNegInt = 3
    topk_failure: NonNegInt = 3
    validate_on_batch: PosInt | None = None
    keep_k: PosInt | None = None
    dedup_token_overlap: Annotated[Number, Field(gt=0, le=1)] | None = None
    regen_temperature_decay: Annotated[Number, Field(gt=0, le=2)] = 0.95


def _edge(value: object) -> object:
    if isinstance(value, dict):
        pair = [value.get("from", value.get("source")), value.get("to", value.get("target"))]
        return pair if len(value) == 2 else value
    return value


Edge = Annotated[tuple[str, str], BeforeValidator(_edge)]


class MIPROStageConfig(ConfigModel):
    """One LLM call site of the program.

    Attributes:
        stage_id: Unique over all modules.
        module_id: Module of a stage in the flat form.
        baseline_instruction: The starting instruction.
        baseline_messages: What the app is expected to send.
        wildcards: Placeholder to `REQUIRED` or `OPTIONAL`.
        max_instruction_slots: Instructions per prompt.
        max_demo_slots: Demos per prompt; 0 searches no demos.
        optimize_instructions: Absent: as the job says.
        optimize_demos: Absent: as the job says.
        policy: The stage's model; absent: the job's.
        description: What the stage does, in prose.
        protected: Parts of the instruction that no proposal may change, each word for word.
    """

    stage_id: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=AliasChoices("stage_id", "module_stage_id", "id"),
    )
    module_id: str | None = Field(default=None, min_length=1)
    baseline_instruction: str | None = None
    baseline_messages: list[MessagePatternConfig] = Field(default_factory=list)
    wildcards: dict[str, WildcardMode] = Field(default_factory=dict)
    max_instruction_slots: PosInt | None = None
    max_demo_slots: NonNegInt | None = None
    optimize_instructions: bool | None = None
    optimize_demos: bool | None = None
    policy: PromptLearningPolicyConfig | None = None
    description: str | None = None
    protected: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)


class MIPROModuleConfig(ConfigModel):
    """A part of the program with one or more stages.

    Attributes:
        module_id: Unique.
        stages: Empty: the module is one stage of the same name.
        edges: Pairs of stage ids of this module.
        baseline_instruction: For stages without their own.
        max_instruction_slots: For stages without their own.
        max_demo_slots: For stages without their own.
        policy: For stages without their own.
        description: What the module does, in prose.
    """

    module_id: str | None = Field(
        default=None, min_length=1, validation_alias=AliasChoices("module_id", "id")
    )
    stages: list[MIPROStageConfig] = Field(default_factory=list)
    edges: list[Edge] = Field(default_factory=list)
    baseline_instruction: str | None = None
    max_instruction_slots: PosInt | None = None
    max_demo_slots: NonNegInt | None = None
    policy: PromptLearningPolicyConfig | None = None
    description: str | None = None


def stage_ids(modules: Sequence[MIPROModuleConfig]) -> list[list[str]]:
    """Returns the ids of every module's stages, the absent ones named.

    A module without stages is one stage of its own name. An unnamed stage is `stage_{i}`, with the
    module's name before it where several modules have stages.
    """
    alone = sum(1 for module in modules if module.stages) < 2
    ids = []
    for index, module in enumerate(modules):
        name = module_name(module, index)
        head = "" if alone else f"{name}_"
        named = [stage.stage_id or f"{head}stage_{i}" for i, stage in enumerate(module.stages)]
        ids.append(named or [name])
    return ids


def module_name(module: MIPROModuleConfig, index: int) -> str:
    """Returns a module's id, `module_{i}` when it has none."""
    return module.module_id or f"module_{index}"

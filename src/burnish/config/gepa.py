"""GEPA's tables: `[prompt_learning.gepa]` and its sub-sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AliasChoices, Field, StringConstraints

from burnish.config.adaptive import AdaptiveBatch, AdaptivePool
from burnish.config.base import (
    ConfigModel,
    Fraction,
    NonNegFloat,
    NonNegInt,
    Number,
    PosInt,
    read_model,
)
from burnish.config.enums import (
    GepaProposerType,
    ProposerEffort,
    ProposerOutputTokens,
    ValidationPool,
)
from burnish.config.mipro_blocks import Edge, ProposerTable
from burnish.config.normalize import normalize_gepa
from burnish.config.policy import PromptLearningPolicyConfig
from burnish.config.problems import Findings, PathNames
from burnish.config.seeds import Seeds
from burnish.config.source import clean_copy
from burnish.config.table import Table
from burnish.config.verifier import PromptLearningJudgeConfig, ProxyModelsConfig

_Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class GEPARolloutConfig(ConfigModel):
    """How much is run.

    Attributes:
        budget: Most rollouts; absent for no cap.
        max_concurrent: Most rollouts in flight.
        minibatch_size: Feedback seeds that children are compared with their parents on.
    """

    budget: PosInt | None = None
    max_concurrent: PosInt = 20
    minibatch_size: PosInt = 8


class GEPAEvaluationConfig(ConfigModel):
    """Which seeds are used for what.

    Attributes:
        seeds: Training seeds; absent until the size of the data is known.
        validation_seeds: Seeds that choose the winner.
        test_pool: Held-out seeds.
        reference_pool: Seeds whose rows and labels the proposer may read; never scored on.
        validation_pool: Split of the app that validation seeds belong to.
        validation_top_k: Candidates that are scored on the validation seeds at the end; absent: 2.
    """

    seeds: Seeds | None = Field(default=None, validation_alias=AliasChoices("seeds", "train_seeds"))
    validation_seeds: Seeds | None = Field(
        default=None, validation_alias=AliasChoices("validation_seeds", "val_seeds")
    )
    test_pool: Seeds | None = None
    reference_pool: Seeds | None = None
    validation_pool: ValidationPool | None = None
    validation_top_k: PosInt | None = None


class GEPAMutationConfig(ConfigModel):
    """How children are made.

    Attributes:
        rate: Chance of a rewrite where a merge was drawn, in [0, 1].
        prompt: As `metaprompt`, before it.
    """

    rate: Fraction = 0.3
    prompt: str | None = None


class GEPAPopulationConfig(ConfigModel):
    """How long evolution runs, and how wide.

    Attributes:
        initial_size: Candidates at the start, the baseline among them.
        num_generations: Generations after them.
        children_per_generation: Children in each.
        crossover_rate: Chance that a merge is drawn, in [0, 1].
        selection_pressure: At least 1; higher prefers the fittest more.
        patience_generations: Generations without gain before the end.
    """

    initial_size: PosInt = 20
    num_generations: PosInt = 10
    children_per_generation: PosInt = 5
    crossover_rate: Fraction = 0.5
    selection_pressure: Annotated[Number, Field(ge=1)] = 1.0
    patience_generations: NonNegInt = 3


class GEPAArchiveConfig(ConfigModel):
    """The Pareto archive.

    Attributes:
        size: Most candidates kept.
        pareto_set_size: Training seeds that make the front; absent: half of them, from 10 to 64.
        pareto_eps: Slack of a tie, in (0, 1).
        feedback_fraction: Share of the rest used for feedback, in [0, 1].
    """

    size: PosInt = 64
    pareto_set_size: Annotated[PosInt, Field(ge=10)] | None = None
    pareto_eps: Annotated[Number, Field(gt=0, lt=1)] = 1e-6
    feedback_fraction: Fraction = 0.5


class GEPATokenConfig(ConfigModel):
    """Limits in tokens and dollars.

    Attributes:
        max_limit: Longest prompt in tokens.
        counting_model: Whose tokenizer counts.
        enforce_pattern_limit: Whether a longer prompt is refused.
        max_spend_usd: Most US dollars.
    """

    max_limit: PosInt | None = None
    counting_model: str = Field(default="gpt-4", min_length=1)
    enforce_pattern_limit: bool = True
    max_spend_usd: Annotated[NonNegFloat, Field(gt=0)] | None = None


class GEPAModuleConfig(ConfigModel):
    """One stage of a pipeline, of which only the instruction evolves.

    Attributes:
        module_id: Unique.
        max_instruction_slots: Instructions per prompt.
        allowed_tools: Tools the stage may use; absent for all.
        max_tokens: Longest instruction.
        baseline_instruction: The starting instruction.
        policy: The stage's model; absent: the job's.
    """

    module_id: _Id = Field(validation_alias=AliasChoices("module_id", "id"))
    max_instruction_slots: PosInt = 3
    allowed_tools: list[_Id] | None = Field(default=None, min_length=1)
    max_tokens: PosInt | None = None
    baseline_instruction: str | None = None
    policy: PromptLearningPolicyConfig | None = None


class GEPAConfig(ConfigModel):
    """`[prompt_learning.gepa]`.

    Attributes:
        env_name: Beats the top level's.
        env_config: Merged over the top level's.
        rng_seed: Seed of every random choice.
        proposer_type: Mutation template; `spec` needs a `spec_path`.
        proposer_effort: LOW_CONTEXT, LOW, MEDIUM or HIGH: the proposer's model and context.
        proposer_output_tokens: RAPID (3000, needs LOW_CONTEXT), FAST (10000) or SLOW (25000).
        proposer: Overrides the tier's model.
        metaprompt: Added to every meta-prompt; from a line `version: 1` on, in place of it.
        spec_path: JSON system spec, relative to the file.
        spec_max_tokens: Its limit, truly kept.
        spec_include_examples: Whether its examples are shown.
        spec_priority_threshold: Leaves out rules below it.
        spec_strict: Whether what only looks odd in it is a problem too.
        rollout: How much is run.
        evaluation: Which seeds are used for what.
        mutation: How children are made.
        population: How long, and how wide.
        archive: The Pareto archive.
        token: Limits in tokens and dollars; `prompt_budget` is read too.
        modules: Stages of a pipeline.
        edges: Pairs of module ids.
        judge: As `[prompt_learning.judge]`, which wins.
        proxy_models: Read as the top level's.
        adaptive_pool: A level, or a table.
        adaptive_batch: A level, or a table.
    """

    env_name: str | None = None
    env_config: dict[str, object] | None = None
    rng_seed: NonNegInt | None = Field(
        default=None, validation_alias=AliasChoices("rng_seed", "random_seed", "seed")
    )
    proposer_type: GepaProposerType = GepaProposerType.DSPY
    proposer_effort: ProposerEffort = ProposerEffort.LOW
    proposer_output_tokens: ProposerOutputTokens = ProposerOutputTokens.FAST
    proposer: ProposerTable | None = None
    metaprompt: str | None = None
    spec_path: str | None = None
    spec_max_tokens: PosInt = 5000
    spec_include_examples: bool = True
    spec_priority_threshold: NonNegInt | None = None
    spec_strict: bool = False

    rollout: GEPARolloutConfig = Field(default_factory=GEPARolloutConfig)
    evaluation: GEPAEvaluationConfig = Field(default_factory=GEPAEvaluationConfig)
    mutation: GEPAMutationConfig = Field(default_factory=GEPAMutationConfig)
    population: GEPAPopulationConfig = Field(default_factory=GEPAPopulationConfig)
    archive: GEPAArchiveConfig = Field(default_factory=GEPAArchiveConfig)
    token: GEPATokenConfig = Field(default_factory=GEPATokenConfig)

    modules: list[GEPAModuleConfig] = Field(default_factory=list)
    edges: list[Edge] = Field(default_factory=list)
    judge: PromptLearningJudgeConfig | None = None
    proxy_models: ProxyModelsConfig | None = None
    adaptive_pool: AdaptivePool | None = None
    adaptive_batch: AdaptiveBatch | None = None

    @classmethod
    def from_mapping(cls, data: Mapping[str, object]) -> GEPAConfig:
        """Reads GEPA's table, nested or with the flat keys of older releases.

        Raises:
            ConfigError: With every problem in it.
        """
        findings = Findings(names=PathNames())
        raw = clean_copy(data, findings)
        table = Table({"gepa": raw}, findings)
        normalize_gepa(table)
        model = read_model(cls, raw, findings, prefix="gepa")
        findings.raise_if_any("gepa")
        if model is None:
            raise AssertionError("a table without problems has a value")
        return model

"""Reads job files of every dialect into one checked configuration."""

from burnish.config.adaptive import (
    AdaptivePoolConfig,
    GEPAAdaptiveBatchConfig,
    resolve_adaptive_batch_config,
    resolve_adaptive_pool_config,
)
from burnish.config.enums import (
    AdaptiveBatchLevel,
    AdaptiveCurriculumLevel,
    CheckName,
    InferenceMode,
    JobMode,
    ProposerEffort,
    ProposerOutputTokens,
    ProviderName,
    RewardSource,
    SearchPreset,
    WildcardMode,
)
from burnish.config.gepa import (
    GEPAArchiveConfig,
    GEPAConfig,
    GEPAEvaluationConfig,
    GEPAModuleConfig,
    GEPAMutationConfig,
    GEPAPopulationConfig,
    GEPARolloutConfig,
    GEPATokenConfig,
)
from burnish.config.mipro import MIPROConfig
from burnish.config.mipro_blocks import (
    MIPROMetaConfig,
    MIPROModuleConfig,
    MIPROSeedConfig,
    MIPROStageConfig,
    TPEConfig,
)
from burnish.config.policy import (
    MessagePatternConfig,
    PromptLearningPolicyConfig,
    PromptPatternConfig,
)
from burnish.config.pools import derive_pools
from burnish.config.problems import ConfigError, Problem
from burnish.config.prompt_learning import PromptLearningConfig, TerminationConfig
from burnish.config.resolve import resolve_job
from burnish.config.resolved import (
    ResolvedBudget,
    ResolvedCheck,
    ResolvedJob,
    ResolvedMessage,
    ResolvedModel,
    ResolvedOnline,
    ResolvedPools,
    ResolvedProposer,
    ResolvedStage,
    ResolvedVerifier,
)
from burnish.config.resolved_search import ResolvedGepa, ResolvedMipro, ResolvedPreset, ResolvedTpe
from burnish.config.seeds import SeedRange
from burnish.config.spec import SystemSpec, load_spec, render_spec
from burnish.config.verifier import (
    PromptLearningJudgeConfig,
    PromptLearningVerifierConfig,
    ProxyModelsConfig,
)

__all__ = [
    "AdaptiveBatchLevel",
    "AdaptiveCurriculumLevel",
    "AdaptivePoolConfig",
    "CheckName",
    "ConfigError",
    "GEPAAdaptiveBatchConfig",
    "GEPAArchiveConfig",
    "GEPAConfig",
    "GEPAEvaluationConfig",
    "GEPAModuleConfig",
    "GEPAMutationConfig",
    "GEPAPopulationConfig",
    "GEPARolloutConfig",
    "GEPATokenConfig",
    "InferenceMode",
    "JobMode",
    "MIPROConfig",
    "MIPROMetaConfig",
    "MIPROModuleConfig",
    "MIPROSeedConfig",
    "MIPROStageConfig",
    "MessagePatternConfig",
    "Problem",
    "PromptLearningConfig",
    "PromptLearningJudgeConfig",
    "PromptLearningPolicyConfig",
    "PromptLearningVerifierConfig",
    "PromptPatternConfig",
    "ProposerEffort",
    "ProposerOutputTokens",
    "ProviderName",
    "ProxyModelsConfig",
    "ResolvedBudget",
    "ResolvedCheck",
    "ResolvedGepa",
    "ResolvedJob",
    "ResolvedMessage",
    "ResolvedMipro",
    "ResolvedModel",
    "ResolvedOnline",
    "ResolvedPools",
    "ResolvedPreset",
    "ResolvedProposer",
    "ResolvedStage",
    "ResolvedTpe",
    "ResolvedVerifier",
    "RewardSource",
    "SearchPreset",
    "SeedRange",
    "SystemSpec",
    "TPEConfig",
    "TerminationConfig",
    "WildcardMode",
    "derive_pools",
    "load_spec",
    "render_spec",
    "resolve_adaptive_batch_config",
    "resolve_adaptive_pool_config",
    "resolve_job",
]

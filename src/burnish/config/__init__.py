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
from burnish.config.problems import ConfigError, Problem
from burnish.config.prompt_learning import PromptLearningConfig, TerminationConfig
from burnish.config.seeds import SeedRange
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
    "RewardSource",
    "SearchPreset",
    "SeedRange",
    "TPEConfig",
    "TerminationConfig",
    "WildcardMode",
    "resolve_adaptive_batch_config",
    "resolve_adaptive_pool_config",
]

"""The named choices of a configuration."""

from __future__ import annotations

import enum

from burnish.models import model_table


class _Choice(enum.StrEnum):
    """A choice that is read in any letter case."""

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        if isinstance(value, str):
            wanted = value.strip().lower()
            for member in cls:
                if member.value.lower() == wanted:
                    return member
        return None


class InferenceMode(_Choice):
    """Who gives the inference URL: always the optimiser."""

    SYNTH_HOSTED = "synth_hosted"


class ProviderName(_Choice):
    """Where a model is served; a plug-in's provider, or one of the operator's table, counts too."""

    OPENAI = "openai"
    GROQ = "groq"
    GOOGLE = "google"
    ANTHROPIC = "anthropic"
    OPENAI_COMPATIBLE = "openai_compatible"
    LOCAL = "local"

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        member = super()._missing_(value)
        if member is not None or not isinstance(value, str):
            return member
        name = value.strip().lower()
        if name not in model_table().providers:
            return None
        # Which providers there are is known when a process runs, not when it is written.
        added = str.__new__(cls, name)
        added._name_, added._value_ = name.upper(), name
        return added


class ProposerEffort(_Choice):
    """How strong a model, and how much context, writes the proposals."""

    LOW_CONTEXT = "LOW_CONTEXT"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class ProposerOutputTokens(_Choice):
    """How long a proposal may be."""

    RAPID = "RAPID"
    FAST = "FAST"
    SLOW = "SLOW"


class WildcardMode(_Choice):
    """Whether a placeholder has to be bound in every call."""

    REQUIRED = "REQUIRED"
    OPTIONAL = "OPTIONAL"


class RewardSource(_Choice):
    """Which rewards the search is told."""

    TASK_APP = "task_app"
    JUDGE = "judge"
    FUSED = "fused"

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        if isinstance(value, str) and value.strip().lower() == "verifier":
            return cls.JUDGE
        return super()._missing_(value)


class JobMode(_Choice):
    """Whether a job runs the app itself or learns from traffic."""

    OFFLINE = "offline"
    ONLINE = "online"

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        if isinstance(value, str) and value.strip().lower() in ("proxied", "retrieved"):
            return cls.ONLINE
        return super()._missing_(value)


class SearchEngine(_Choice):
    """What chooses candidates and rows."""

    RACE = "race"
    TPE = "tpe"


class SecondObjective(_Choice):
    """What prompts cost beside what they earn."""

    COST_USD = "cost_usd"
    TOKENS = "tokens"
    PROMPT_LENGTH = "prompt_length"


class SearchProtocol(_Choice):
    """How the `tpe` engine spends its trials."""

    BURNISH = "burnish"
    MIPROV2 = "miprov2"


class SearchPreset(_Choice):
    """How much a MIPROv2-compatible search spends."""

    LIGHT = "light"
    MEDIUM = "medium"
    HEAVY = "heavy"


class AdaptiveCurriculumLevel(_Choice):
    """Preset levels of the adaptive pool; higher levels evaluate less."""

    NONE = "NONE"
    LOW = "LOW"
    MODERATE = "MODERATE"
    HIGH = "HIGH"


class AdaptiveBatchLevel(_Choice):
    """Preset levels of GEPA's adaptive batch; higher levels evaluate less."""

    NONE = "NONE"
    LOW = "LOW"
    MODERATE = "MODERATE"
    HIGH = "HIGH"


class AnchorSelectionMethod(_Choice):
    """How anchors are chosen."""

    RANDOM = "random"
    CLUSTERING = "clustering"


class ExplorationStrategy(_Choice):
    """How the rest of the adaptive pool is chosen."""

    RANDOM = "random"
    DIVERSITY = "diversity"


class HeatupTrigger(_Choice):
    """When reserve seeds come back into the adaptive pool."""

    AFTER_MIN_SIZE = "after_min_size"
    IMMEDIATE = "immediate"
    EVERY_N_TRIALS_AFTER_MIN = "every_N_trials_after_min"


class HeatupSchedule(_Choice):
    """Whether the heat-up happens again after its cool-down."""

    REPEAT = "repeat"
    ONCE = "once"


class ValEvaluationMode(_Choice):
    """Whether a child is validated on every validation seed."""

    FULL = "full"
    SUBSAMPLE = "subsample"


class CandidateSelectionStrategy(_Choice):
    """How a parent is drawn from the Pareto front."""

    COVERAGE = "coverage"
    RANDOM = "random"


class GepaProposerType(_Choice):
    """Which mutation template GEPA uses."""

    DSPY = "dspy"
    SPEC = "spec"
    SYNTH = "synth"
    GEPA_AI = "gepa-ai"


class MiproProposerMode(_Choice):
    """Which family of meta-prompts MIPRO uses."""

    SYNTH = "synth"
    DSPY = "dspy"
    GEPA_AI = "gepa-ai"
    BUILTIN = "builtin"


class ValidationPool(_Choice):
    """Split that GEPA validates on."""

    TRAIN = "train"
    TEST = "test"
    VAL = "val"
    VALIDATION = "validation"


class CheckName(_Choice):
    """Built-in checks of an output."""

    EXACT_MATCH = "exact_match"
    NORMALIZED_MATCH = "normalized_match"
    CONTAINS = "contains"
    REGEX = "regex"
    NUMERIC = "numeric"
    JSON_SCHEMA = "json_schema"
    F1 = "f1"
    SQL_RESULT = "sql_result"
    PYTHON_TESTS = "python_tests"

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        aliases = {"normalised_match": cls.NORMALIZED_MATCH, "numeric_tolerance": cls.NUMERIC}
        alias = aliases.get(value.strip().lower()) if isinstance(value, str) else None
        return alias if alias is not None else super()._missing_(value)

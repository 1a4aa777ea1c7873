"""Renders the table of every key, its default and its meaning, out of the models themselves."""

from __future__ import annotations

import enum
import inspect
import re
from typing import Final

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from burnish.config.adaptive import AdaptivePoolConfig, GEPAAdaptiveBatchConfig
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
    DemoConfig,
    GroundingConfig,
    MetaUpdateConfig,
    MIPROModuleConfig,
    MIPROStageConfig,
    ProposerTable,
    TPEConfig,
)
from burnish.config.objective import ObjectiveConfig
from burnish.config.policy import (
    MessagePatternConfig,
    PromptLearningPolicyConfig,
    PromptPatternConfig,
)
from burnish.config.prompt_learning import (
    PromotionConfig,
    PromptLearningConfig,
    TerminationConfig,
)
from burnish.config.seeds import SeedRange
from burnish.config.verifier import CheckConfig, PromptLearningJudgeConfig, ProxyModelsConfig

TABLES: Final[tuple[tuple[str, type[BaseModel]], ...]] = (
    ("[prompt_learning]", PromptLearningConfig),
    ("[prompt_learning.initial_prompt]", PromptPatternConfig),
    ("[[prompt_learning.initial_prompt.messages]]", MessagePatternConfig),
    ("[prompt_learning.policy], and every policy table", PromptLearningPolicyConfig),
    ("[prompt_learning.termination_config]", TerminationConfig),
    ("[prompt_learning.promotion]", PromotionConfig),
    ("[prompt_learning.judge]", PromptLearningJudgeConfig),
    ("[[prompt_learning.judge.checks]]", CheckConfig),
    ("[prompt_learning.proxy_models]", ProxyModelsConfig),
    ("[prompt_learning.mipro]", MIPROConfig),
    ("[[prompt_learning.mipro.modules]]", MIPROModuleConfig),
    ("[[prompt_learning.mipro.stages]]", MIPROStageConfig),
    ("[prompt_learning.mipro.tpe]", TPEConfig),
    ("[prompt_learning.mipro.demo]", DemoConfig),
    ("[prompt_learning.mipro.grounding]", GroundingConfig),
    ("[prompt_learning.mipro.meta_update]", MetaUpdateConfig),
    ("[prompt_learning.mipro.proposer] and [prompt_learning.gepa.proposer]", ProposerTable),
    ("[prompt_learning.mipro.adaptive_pool]", AdaptivePoolConfig),
    ("[prompt_learning.mipro.objective]", ObjectiveConfig),
    ("[prompt_learning.gepa]", GEPAConfig),
    ("[prompt_learning.gepa.rollout]", GEPARolloutConfig),
    ("[prompt_learning.gepa.evaluation]", GEPAEvaluationConfig),
    ("[prompt_learning.gepa.mutation]", GEPAMutationConfig),
    ("[prompt_learning.gepa.population]", GEPAPopulationConfig),
    ("[prompt_learning.gepa.archive]", GEPAArchiveConfig),
    ("[prompt_learning.gepa.token]", GEPATokenConfig),
    ("[[prompt_learning.gepa.modules]]", GEPAModuleConfig),
    ("[prompt_learning.gepa.adaptive_batch]", GEPAAdaptiveBatchConfig),
    ("a range of seeds", SeedRange),
)
_ENTRY = re.compile(r"^(\w+): (.*)$")


def render_reference() -> str:
    """Returns the tables as Markdown, in the order of `TABLES`."""
    parts = []
    for heading, model in TABLES:
        rows = [f"### `{heading}`", "", "| Key | Default | Meaning |", "|---|---|---|"]
        meanings = attribute_docs(model)
        for name, info in model.model_fields.items():
            keys = ", ".join(f"`{key}`" for key in _keys(name, info))
            rows.append(f"| {keys} | {_default(info)} | {meanings.get(name, '')} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Returns the `Attributes:` section of a class's docstring, by name."""
    lines = inspect.getdoc(model) or ""
    found: dict[str, str] = {}
    current = None
    for line in lines.partition("Attributes:")[2].splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        match = _ENTRY.match(text)
        if match is not None and indent == 4:
            current = match.group(1)
            found[current] = match.group(2)
        elif current is not None and text and indent > 4:
            found[current] += f" {text}"
        elif text:
            current = None
    return {name: text.replace("|", "\\|") for name, text in found.items()}


def _keys(name: str, info: FieldInfo) -> list[str]:
    choices = info.validation_alias
    if isinstance(choices, AliasChoices):
        return [str(choice) for choice in choices.choices]
    return [name]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if value is PydanticUndefined:
        value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "see its table"
    if value is None:
        return "-"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str) and not value:
        return "empty"
    if isinstance(value, list | dict) and not value:
        return "none"
    return f"`{value}`"

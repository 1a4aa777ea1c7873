"""Policy models and prompt templates: `[prompt_learning.policy]` and `initial_prompt`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field

from burnish.config.base import ConfigModel, Number, PosInt
from burnish.config.enums import InferenceMode, ProviderName, WildcardMode

PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class PromptLearningPolicyConfig(ConfigModel):
    """The model that the task app's calls go to.

    Attributes:
        model: Absent: the model that the app asks for.
        provider: Absent: the provider known to serve `model`.
        inference_mode: Always `synth_hosted`; defaulted because files omit it.
        temperature: Sampling temperature in [0, 2].
        max_completion_tokens: Most tokens per reply.
        policy_name: Passed to the app.
        upstream_base_url: Where `openai_compatible` and `local` models are served.
    """

    model: str | None = Field(default=None, min_length=1)
    provider: ProviderName | None = None
    inference_mode: InferenceMode = InferenceMode.SYNTH_HOSTED
    temperature: Annotated[Number, Field(ge=0, le=2)] = 0.0
    max_completion_tokens: PosInt = 512
    policy_name: str | None = None
    upstream_base_url: str | None = None


class MessagePatternConfig(ConfigModel):
    """One message of a template.

    Attributes:
        role: `system`, `user` or `assistant`; `developer` counts as system.
        pattern: Text with `{placeholder}`s; `content` is read too.
        order: Sort key.
        name: Label of a section.
    """

    role: Annotated[str, BeforeValidator(_lower), Field(min_length=1)]
    pattern: str = Field(validation_alias=AliasChoices("pattern", "content", "text"))
    order: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] = 0
    name: str | None = None


class PipelineModuleConfig(ConfigModel):
    """A module that `initial_prompt.metadata.pipeline_modules` names."""

    name: str = Field(min_length=1, validation_alias=AliasChoices("name", "module_id", "id"))
    instruction_text: str | None = None
    few_shots: object | None = None


def _modules(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    return [{"name": item} if isinstance(item, str) else item for item in value]


class PromptMetadataConfig(ConfigModel):
    """What an initial prompt says about itself."""

    pipeline_modules: Annotated[list[PipelineModuleConfig], BeforeValidator(_modules)] = Field(
        default_factory=list
    )


class PromptPatternConfig(ConfigModel):
    """The prompt that a job starts from.

    Attributes:
        id: Label.
        name: Label.
        messages: In the order of `order`, then of the file; `sections` is read too.
        wildcards: Placeholder to `REQUIRED` or `OPTIONAL`.
        metadata: Names the modules of a pipeline.
    """

    id: str | None = None
    name: str | None = None
    messages: list[MessagePatternConfig] = Field(
        default_factory=list, validation_alias=AliasChoices("messages", "sections")
    )
    wildcards: dict[str, WildcardMode] = Field(default_factory=dict)
    metadata: PromptMetadataConfig = Field(default_factory=PromptMetadataConfig)

    def ordered(self) -> list[MessagePatternConfig]:
        """Returns the messages in the order they are sent."""
        return sorted(self.messages, key=lambda message: message.order)


def placeholders(text: str) -> tuple[str, ...]:
    """Returns the `{placeholder}` names of a pattern, each once, in order."""
    return tuple(dict.fromkeys(PLACEHOLDER.findall(text)))

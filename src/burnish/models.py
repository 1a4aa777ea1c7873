"""Which models the providers serve, what they cost, and which roles refuse which model.

The list is a default policy, not a wall: an unknown model of a known provider is a warning. Two
rules are walls: `gpt-5-pro` serves in no role, and no `*-nano` model writes proposals.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

HOSTED_PROVIDERS: Final = ("openai", "groq", "google")
SELF_HOSTED_PROVIDERS: Final = ("openai_compatible", "local")
PROVIDERS: Final = HOSTED_PROVIDERS + SELF_HOSTED_PROVIDERS
LOCAL_MODELS: Final = ("local-reader", "local-proposer", "local-judge")


class ModelRole(enum.StrEnum):
    """What a model is asked to do."""

    POLICY = "policy"
    PROXY = "proxy"
    PROPOSER = "proposer"
    MUTATION = "mutation"
    META = "meta"
    JUDGE = "judge"
    FEEDBACK_JUDGE = "feedback judge"


_WRITING_ROLES = frozenset(
    {ModelRole.PROPOSER, ModelRole.MUTATION, ModelRole.META, ModelRole.FEEDBACK_JUDGE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFinding:
    """What is to be said about a model in a role.

    Attributes:
        refused: True for a wall, False for a warning.
        about: `model` or `provider`: which of the two to change.
        message: What is wrong.
        fix: What to do.
    """

    refused: bool
    about: str
    message: str
    fix: str


_PRICES: Final[Mapping[str, Price | None]] = MappingProxyType(
    {
        "openai:gpt-4o": Price(input_usd=2.50, output_usd=10.00),
        "openai:gpt-4o-mini": Price(input_usd=0.15, output_usd=0.60),
        "openai:gpt-4.1": Price(input_usd=2.00, output_usd=8.00),
        "openai:gpt-4.1-mini": Price(input_usd=0.40, output_usd=1.60),
        "openai:gpt-4.1-nano": Price(input_usd=0.10, output_usd=0.40),
        "openai:gpt-5": Price(input_usd=1.25, output_usd=10.00),
        "openai:gpt-5-mini": Price(input_usd=0.25, output_usd=2.00),
        "openai:gpt-5-nano": Price(input_usd=0.05, output_usd=0.40),
        "groq:llama-3.3-70b-versatile": Price(input_usd=0.59, output_usd=0.79),
        "groq:llama-3.1-8b-instant": Price(input_usd=0.05, output_usd=0.08),
        "google:gemini-2.5-pro": Price(input_usd=1.25, output_usd=10.00),
        "google:gemini-2.5-pro-gt200k": None,
        "google:gemini-2.5-flash": Price(input_usd=0.30, output_usd=2.50),
        "google:gemini-2.5-flash-lite": Price(input_usd=0.10, output_usd=0.40),
    }
)
_FAMILIES: Final = (
    ("openai", re.compile(r"gpt-5\.[123](-.+)?")),
    ("groq", re.compile(r"gpt-oss-\d+b(-128k)?")),
    ("groq", re.compile(r"llama-3\.3-70b.*")),
    ("groq", re.compile(r"llama-3\.1-8b-instant(-128k)?")),
    ("groq", re.compile(r"qwen.*32b.*")),
    ("groq", re.compile(r"llama-guard-4-12b")),
    ("groq", re.compile(r"kimi-k2-0905")),
)
_PREFIX = re.compile(r"^(openai|groq|google|gemini|models|meta-llama|qwen|moonshotai)/")
_PRO = re.compile(r"gpt-5-pro(-|$)")
_NANO = re.compile(r"-nano(-|$)")

EFFORT_MODELS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "LOW_CONTEXT": ("groq", "openai/gpt-oss-120b"),
        "LOW": ("openai", "gpt-4o-mini"),
        "MEDIUM": ("openai", "gpt-4o"),
        "HIGH": ("openai", "gpt-5"),
    }
)
OUTPUT_TIER_TOKENS: Final[Mapping[str, int]] = MappingProxyType(
    {"RAPID": 3_000, "FAST": 10_000, "SLOW": 25_000}
)


def bare_model(model: str) -> str:
    """Returns a model's name in lower case without a provider's prefix."""
    name = model.strip().lower()
    while (match := _PREFIX.match(name)) is not None:
        name = name[match.end() :]
    return name


def provider_of(model: str) -> str | None:
    """Returns the provider that is known to serve a model, or None."""
    name = bare_model(model)
    if name in LOCAL_MODELS:
        return "local"
    for provider in HOSTED_PROVIDERS:
        if f"{provider}:{name}" in _PRICES:
            return provider
    for provider, family in _FAMILIES:
        if family.fullmatch(name):
            return provider
    return None


def known_price(provider: str, model: str) -> Price | None:
    """Returns the shipped price of a model; None when it is unknown, which is not free.

    `local` models cost nothing, because they run inside the suite.
    """
    if provider == "local":
        return Price(input_usd=0.0, output_usd=0.0)
    return _PRICES.get(f"{provider}:{bare_model(model)}")


def check_model(*, provider: str, model: str, role: ModelRole) -> tuple[ModelFinding, ...]:
    """Checks a model of a provider in a role.

    Args:
        provider: One of `PROVIDERS`, in lower case.
        model: As written, with or without a prefix.
        role: What the model is asked to do.

    Returns:
        Everything to be said; empty when the model is supported.
    """
    findings = list(_walls(bare_model(model), role))
    if provider not in PROVIDERS:
        findings.append(
            ModelFinding(
                refused=True,
                about="provider",
                message=f"is not a provider of models for the {role.value} role",
                fix=f"use one of {', '.join(PROVIDERS)}",
            )
        )
        return tuple(findings)
    served_by = provider_of(model)
    if provider == "openai_compatible" or served_by == provider:
        return tuple(findings)
    if served_by is not None:
        findings.append(
            ModelFinding(
                refused=True,
                about="model",
                message=f"is a model of {served_by}, not of {provider}",
                fix=f'set provider = "{served_by}", or choose a model of {provider}',
            )
        )
    elif not any(f.refused for f in findings):
        findings.append(_unknown(provider))
    return tuple(findings)


def _walls(name: str, role: ModelRole) -> tuple[ModelFinding, ...]:
    if _PRO.match(name):
        return (
            ModelFinding(
                refused=True,
                about="model",
                message="gpt-5-pro is refused in every role, because it costs 15 / 120 USD per "
                "million tokens",
                fix="use gpt-5 or a smaller model",
            ),
        )
    if role in _WRITING_ROLES and _NANO.search(name):
        return (
            ModelFinding(
                refused=True,
                about="model",
                message=f"*-nano models are refused in the {role.value} role, because they are "
                "too weak to write prompts",
                fix="use the -mini model or a larger one; nano may serve as policy or proxy",
            ),
        )
    return ()


def _unknown(provider: str) -> ModelFinding:
    if provider == "local":
        return ModelFinding(
            refused=True,
            about="model",
            message="is not a local model",
            fix=f"use one of {', '.join(LOCAL_MODELS)}",
        )
    return ModelFinding(
        refused=False,
        about="model",
        message=f"is not in the list of {provider} models, so its price is unknown",
        fix="check the name",
    )

"""Which models the providers serve, what they cost, and which roles refuse which model.

The list is a default policy, not a wall: an unknown model of a known provider is a warning, unless
the operator's own table says otherwise. Two rules are walls: `gpt-5-pro` serves in no role, and no
`*-nano` model writes proposals.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from burnish.model_table import (
    MODELS_FILE,
    ModelRole,
    ModelTable,
    Price,
    bare_model,
    load_table,
)

__all__ = [
    "EFFORT_MODELS",
    "HOSTED_PROVIDERS",
    "LOCAL_MODELS",
    "OUTPUT_TIER_TOKENS",
    "PROVIDERS",
    "SELF_HOSTED_PROVIDERS",
    "ModelFinding",
    "ModelRole",
    "Price",
    "bare_model",
    "check_model",
    "known_price",
    "model_table",
    "provider_of",
]

HOSTED_PROVIDERS: Final = ("openai", "groq", "google", "anthropic")
SELF_HOSTED_PROVIDERS: Final = ("openai_compatible", "local")
PROVIDERS: Final = HOSTED_PROVIDERS + SELF_HOSTED_PROVIDERS
LOCAL_MODELS: Final = ("local-reader", "local-proposer", "local-judge")

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


def model_table() -> ModelTable:
    """Returns the table that holds in this process: the shipped one and the operator's.

    Raises:
        ModelsInvalid: The file that `BURNISH_MODELS_FILE` names cannot be used. Do not retry.
    """
    return load_table(os.environ.get(MODELS_FILE, "").strip())


def provider_of(model: str) -> str | None:
    """Returns the provider that is known to serve a model, or None."""
    return next((entry.provider for entry in model_table().entries(bare_model(model))), None)


def known_price(provider: str, model: str) -> Price | None:
    """Returns the listed price of a model; None when it is unknown, which is not free.

    `local` models cost nothing, because they run inside the suite.
    """
    if provider == "local":
        return Price(input_usd=0.0, output_usd=0.0)
    entries = model_table().entries(bare_model(model))
    return next((e.price for e in entries if e.provider == provider and e.price is not None), None)


def check_model(*, provider: str, model: str, role: ModelRole) -> tuple[ModelFinding, ...]:
    """Checks a model of a provider in a role.

    Args:
        provider: One of `PROVIDERS`, of a plug-in, or of the operator's table, in lower case.
        model: As written, with or without a prefix.
        role: What the model is asked to do.

    Returns:
        Everything to be said; empty when the model is supported.

    Raises:
        ModelsInvalid: The operator's table of models cannot be used. Do not retry.
    """
    table = model_table()
    name = bare_model(model)
    findings = [
        ModelFinding(
            refused=True,
            about="model",
            message=refusal.message.replace("{role}", role.value),
            fix=refusal.fix,
        )
        for refusal in table.refusals
        if role in refusal.roles and refusal.pattern.fullmatch(name) is not None
    ]
    rule = table.providers.get(provider)
    if rule is None or role not in rule.roles:
        findings.append(_wrong_provider(table, role, known=rule is not None))
    if rule is None or rule.any_model:
        return tuple(findings)
    served_by = [entry.provider for entry in table.entries(name)]
    if provider not in served_by:
        findings += _wrong_model(table, provider, served_by, silent=bool(findings))
    return tuple(findings)


def _wrong_provider(table: ModelTable, role: ModelRole, *, known: bool) -> ModelFinding:
    usable = [name for name, rule in table.providers.items() if role in rule.roles]
    is_not = f"does not serve the {role.value} role: apps' calls are not sent there"
    return ModelFinding(
        refused=True,
        about="provider",
        message=is_not if known else f"is not a provider of models for the {role.value} role",
        fix=f"use one of {', '.join(usable)}",
    )


def _wrong_model(
    table: ModelTable, provider: str, served_by: list[str], *, silent: bool
) -> Iterator[ModelFinding]:
    """Yields what is to be said of a model that a provider is not known to serve.

    Args:
        table: What is known.
        provider: Who is to serve it.
        served_by: Who is known to serve it.
        silent: Whether enough is said already to leave out that the model is unknown.
    """
    if served_by:
        yield ModelFinding(
            refused=True,
            about="model",
            message=f"is a model of {served_by[0]}, not of {provider}",
            fix=f'set provider = "{served_by[0]}", or choose a model of {provider}',
        )
    elif not silent:
        yield _unknown(table, provider)


def _unknown(table: ModelTable, provider: str) -> ModelFinding:
    if provider == "local":
        return ModelFinding(
            refused=True,
            about="model",
            message="is not a local model",
            fix=f"use one of {', '.join(LOCAL_MODELS)}",
        )
    listed = f"is not in the list of {provider} models"
    if table.refuse_unknown:
        return ModelFinding(
            refused=True,
            about="model",
            message=f"{listed}, and this deployment serves no others",
            fix=f"check the name, or have it added to the file in {MODELS_FILE}",
        )
    return ModelFinding(
        refused=False,
        about="model",
        message=f"{listed}, so its price is unknown",
        fix="check the name",
    )

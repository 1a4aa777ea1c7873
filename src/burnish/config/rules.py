"""The rules between fields, checked once for every dialect; they only ever add findings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from burnish.config.base import Raw, join
from burnish.config.enums import (
    JobMode,
    ProposerEffort,
    ProposerOutputTokens,
    ProviderName,
    RewardSource,
)
from burnish.config.idle import report_idle
from burnish.config.policy import PromptLearningPolicyConfig
from burnish.config.problems import Findings
from burnish.config.rules_search import check_gepa, check_mipro, check_stages
from burnish.config.verifier import PromptLearningJudgeConfig
from burnish.models import ModelRole, check_model, provider_of

if TYPE_CHECKING:
    from burnish.config.prompt_learning import PromptLearningConfig

BUILT_IN: Final = ("mipro", "gepa", "random")
PLUGIN: Final = re.compile(r"plugin:([a-z][a-z0-9_-]{0,62})")
_CATEGORIES: Final = ("rollout", "proposal", "verification", "task", "proposer", "judge")
_SCHEMES: Final = ("http://", "https://", "grpc://")


def check(config: PromptLearningConfig, raw: Raw, findings: Findings) -> None:
    """Checks every rule between fields of a configuration.

    Args:
        config: What could be read.
        raw: The canonical table, to tell an absent value from a default.
        findings: Told of everything.
    """
    _check_algorithm(config, raw, findings)
    report_idle(raw, findings, algorithm=config.algorithm)
    _check_task_app(config, findings)
    for path, policy in policies(config):
        _check_policy(path, policy, findings)
    for path, judge in judges(config):
        _check_judge(path, judge, findings)
    _check_proposers(config, findings)
    _check_proxy(config, findings)
    _check_budget(config, findings)
    if config.initial_prompt is not None:
        _check_prompt(config, raw, findings)
    check_stages(config, findings)
    if config.mipro is not None and config.algorithm != "gepa":
        check_mipro(config.mipro, findings)
    if config.gepa is not None and config.algorithm == "gepa":
        check_gepa(config, config.gepa, findings)


def policies(config: PromptLearningConfig) -> Iterator[tuple[str, PromptLearningPolicyConfig]]:
    """Yields every policy table with its path."""
    found: list[tuple[str, PromptLearningPolicyConfig | None]] = [("policy", config.policy)]
    found += [(f"stages[{i}].policy", stage.policy) for i, stage in enumerate(config.stages)]
    if config.mipro is not None:
        found.append(("mipro.policy_config", config.mipro.policy_config))
        for i, stage in enumerate(config.mipro.stages):
            found.append((f"mipro.stages[{i}].policy", stage.policy))
        for i, module in enumerate(config.mipro.modules):
            path = f"mipro.modules[{i}]"
            found.append((f"{path}.policy", module.policy))
            found += [
                (f"{path}.stages[{j}].policy", stage.policy)
                for j, stage in enumerate(module.stages)
            ]
    if config.gepa is not None:
        for i, evolved in enumerate(config.gepa.modules):
            found.append((f"gepa.modules[{i}].policy", evolved.policy))
    yield from ((path, policy) for path, policy in found if policy is not None)


def judges(config: PromptLearningConfig) -> Iterator[tuple[str, PromptLearningJudgeConfig]]:
    """Yields every judge table with its path, the one that wins first."""
    if config.judge is not None:
        yield "judge", config.judge
    if config.mipro is not None and config.mipro.judge is not None:
        yield "mipro.judge", config.mipro.judge
    if config.gepa is not None and config.gepa.judge is not None:
        yield "gepa.judge", config.gepa.judge


def _check_algorithm(config: PromptLearningConfig, raw: Raw, findings: Findings) -> None:
    if "algorithm" not in raw:
        findings.missing("algorithm", 'add algorithm = "mipro" or "gepa"')
        return
    name = config.algorithm.strip()
    if name.lower() in BUILT_IN:
        config.algorithm = name.lower()
    elif PLUGIN.fullmatch(name) is None:
        findings.problem(
            "algorithm",
            name,
            "is not an algorithm",
            f"use one of {', '.join(BUILT_IN)}, or plugin:NAME for one of your own",
        )
        return
    section = "gepa" if config.algorithm == "gepa" else "mipro"
    if getattr(config, section) is None:
        findings.missing(section, f"add a {section} table; it may be empty")


def _check_task_app(config: PromptLearningConfig, findings: Findings) -> None:
    url = config.task_app_url
    online = config.mipro is not None and config.mipro.mode is JobMode.ONLINE
    if not url:
        if not online:
            findings.missing("task_app_url", 'add it, such as "http://localhost:8002"')
    elif not url.lower().startswith(_SCHEMES) or not url.partition("://")[2].strip("/"):
        findings.problem(
            "task_app_url",
            url,
            "is not the URL of a task app",
            "start it with http://, https:// or grpc:// and name the host",
        )


def _check_policy(path: str, policy: PromptLearningPolicyConfig, findings: Findings) -> None:
    provider = policy.provider
    if provider is None:
        known = provider_of(policy.model) if policy.model is not None else None
        if known is None:
            findings.missing(join(path, "provider"), "add provider, such as openai, groq or google")
            return
        findings.warn(join(path, "provider"), f"is absent; {known} serves {policy.model}")
        policy.provider = ProviderName(known)
        provider = policy.provider
    if policy.model is None:
        findings.warn(join(path, "model"), "is absent; the model that the app asks for is used")
    else:
        report_model(
            path, ("provider", "model"), (provider, policy.model), ModelRole.POLICY, findings
        )
    url = policy.upstream_base_url
    if url is None and provider is ProviderName.OPENAI_COMPATIBLE:
        findings.missing(
            join(path, "upstream_base_url"), "give the server's base URL, ending in /v1"
        )
    _check_url(join(path, "upstream_base_url"), url, findings)


def _check_url(path: str, url: str | None, findings: Findings) -> None:
    if url is not None and not url.lower().startswith(("http://", "https://")):
        findings.problem(path, url, "is not an HTTP URL", "start it with http:// or https://")


def report_model(
    path: str,
    keys: tuple[str, str],
    values: tuple[str, str],
    role: ModelRole,
    findings: Findings,
) -> None:
    """Reports what is to be said about a model in a role.

    Args:
        path: Table that holds both.
        keys: Names of the provider's and the model's key in it.
        values: Provider and model.
        role: What the model is asked to do.
        findings: Told of everything.
    """
    provider, model = str(values[0]), values[1]
    for found in check_model(provider=provider, model=model, role=role):
        key, value = (keys[0], provider) if found.about == "provider" else (keys[1], model)
        if found.refused:
            findings.problem(join(path, key), value, found.message, found.fix)
        else:
            findings.warn(join(path, key), f"{value!r} {found.message}; {found.fix}")


def _check_judge(path: str, judge: PromptLearningJudgeConfig, findings: Findings) -> None:
    fused = judge.reward_source is RewardSource.FUSED
    event = judge.weight_event > 0 and judge.backend_event_enabled
    outcome = judge.weight_outcome > 0 and judge.backend_outcome_enabled
    if fused and not (event or outcome):
        findings.problem(
            join(path, "weight_outcome"),
            judge.weight_outcome,
            "fused rewards need a verifier's part",
            "give weight_event or weight_outcome a value above 0",
        )
    if not judge.enabled and judge.reward_source is not RewardSource.TASK_APP:
        findings.problem(
            join(path, "enabled"),
            judge.enabled,
            f"is off, but reward_source is {judge.reward_source.value}",
            'set enabled = true, or reward_source = "task_app"',
        )
    beside = [key for key in ("synth_verifier_id", "rubric") if getattr(judge, key)]
    if judge.checks and beside:
        findings.problem(
            join(path, "checks"),
            judge.checks,
            f"stand beside {beside[0]}",
            "keep one of the two, or put the checks into a graph file",
        )
    if judge.checks and not any(check.weight > 0 for check in judge.checks):
        findings.problem(
            join(path, "checks"), judge.checks, "have no weight", "give one a weight above 0"
        )
    if judge.backend_provider and judge.backend_model:
        report_model(
            path,
            ("backend_provider", "backend_model"),
            (judge.backend_provider.strip().lower(), judge.backend_model),
            ModelRole.JUDGE,
            findings,
        )


def _check_proposers(config: PromptLearningConfig, findings: Findings) -> None:
    for name, section, role in (
        ("mipro", config.mipro, ModelRole.PROPOSER),
        ("gepa", config.gepa, ModelRole.MUTATION),
    ):
        if section is None:
            continue
        rapid = section.proposer_output_tokens is ProposerOutputTokens.RAPID
        if rapid and section.proposer_effort is not ProposerEffort.LOW_CONTEXT:
            findings.problem(
                f"{name}.proposer_output_tokens",
                "RAPID",
                f"needs the effort LOW_CONTEXT, not {section.proposer_effort.value}",
                'set proposer_effort = "LOW_CONTEXT", or use FAST',
            )
        if config.free_tier and section.proposer_effort is ProposerEffort.HIGH:
            findings.problem(
                f"{name}.proposer_effort",
                "HIGH",
                "is not for free_tier",
                "use LOW_CONTEXT, LOW or MEDIUM, or set free_tier = false",
            )
        own = section.proposer
        if own is None:
            continue
        path = f"{name}.proposer"
        if own.model is not None:
            provider = own.provider or provider_of(own.model)
            if provider is None:
                findings.missing(f"{path}.provider", "name the provider of this model")
            else:
                own.provider = ProviderName(provider)
                report_model(path, ("provider", "model"), (provider, own.model), role, findings)
        _check_url(f"{path}.upstream_base_url", own.upstream_base_url, findings)


def _check_proxy(config: PromptLearningConfig, findings: Findings) -> None:
    proxy = config.proxy_models
    if proxy is None:
        return
    pairs = (
        ("hi_provider", proxy.hi_provider, "hi_model", proxy.hi_model),
        ("lo_provider", proxy.lo_provider, "lo_model", proxy.lo_model),
    )
    for provider_key, provider, model_key, model in pairs:
        report_model(
            "proxy_models", (provider_key, model_key), (provider, model), ModelRole.PROXY, findings
        )
    if proxy.r2_stop > proxy.r2_thresh:
        findings.problem(
            "proxy_models.r2_stop",
            proxy.r2_stop,
            f"is above r2_thresh ({proxy.r2_thresh})",
            "give a value below r2_thresh",
        )


def _check_budget(config: PromptLearningConfig, findings: Findings) -> None:
    for name in config.termination_config.max_category_costs_usd:
        if name not in _CATEGORIES:
            findings.problem(
                f"termination_config.max_category_costs_usd.{name}",
                name,
                "is not a category",
                f"use one of {', '.join(_CATEGORIES)}",
            )


def _check_prompt(config: PromptLearningConfig, raw: Raw, findings: Findings) -> None:
    prompt = config.initial_prompt
    given = raw.get("initial_prompt")
    if prompt is None or not isinstance(given, dict):
        return
    if not prompt.messages and ("messages" in given or "sections" in given):
        findings.missing("initial_prompt.messages", "add a message, or remove the key")
    text = " ".join(message.pattern for message in prompt.messages)
    for name in prompt.wildcards:
        if prompt.messages and f"{{{name}}}" not in text:
            findings.warn(f"initial_prompt.wildcards.{name}", "no message has this placeholder")

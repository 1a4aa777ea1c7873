"""Settings that are read and checked, but change nothing: a user who gives one is told so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from burnish.config.base import Raw
from burnish.config.problems import Findings

# Values that ask for nothing.
_QUIET: Final[tuple[object, ...]] = (None, "", {}, "gpt-4", "SYNTH_API_KEY")
_EVERYWHERE: Final = {
    "use_byok": "keys belong to the services",
    "judge.backend_base": "the suite's own verifier scores",
    "judge.backend_api_key_env": "keys belong to the services",
    "judge.backend_options": "the graph's own settings count",
    "termination_config.max_error_rate": "a rollout that fails is repeated, then left unscored",
    "termination_config.max_consecutive_errors": (
        "a rollout that fails is repeated, then left unscored"
    ),
    "termination_config.pessimism_enabled": "max_trials_without_improvement ends a search",
}
_MIPRO: Final = {
    "results_file": "results_folder says where results go",
    "ontology": "there is no ontology",
    "parallel_risk": "max_parallel_trials decides",
    "token_counting_model": "providers count tokens",
    "tpe.gamma": "the sampler splits trials by its own rule",
    "tpe.alpha": "the sampler smooths by its own rule",
    "tpe.prior_weight": "the sampler weighs its prior by its own rule",
}
_GEPA: Final = {
    "token.counting_model": "providers count tokens",
    "adaptive_pool": "its Pareto rows stay as they are, and adaptive_batch says how many are taken",
    "evaluation.validation_pool": "validation_seeds say which rows they are",
}
_GEPA_MODULE: Final = {
    "max_instruction_slots": "every prompt has one instruction, and as many are tried as pay",
    "allowed_tools": "the task app decides which tools it offers",
    "max_tokens": "token.max_limit holds for the instructions of every stage",
}
# What only the `tpe` engine does, and only by our own protocol.
_TPE: Final = {
    "proxy_models": "predicted rewards are for searches that measure their finalists in the end",
    "mipro.adaptive_pool": "the race chooses rows by itself, MIPROv2's protocol draws them evenly",
}


def report_idle(raw: Raw, findings: Findings, *, algorithm: str) -> None:
    """Warns of every setting that is given and has no effect, once.

    Args:
        raw: The canonical table, to tell an absent value from a default.
        findings: Told of everything.
        algorithm: The job's; the whole table of another one is named rather than its keys.
    """
    gepa = algorithm == "gepa"
    own, other = ("gepa", "mipro") if gepa else ("mipro", "gepa")
    _warn_of(_EVERYWHERE.items(), raw, findings)
    settings = _GEPA if gepa else _MIPRO
    _warn_of(((f"{own}.{key}", why) for key, why in settings.items()), raw, findings)
    if gepa:
        _warn_of((("proxy_models", "a job of GEPA measures every reward"),), raw, findings)
        _warn_of_modules(raw, findings)
    if not gepa and _other_engine(raw):
        _warn_of(_TPE.items(), raw, findings)
    if not gepa and algorithm != "mipro" and _value(raw, "mipro.repeats") not in _QUIET:
        findings.warn("mipro.repeats", f'has no effect here: algorithm = "{algorithm}" has none')
    if raw.get(other):
        findings.warn(other, f'has no effect here: algorithm = "{algorithm}" does not read it')
    if not gepa and str(_value(raw, "mipro.proposer_mode") or "synth").lower() != "synth":
        findings.warn(
            "mipro.proposer_mode",
            "has no effect here: there is one meta-prompt, and metaprompt may take its place",
        )
    if not gepa and _value(raw, "mipro.demo.include_empty") is False:
        findings.warn("mipro.demo.include_empty", "has no effect here: no demos are always offered")


def _warn_of_modules(raw: Raw, findings: Findings) -> None:
    """Warns of what GEPA's modules say to no effect, and of prompts that are not there."""
    modules = _value(raw, "gepa.modules")
    for index, module in enumerate(modules if isinstance(modules, list) else ()):
        for key, why in _GEPA_MODULE.items():
            if isinstance(module, dict) and module.get(key) not in _QUIET:
                findings.warn(f"gepa.modules[{index}].{key}", f"has no effect here: {why}")
    kind = str(_value(raw, "gepa.proposer_type") or "synth").lower()
    if kind not in {"synth", "spec"}:
        findings.warn(
            "gepa.proposer_type",
            "has no effect here: there is one prompt for rewrites, and metaprompt may take its"
            " place",
        )


def _other_engine(raw: Raw) -> bool:
    """Whether rows are chosen by another engine or protocol than `tpe` has by itself."""
    engine, protocol = _value(raw, "mipro.engine"), _value(raw, "mipro.protocol")
    return str(engine).lower() == "race" or str(protocol).lower() == "miprov2"


def _warn_of(settings: Iterable[tuple[str, str]], raw: Raw, findings: Findings) -> None:
    for path, why in settings:
        value = _value(raw, path)
        if value not in _QUIET and not _switched_off(value):
            findings.warn(path, f"has no effect here: {why}")


def _value(raw: Raw, path: str) -> object:
    node: object = raw
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _switched_off(value: object) -> bool:
    if isinstance(value, dict):
        return value.get("enabled") is False or str(value.get("level", "")).upper() == "NONE"
    return value is False

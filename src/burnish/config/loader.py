"""Takes a raw mapping through all steps of loading: dialect, names, types, rules, unknown keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from burnish.config import native, rules
from burnish.config.base import Raw, read_model, unknown_keys
from burnish.config.engine import choose_engine
from burnish.config.normalize import normalize
from burnish.config.problems import Findings, PathNames, nearest
from burnish.config.source import apply_overrides, clean_copy, expand
from burnish.config.table import Table

if TYPE_CHECKING:
    from burnish.config.prompt_learning import PromptLearningConfig

SECTIONS = ("prompt_learning", "policy_optimization")
_DROPPED = {
    "display": "belongs to the command line and is ignored",
    "env_file_path": "is ignored; set the variables before you start",
}
_TOLERATED = frozenset({"defaults_version"})
_FORBIDDEN_URLS = frozenset({"inference_url", "api_base", "base_url"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is laid over a file.

    Attributes:
        overrides: Dotted keys or nested tables.
        env: Environment variables.
    """

    overrides: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def load(
    cls: type[PromptLearningConfig],
    data: Mapping[str, object],
    inputs: Inputs,
    findings: Findings,
) -> PromptLearningConfig | None:
    """Reads a mapping of any dialect; None when too little of it could be read."""
    root = clean_copy(data, findings)
    section = _section_name(root, findings)
    apply_overrides(
        root, clean_copy(inputs.overrides, findings), section=section, findings=findings
    )
    root = expand(root, inputs.env, findings)
    table = _section(root, section, findings)
    ours = section == "job"
    if ours:
        table = native.translate(root, inputs.env, findings)
    elif not table.get("task_app_api_key") and inputs.env.get("ENVIRONMENT_API_KEY"):
        table["task_app_api_key"] = inputs.env["ENVIRONMENT_API_KEY"]
    normalize(Table(table, findings))
    choose_engine(Table(table, findings))
    if ours:
        native.size_by_default(table, root)
    _drop_leftovers(table, findings)
    config = read_model(cls, table, findings)
    if config is None:
        return None
    _report_unknown(config, findings, ours=ours)
    rules.check(config, table, findings)
    return config


def _section_name(root: Raw, findings: Findings) -> str:
    names = [name for name in (*SECTIONS, "job") if isinstance(root.get(name), dict)]
    if len(names) > 1:
        findings.problem(
            names[1],
            root[names[1]],
            f"stands beside `{names[0]}`",
            "keep one job per file",
        )
    return names[0] if names else ""


def _section(root: Raw, section: str, findings: Findings) -> Raw:
    findings.names = PathNames(section)
    if section in ("", "job"):
        return root
    table = cast(Raw, root[section])
    outer = root.get("termination_config")
    if isinstance(outer, dict):
        inner = table.get("termination_config")
        table["termination_config"] = (inner if isinstance(inner, dict) else {}) | outer
    for name, value in root.items():
        if name in (section, "termination_config"):
            continue
        if name in _DROPPED:
            findings.warnings.append(f"`{name}`: {_DROPPED[name]}")
        elif name not in SECTIONS and name != "job":
            kind = "section" if isinstance(value, dict) else "key"
            findings.warnings.append(f"`{name}`: unknown {kind} beside `{section}`, ignored")
    return table


def _drop_leftovers(table: Raw, findings: Findings) -> None:
    for name, reason in _DROPPED.items():
        if table.pop(name, None) is not None:
            findings.warn(name, reason)


def _report_unknown(config: PromptLearningConfig, findings: Findings, *, ours: bool) -> None:
    for path, value, known in unknown_keys(config):
        name = path.rpartition(".")[2]
        policy = path.rpartition(".")[0].rpartition(".")[2] in {"policy", "policy_config"}
        if ".checks[" in path or name in _TOLERATED:
            continue
        if policy and name in _FORBIDDEN_URLS:
            findings.problem(
                path,
                value,
                "is forbidden in a policy: the optimiser gives the URL of every rollout",
                "remove it; a self-hosted model takes upstream_base_url",
            )
            continue
        close = nearest(name, known)
        hint = f"did you mean `{close}`?" if close else "remove it"
        if ours:
            findings.problem(path, value, "is not a known key", hint)
        else:
            findings.warn(path, f"unknown key, ignored; {hint}")

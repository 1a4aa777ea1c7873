"""Prepares a raw mapping: bounds, overrides and references to environment variables."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from typing import cast

from pydantic import BaseModel, SecretStr

from burnish.config.base import Raw, join
from burnish.config.problems import Findings, is_secret_key, is_text_path
from burnish.config.toml_text import MAX_DEPTH, MAX_DOTS

_NOT_OVERRIDES = frozenset({"backend", "task_url", "metadata", "auto_start"})
_REFERENCE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_NEEDS_ESCAPE = re.compile(r"\$(?=[$A-Za-z_{])")
_MAX_VALUES = 4_000_000


def clean_copy(data: Mapping[str, object], findings: Findings) -> Raw:
    """Copies a mapping as plain tables, arrays and scalars, refusing anything else in it.

    The caller's mapping is never changed. A value that cannot travel as JSON is reported and left
    out: dates, NaN, infinities, objects, and nesting beyond the bound.
    """
    budget = [_MAX_VALUES]
    copied = _copy(data, "", 0, findings, budget)
    return cast(Raw, copied) if isinstance(copied, dict) else {}


def _copy(value: object, path: str, depth: int, findings: Findings, budget: list[int]) -> object:
    budget[0] -= 1
    if depth > MAX_DEPTH:
        findings.problem(path, value, f"nests more than {MAX_DEPTH} deep", "use fewer tables")
        return None
    if budget[0] < 0:
        findings.problem("", value, "holds too many values", "make it smaller")
        return None
    if isinstance(value, Mapping):
        table = {
            str(key): _copy(item, join(path, str(key)), depth + 1, findings, budget)
            for key, item in value.items()
        }
        return {key: item for key, item in table.items() if item is not None}
    if isinstance(value, list | tuple):
        items = [
            _copy(item, join(path, index), depth + 1, findings, budget)
            for index, item in enumerate(value)
        ]
        return [item for item in items if item is not None]
    if isinstance(value, float) and not math.isfinite(value):
        findings.problem(path, value, "is not a finite number", "give a finite number")
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, range):
        return {"start": value.start, "end": value.stop, "step": value.step}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        dumped = value.model_dump(mode="python", exclude_none=True)
        return _copy(dumped, path, depth, findings, budget)
    findings.problem(
        path, type(value).__name__, "is of a type that a job cannot carry", "write it as text"
    )
    return None


def apply_overrides(
    data: Raw, overrides: Mapping[str, object], *, section: str, findings: Findings
) -> None:
    """Merges overrides into a file's tables, in place.

    Args:
        data: The file.
        overrides: Dotted keys or nested tables, or either below one key `overrides`.
        section: Name of the file's section, empty when the root table is the section.
        findings: Told of overrides that lead into a value.
    """
    nested = overrides.get("overrides")
    flat = dict(overrides)
    if isinstance(nested, Mapping):
        del flat["overrides"]
        flat.update({str(key): value for key, value in nested.items()})
    for key, value in flat.items():
        if str(key) in _NOT_OVERRIDES:
            continue
        keys = str(key).split(".")
        if keys[0] in {"prompt_learning", "policy_optimization"} and section != "job":
            keys = ([section] if section else []) + keys[1:]
        if len(keys) > MAX_DOTS or not all(keys):
            findings.problem(f"overrides.{key[:80]}", None, "is not a dotted key", "name a key")
            continue
        _merge(data, keys, value, findings)
    prefix = f"{section}." if section else ""
    findings.overridden = {path.removeprefix(prefix) for path in findings.overridden}


def _merge(data: Raw, keys: list[str], value: object, findings: Findings) -> None:
    path = ".".join(keys)
    node: Raw = data
    for key in keys[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            findings.problem(
                f"overrides.{path}", value, f"`{key}` is not a table", "name a key of a table"
            )
            return
        node = child
    old = data if not keys else node.get(keys[-1])
    if isinstance(value, Mapping) and (isinstance(old, dict) or (old is None and value)):
        for key, item in value.items():
            _merge(data, [*keys, str(key)], item, findings)
    elif not keys:
        findings.problem("overrides", value, "replaces a whole section", "give a table")
    else:
        node[keys[-1]] = copy.deepcopy(value)
        findings.overridden.add(path)


def expand(data: Raw, env: Mapping[str, str], findings: Findings) -> Raw:
    """Replaces `$VAR` and `${VAR}` in every text that is not a prompt; `$$` stands for `$`.

    A variable that is not set is a problem that names it. For a key it is a warning, and the key
    is left out: it may come from elsewhere, and an app may need none.
    """
    expanded = _expand(data, "", env, findings)
    return cast(Raw, expanded) if isinstance(expanded, dict) else {}


def _expand(value: object, path: str, env: Mapping[str, str], findings: Findings) -> object:
    if isinstance(value, dict):
        table = {k: _expand(v, join(path, str(k)), env, findings) for k, v in value.items()}
        return {key: item for key, item in table.items() if item is not None}
    if isinstance(value, list):
        return [_expand(v, join(path, i), env, findings) for i, v in enumerate(value)]
    if not isinstance(value, str) or "$" not in value or is_text_path(path):
        return value
    missing: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name is None:
            return "$"
        if not env.get(name):
            missing.append(name)
            return ""
        return env[name]

    text = _REFERENCE.sub(replace, value)
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        if is_secret_key(path):
            findings.warn(path, f"environment variable {names} is not set, so there is no key")
            return None
        findings.problem(
            path,
            value,
            f"environment variable {names} is not set",
            f"export {names}, or write the value",
        )
        return None
    if text != value:
        findings.references[findings.names.written(path)] = repr(value)
    return text


def escape(value: object, path: str = "") -> object:
    """Undoes `expand`: writes `$$` where a text would be read as a reference."""
    if isinstance(value, dict):
        return {key: escape(item, join(path, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item, join(path, index)) for index, item in enumerate(value)]
    if isinstance(value, str) and not is_text_path(path):
        return _NEEDS_ESCAPE.sub("$$", value)
    return value

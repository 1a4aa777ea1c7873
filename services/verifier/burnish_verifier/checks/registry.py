"""Every check that a graph may name: those built in, and those that plug-ins offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from burnish.errors import AlreadyExists
from burnish_runtime.plugins import load
from burnish_verifier.checks import json_schema, numeric, python_tests, regex, sql_result, text
from burnish_verifier.checks.base import CheckKind, SandboxedKind

GROUP = "burnish.verifier_checks"
_BUILT_IN: tuple[CheckKind | SandboxedKind, ...] = (
    *text.KINDS,
    *regex.KINDS,
    *numeric.KINDS,
    *json_schema.KINDS,
    *sql_result.KINDS,
    *python_tests.KINDS,
)


class CheckNameTaken(AlreadyExists):
    """A plug-in offers a check under a name that another has. Do not retry."""

    default_reason = "CHECK_NAME_TAKEN"


def built_in() -> dict[str, CheckKind | SandboxedKind]:
    """Returns the checks that come with the verifier, by name."""
    return {kind.name: kind for kind in _BUILT_IN}


def with_plugins(
    found: Mapping[str, object] | None = None,
) -> dict[str, CheckKind | SandboxedKind]:
    """Returns every check, by name.

    Args:
        found: Plug-ins by name; None loads those that are installed.

    Raises:
        CheckNameTaken: A plug-in has the name of a built-in check.
        PluginsUnusable: A plug-in cannot be loaded.
    """
    plugins = load(GROUP, accepts=_is_kind) if found is None else found
    kinds = built_in()
    taken = sorted(set(plugins) & set(kinds))
    if taken:
        raise CheckNameTaken(
            f"plug-in checks {', '.join(taken)} have names of built-in checks; rename them",
            metadata={"names": ", ".join(taken)},
        )
    return kinds | {name: kind for name, kind in plugins.items() if _is_kind(kind)}


def _is_kind(plugin: object) -> TypeGuard[CheckKind | SandboxedKind]:
    return isinstance(plugin, CheckKind | SandboxedKind)

"""Plug-ins: objects that installed packages offer under the entry points of a group.

They are loaded when a service starts, so that a broken one stops it there and not in the middle of
a job, and two with one name are an error rather than a race.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

from burnish.errors import FailedPrecondition


class PluginsUnusable(FailedPrecondition):
    """Plug-ins clash, cannot be imported, or are not what their group is for."""

    default_reason = "PLUGINS_UNUSABLE"


def load(
    group: str,
    *,
    accepts: Callable[[object], bool] | None = None,
    found: Iterable[EntryPoint] | None = None,
) -> dict[str, object]:
    """Imports the plug-ins of a group.

    Args:
        group: Entry-point group, such as `burnish.search_algorithms`.
        accepts: Says whether an object can be a plug-in of the group; None takes all.
        found: Entry points to use in place of those installed.

    Returns:
        The plug-ins by name, in order of name.

    Raises:
        PluginsUnusable: With every problem found.
    """
    offers: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for entry in entry_points(group=group) if found is None else found:
        # One package seen twice on the path, as an editable install is, is no clash.
        offers[entry.name].setdefault(_origin(entry), entry)
    problems: dict[str, str] = {}
    loaded: dict[str, object] = {}
    for name, by_origin in sorted(offers.items()):
        if len(by_origin) > 1:
            problems[name] = (
                f"plug-in `{name}` of `{group}` is offered by {' and '.join(sorted(by_origin))}; "
                "uninstall all but one"
            )
            continue
        ((origin, entry),) = by_origin.items()
        try:
            plugin = entry.load()
        except Exception as error:
            # Foreign code may raise anything while it is imported.
            problems[name] = (
                f"plug-in `{name}` of `{group}`, from {origin}, cannot be imported: "
                f"{type(error).__name__}: {error}"
            )
            continue
        if accepts is not None and not accepts(plugin):
            problems[name] = f"plug-in `{name}` from {origin} is not one for `{group}`"
            continue
        loaded[name] = plugin
    if problems:
        raise PluginsUnusable("; ".join(problems.values()), metadata=problems)
    return loaded


def _origin(entry: EntryPoint) -> str:
    distribution = "no package" if entry.dist is None else entry.dist.name
    return f"{distribution} ({entry.value})"

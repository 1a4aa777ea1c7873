"""Who may write instructions: the built-in writer and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from burnish.errors import InvalidArgument
from burnish_proposer.grounded import NAME, GroundedWriter
from burnish_proposer.writers import Writer
from burnish_runtime import plugins

PLUGIN_GROUP = "burnish.proposers"


class ProposerUnknown(InvalidArgument):
    """A request names a proposer that is not installed. Never valid here; do not retry."""

    default_reason = "PROPOSER_UNKNOWN"


def load_writers(found: list[EntryPoint] | None = None) -> dict[str, Writer]:
    """Returns every writer by name, the built-in one first.

    Args:
        found: Entry points to use in place of those installed.

    Raises:
        PluginsUnusable: A plug-in cannot be imported or made, is not a writer, or takes the name of
            the built-in one.
    """
    writers: dict[str, Writer] = {NAME: GroundedWriter()}
    problems: dict[str, str] = {}
    for name, factory in plugins.load(PLUGIN_GROUP, accepts=callable, found=found).items():
        if name == NAME:
            problems[name] = f"plug-in `{name}` of `{PLUGIN_GROUP}` has the built-in one's name"
            continue
        try:
            writer = factory() if callable(factory) else None
        except Exception as error:
            # Foreign code may raise anything while it is made.
            problems[name] = (
                f"plug-in `{name}` of `{PLUGIN_GROUP}` cannot be made: "
                f"{type(error).__name__}: {error}"
            )
            continue
        if isinstance(writer, Writer):
            writers[name] = writer
        else:
            problems[name] = (
                f"plug-in `{name}` of `{PLUGIN_GROUP}` has no `description` and `write`; see"
                " `burnish_proposer.writers.Writer`"
            )
    if problems:
        raise plugins.PluginsUnusable("; ".join(problems.values()), metadata=problems)
    return writers


def find_writer(writers: Mapping[str, Writer], name: str) -> Writer:
    """Returns the writer of a name.

    Raises:
        ProposerUnknown: There is none.
    """
    writer = writers.get(name)
    if writer is None:
        raise ProposerUnknown(
            f"proposer `{name}` is not installed; use one of {', '.join(writers)}",
            metadata={"proposer": name},
        )
    return writer

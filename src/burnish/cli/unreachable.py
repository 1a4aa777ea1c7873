"""What to tell when the controller does not answer: which one, who named it, and what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from burnish.errors import BurnishError, Unavailable

# In the order in which `burnish.connection` asks them; docs/cli.md has it too.
_VARIABLES = ("BURNISH_TARGET", "BACKEND_BASE_URL", "SYNTH_BACKEND_URL")


def clarified(error: BurnishError, given: Mapping[str, object]) -> BurnishError:
    """Returns an error of a command, in our words when it is gRPC's that nobody answers.

    Args:
        error: What ended the command.
        given: What the command was given, by parameter.
    """
    # A server of ours gives a reason of its own; without one, no server was reached.
    if "backend" not in given or error.reason != Unavailable.default_reason:
        return error
    from burnish.connection import find_connection

    backend, directory = given["backend"], given.get("state_dir")
    target = backend if isinstance(backend, str) else None
    here = directory if isinstance(directory, Path) else None
    found = find_connection(target, directory=here)
    if found is None:
        return error
    source = "--backend" if target else next((n for n in _VARIABLES if os.environ.get(n)), "")
    why = "nothing answers there"
    if "resolution" in error.message:
        why = "no host of that name is known"
    elif ":" not in found.target:
        why = "it names no port"
    return Unavailable(
        f"backend `{found.target}` (from {source or 'the suite that runs here'}): "
        f"{why}; start a suite with `burnish up`, or correct the address",
        reason=error.reason,
        metadata={**error.metadata, "target": found.target},
    )

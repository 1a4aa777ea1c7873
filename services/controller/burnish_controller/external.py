"""Proposers outside the suite that the operator allows, by the names that jobs call them by.

A job never says where a proposer is, only its name: a spec that could name an address would have
the controller send rows of data wherever its author likes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from burnish.errors import InvalidArgument

VARIABLE = "BURNISH_PROPOSERS"
TOKEN_VARIABLE = "BURNISH_PROPOSERS_TOKEN"  # noqa: S105
BUILT_IN = "grounded"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_TARGET = re.compile(r"(?:dns:///)?[^\s,=/]+:\d{1,5}|unix:\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalProposers:
    """Proposers by name.

    Attributes:
        targets: gRPC target of each.
        token: Bearer token that calls to them carry; None sends none.
    """

    targets: Mapping[str, str] = field(default_factory=dict)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ExternalProposers:
        """Reads `BURNISH_PROPOSERS`, such as `mine=10.0.0.7:50060,other=dns:///other:50060`.

        The token is in `BURNISH_PROPOSERS_TOKEN`, or in the file that
        `BURNISH_PROPOSERS_TOKEN_FILE` names.

        Raises:
            InvalidArgument: With every problem found. Never valid; do not retry.
        """
        targets: dict[str, str] = {}
        problems: list[str] = []
        for entry in filter(None, (part.strip() for part in environ.get(VARIABLE, "").split(","))):
            name, _, target = (part.strip() for part in entry.partition("="))
            if not _NAME.fullmatch(name) or not _TARGET.fullmatch(target):
                problems.append(f"`{entry}` is not `name=host:port`")
            elif name == BUILT_IN:
                problems.append(f"`{name}` is the built-in proposer; choose another name")
            elif name in targets:
                problems.append(f"`{name}` is there twice; keep one")
            targets[name] = target
        token = environ.get(TOKEN_VARIABLE, "").strip()
        file = environ.get(f"{TOKEN_VARIABLE}_FILE", "").strip()
        if file and not token:
            try:
                token = Path(file).expanduser().read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError):
                problems.append(f"`{TOKEN_VARIABLE}_FILE` cannot be read; check the path")
        if problems:
            raise InvalidArgument(
                f"`{VARIABLE}`: " + "; ".join(problems),
                reason="PROPOSERS_INVALID",
                metadata={"variable": VARIABLE},
            )
        return cls(targets=targets, token=token or None)

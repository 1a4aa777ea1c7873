"""What a verifier is told by its environment beside what every service is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from burnish_runtime.settings import Secret, SettingsInvalid
from burnish_verifier.sandbox.pool import Demand

_DEMANDS = get_args(Demand)
_MOST_PROCESSES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSettings:
    """Settings of the verifier.

    Attributes:
        remote_nodes: gRPC targets that graphs may name as remote nodes.
        remote_token: Bearer token that remote nodes are shown; None shows none. It is never the
            token of the suite.
        sandbox: `network` runs code where it has no network, and refuses to run it elsewhere;
            `limits` runs it with limits alone; `off` runs none.
        sandbox_processes: Most runs of code at once.
    """

    remote_nodes: frozenset[str] = frozenset()
    remote_token: Secret | None = None
    sandbox: Demand = "network"
    sandbox_processes: int = 2

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> VerifierSettings:
        """Reads the variables that begin with `BURNISH_VERIFIER_`.

        Raises:
            SettingsInvalid: With every problem found. Never valid; do not retry.
        """
        problems = []
        sandbox = environ.get("BURNISH_VERIFIER_SANDBOX", "").strip().lower() or "network"
        if sandbox not in _DEMANDS:
            problems.append(
                f"`BURNISH_VERIFIER_SANDBOX` is {sandbox!r}; give one of {', '.join(_DEMANDS)}"
            )
        count = environ.get("BURNISH_VERIFIER_SANDBOX_PROCESSES", "").strip() or "2"
        if not count.isdecimal() or not 1 <= int(count) <= _MOST_PROCESSES:
            problems.append(
                f"`BURNISH_VERIFIER_SANDBOX_PROCESSES` is {count!r}; give a number in "
                f"[1, {_MOST_PROCESSES}]"
            )
        file = environ.get("BURNISH_VERIFIER_REMOTE_TOKEN_FILE", "").strip()
        token = environ.get("BURNISH_VERIFIER_REMOTE_TOKEN", "").strip()
        if file and token:
            problems.append(
                "`BURNISH_VERIFIER_REMOTE_TOKEN` and `BURNISH_VERIFIER_REMOTE_TOKEN_FILE` are both "
                "set; unset one"
            )
        elif file:
            try:
                token = Path(file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(
                    f"`BURNISH_VERIFIER_REMOTE_TOKEN_FILE` cannot be read: {type(error).__name__}"
                )
        if problems:
            raise SettingsInvalid("; ".join(problems), metadata={"problems": str(len(problems))})
        targets = environ.get("BURNISH_VERIFIER_REMOTE_NODES", "").split(",")
        return cls(
            remote_nodes=frozenset(target.strip() for target in targets if target.strip()),
            remote_token=Secret(token) if token else None,
            sandbox=cast("Demand", sandbox),
            sandbox_processes=int(count),
        )


def remote_refusal(target: str, allowed: frozenset[str]) -> str:
    """Returns why a remote target is not asked; empty for one that is on the allow-list."""
    if target in allowed:
        return ""
    return (
        f"`target` {target!r} is not on this verifier's allow-list; let the operator add it to "
        "`BURNISH_VERIFIER_REMOTE_NODES`"
    )

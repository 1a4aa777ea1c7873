"""Released optimisers as peers, in the environment that scripts/peers_env.sh makes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.search_parts.engines import Outcome
from benchmarks.search_parts.worlds import World

_ROOT = Path(__file__).resolve().parents[2]
PYTHON = _ROOT / ".venv-peers" / "bin" / "python"


def installed() -> bool:
    """Whether the environment was made."""
    return PYTHON.exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A released optimiser with its settings.

    Attributes:
        name: What to call it in a table.
        method: `miprov2` or `gepa`.
        settings: Its settings.
    """

    name: str
    method: str
    settings: Mapping[str, object]


MIPROV2 = Peer(name="MIPROv2", method="miprov2", settings={"num_trials": 40})
MIPROV2_LIGHT = Peer(name="MIPROv2 light", method="miprov2", settings={"auto": "light"})
GEPA = Peer(name="GEPA", method="gepa", settings={})


class Runner:
    """A process of the peers' environment that answers one task after another."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [str(PYTHON), "-m", "benchmarks.search_parts.peer_runs"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # No network is needed; this keeps DSPy's cache of replies where it is thrown away.
            env={"DSPY_CACHEDIR": self._folder.name, "HOME": self._folder.name},
        )

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        self._folder.cleanup()

    def run(self, peer: Peer, world: World, *, budget: int) -> dict[str, object]:
        """Runs a peer in a world and returns what it recorded.

        Raises:
            RuntimeError: The process ended; what it wrote is on the terminal.
        """
        path = Path(self._folder.name) / "world.npy"
        np.save(path, world.seen)
        task = {
            **peer.settings,
            "method": peer.method,
            "path": str(path),
            "shape": world.shape,
            "seed": world.seed,
            "budget": budget,
        }
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process of the peers has no pipes")
        print(json.dumps(task), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{peer.name} ended with {self._process.wait()}")
        found: dict[str, object] = json.loads(answer)
        return found


def outcomes(log: object, budgets: Sequence[int]) -> list[Outcome]:
    """Returns what a peer would have recommended at each budget, the default before it has any.

    Args:
        log: Evaluations spent, incumbent and its mean, after each evaluation.
        budgets: Where to look.
    """
    if not isinstance(log, list):
        raise TypeError(f"a log is a list, not {type(log).__name__}")
    found = []
    for budget in budgets:
        until = [entry for entry in log if entry[0] <= budget]
        spent, arm, mean = until[-1] if until else (0, 0, None)
        found.append(Outcome(budget=budget, spent=spent, arm=arm, reported=mean))
    return found

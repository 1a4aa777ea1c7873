"""The chapters of benchmarks/search.py, and what each of them is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.search_parts.bounds import Table
from benchmarks.search_parts.matrices import Matrix
from benchmarks.search_parts.runs import Method, run, tasks
from benchmarks.search_parts.worlds import Environment

_LEAST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a chapter is given.

    Attributes:
        matrices: Every usable matrix.
        processes: Worlds at once.
        share: Share of the worlds to run, in (0, 1].
    """

    matrices: tuple[Matrix, ...]
    processes: int
    share: float

    @property
    def wide(self) -> tuple[Matrix, ...]:
        """Matrices with something to find and rows enough for a grid; all live ones without any."""
        live = tuple(matrix for matrix in self.matrices if matrix.live)
        return tuple(matrix for matrix in live if len(matrix.rewards) >= 72) or live

    @property
    def flat(self) -> tuple[Matrix, ...]:
        """Matrices whose rows are arms of their own."""
        return tuple(m for m in self.matrices if m.live and len(m.rewards) >= 36)

    @property
    def null(self) -> tuple[Matrix, ...]:
        """Matrices with nothing to find."""
        return tuple(matrix for matrix in self.matrices if matrix.null)

    def grid(self, name: str = "grid 6 x 12", **changes: object) -> Environment:
        """Returns an environment of grids."""
        given: dict[str, object] = {"kind": "grid", "matrices": self.wide, **changes}
        return Environment(name=name, **given)  # type: ignore[arg-type]

    def run(self, environment: Environment, methods: Iterable[Method], *, worlds: int) -> Table:
        """Runs methods in about so many worlds of an environment, the same for each method."""
        count = len(environment.matrices)
        repetitions = max(round(self.share * worlds / count), -(-_LEAST // count))
        listed = tasks(environment, methods, repetitions=repetitions)
        return Table(run(listed, processes=self.processes))

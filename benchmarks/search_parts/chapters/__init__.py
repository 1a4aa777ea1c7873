"""The chapters of benchmarks/search.py, and what each of them is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmarks.search_parts.bounds import Report, Table
from benchmarks.search_parts.matrices import Matrix
from benchmarks.search_parts.pace import Pace
from benchmarks.search_parts.runs import Method, run, tasks
from benchmarks.search_parts.worlds import Environment

_LEAST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a chapter is given.

    Attributes:
        matrices: Every usable matrix.
        processes: Worlds at once.
        share: Share of the worlds to run.
        pace: How long tables may take.
    """

    matrices: tuple[Matrix, ...]
    processes: int
    share: float
    pace: Pace = field(default_factory=Pace)

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

    def lacks(self, environment: Environment, report: Report) -> bool:
        """Whether the folder has nothing to make an environment of, which the report then tells."""
        note = f"{environment.name}: the folder holds no such matrix"
        if not environment.matrices and note not in report.notes:
            report.notes.append(note)
        return not environment.matrices

    def repetitions(
        self, environment: Environment, worlds: int, *, part: float = 1.0
    ) -> Iterator[int]:
        """Yields repetitions, in each of them a world of every matrix.

        Args:
            environment: What worlds are made of.
            worlds: About how many there are to be, were the share 1 and time no matter.
            part: Part of the chapter's time that is left for them.
        """
        count = len(environment.matrices)
        least = -(-_LEAST // count)
        most = max(round(self.share * worlds / count), least)
        return self.pace.repetitions(environment.name, most, least=least, part=part)

    def run(
        self,
        environment: Environment,
        methods: Iterable[Method],
        *,
        worlds: int,
        part: float = 1.0,
    ) -> Table:
        """Runs methods in about so many worlds of an environment, the same for each method."""
        repetitions = self.repetitions(environment, worlds, part=part)
        listed = tasks(environment, methods, repetitions)
        return Table(run(listed, processes=self.processes))

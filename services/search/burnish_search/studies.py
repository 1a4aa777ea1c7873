"""The studies in memory: one lock per study, the least recently used ones dropped.

Nothing is lost when a study is dropped: the controller is told STUDY_STALE and refills it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from burnish_search import objectives
from burnish_search.algorithms.base import Algorithm
from burnish_search.model import StudySpec
from burnish_search.problems import StudyInvalid, StudyStale, StudyUnknown
from burnish_search.study import Study

_M = TypeVar("_M")
_CAPACITY = 256


@dataclass(slots=True)
class Held(Generic[_M]):
    """A study in memory.

    Attributes:
        study: The study.
        message: The study as it was given.
        lock: Held while the study is read or changed.
    """

    study: Study
    message: _M
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Studies(Generic[_M]):
    """Studies by name."""

    def __init__(
        self, algorithms: Mapping[str, type[Algorithm]], *, capacity: int = _CAPACITY
    ) -> None:
        self.algorithms = dict(sorted(algorithms.items()))
        self._capacity = capacity
        self._held: OrderedDict[str, Held[_M]] = OrderedDict()

    def build(self, spec: StudySpec, problems: Sequence[str] = ()) -> Study:
        """Builds a study at revision 0, without keeping it.

        Args:
            spec: What it is created with.
            problems: What is known to be wrong with it.

        Raises:
            StudyInvalid: The algorithm is not installed, its settings cannot be used, or there
                were problems before; lists all of them.
        """
        algorithm = self.algorithms.get(spec.algorithm)
        if algorithm is None:
            known = ", ".join(f"`{name}`" for name in self.algorithms)
            missing = f"algorithm `{spec.algorithm}` is not installed; there are {known}"
            raise StudyInvalid(spec.name, [missing, *problems])
        rest, objective, wrong = objectives.split(spec.settings)
        problems = [*problems, *wrong]
        try:
            built = algorithm(replace(spec, settings=rest))
        except StudyInvalid as error:
            raise StudyInvalid(spec.name, [*problems, *error.problems]) from error
        if problems:
            raise StudyInvalid(spec.name, problems)
        return Study(spec, built, objective)

    def keep(self, study: Study, message: _M) -> None:
        """Keeps a study, in place of one of the same name."""
        self._held[study.spec.name] = Held(study, message)
        self._held.move_to_end(study.spec.name)
        while len(self._held) > self._capacity:
            self._held.popitem(last=False)

    def drop(self, name: str) -> None:
        """Drops a study.

        Raises:
            StudyUnknown: There is none of that name.
        """
        if self._held.pop(name, None) is None:
            raise StudyUnknown(name)

    @asynccontextmanager
    async def read(self, name: str) -> AsyncIterator[Held[_M]]:
        """Holds a study.

        Raises:
            StudyUnknown: There is none of that name.
        """
        while True:
            held = self._held.get(name)
            if held is None:
                raise StudyUnknown(name)
            async with held.lock:
                # It may have been replaced while this call waited for the lock.
                if self._held.get(name) is held:
                    self._held.move_to_end(name)
                    yield held
                    return

    @asynccontextmanager
    async def advance(self, name: str, *, wanted: int) -> AsyncIterator[Study]:
        """Holds a study that the controller believes to be at revision `wanted`.

        Raises:
            StudyStale: There is none of that name: it has to be refilled.
        """
        if name not in self._held:
            raise StudyStale(name, revision=0, wanted=wanted, why="it is not in the cache")
        async with self.read(name) as held:
            yield held.study

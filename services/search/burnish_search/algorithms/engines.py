"""MIPRO's two engines: the race, and Optuna's TPE as MIPROv2 has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from burnish_search.algorithms.base import Algorithm, Ask, QuickAlgorithm
from burnish_search.algorithms.mipro import tpe_engine
from burnish_search.algorithms.race import Race
from burnish_search.algorithms.repeats import Repeats
from burnish_search.algorithms.settings import Reader
from burnish_search.history import History
from burnish_search.model import FinishPlan, Plan, Ranked, StudySpec
from burnish_search.problems import StudyInvalid

_ENGINES: Mapping[str, Callable[[StudySpec], Algorithm]] = {"race": Race, "tpe": tpe_engine}
# Where a job is created without a file; a file names one.
_DEFAULT = "tpe"
# Those whose pooled estimates hold on rows that no search saw, as they model rows, too.
_MODELLED = frozenset({"race"})
_OWN = ("engine", "repeats")


class MiproEngines:
    """Hands a study to the engine that its settings name."""

    description: ClassVar[str] = (
        "Searches instruction and demo set of every stage together: `engine = race` compares "
        "candidates on shared rows, `engine = tpe` is Optuna's TPE on minibatches."
    )

    def __init__(self, spec: StudySpec) -> None:
        """Builds the engine.

        Raises:
            StudyInvalid: The engine is unknown, or refuses the spec.
        """
        name = spec.settings.get("engine", _DEFAULT)
        self._modelled = name in _MODELLED
        if name not in _ENGINES:
            known = ", ".join(f"`{one}`" for one in _ENGINES)
            raise StudyInvalid(spec.name, [f"setting `engine` is {name!r}; give one of {known}"])
        rest = {key: value for key, value in spec.settings.items() if key not in _OWN}
        reader = Reader({key: spec.settings[key] for key in _OWN if key in spec.settings}, path="")
        repeats = reader.whole("repeats", 1)
        try:
            self._engine = _ENGINES[str(name)](replace(spec, settings=rest))
        except StudyInvalid as error:
            raise StudyInvalid(spec.name, [*reader.problems, *error.problems]) from error
        if reader.problems:
            raise StudyInvalid(spec.name, reader.problems)
        self._quick = self._engine if isinstance(self._engine, QuickAlgorithm) else None
        most = spec.settings.get("max_trials")
        self._repeats = Repeats(
            spec, most=repeats, max_trials=int(most) if isinstance(most, int | float) else None
        )

    @property
    def warnings(self) -> Sequence[str]:
        """Settings that are known, but have no effect."""
        return self._engine.warnings

    def suggest(self, history: History, ask: Ask) -> Plan:
        """Returns the next plan."""
        plan = self._engine.suggest(history, ask)
        if isinstance(plan, FinishPlan) and self._repeats.wanted(plan):
            return self._repeats.plan(history, ask, self.rank(history, 2)) or plan
        return plan

    def is_quick(self, history: History) -> bool:
        """Whether the next plan takes about as little time as to hand it to a thread."""
        return self._quick is not None and self._quick.is_quick(history)

    def rank(self, history: History, count: int) -> Sequence[Ranked]:
        """Returns the best candidates, best first."""
        ranked = self._engine.rank(history, count)
        if not self._modelled or not history.rows:
            return ranked
        return [replace(one, expected=one.pooled) for one in ranked]

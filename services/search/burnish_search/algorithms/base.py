"""What an algorithm is: a pure function from a study's history to the next plan, and to a ranking.

The life of a study, and who calls what:

1. The service builds the algorithm once, from the study's spec; a setting that is wrong is raised
   there. No other state is given to it.
2. For every ask it calls `suggest` with the whole history. The plan is recorded in the log before
   anyone sees it, and a restored study takes recorded plans as they stand, so `suggest` may be
   called for ask 7 without ever having been called for asks 0 to 6.
3. It calls `rank` at any time.

An algorithm may keep caches, but no truth: the same history and the same ask must give the same
plan in a new instance in another process. It draws randomness from the spec's seed and from
positions in the history, never from a generator that it carries along.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from burnish_search.history import History
from burnish_search.model import Plan, Ranked, StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One ask.

    Attributes:
        index: Position of the ask, from 0.
        cell_count: Most cells that the answer may hold: what is left of the study's own limit and
            of the controller's budget. None is no limit.
    """

    index: int
    cell_count: int | None


class Algorithm(Protocol):
    """Decides what to try next. Registered under the entry point group `burnish.search_algorithms`.

    Attributes:
        description: One sentence on what it does.
        warnings: Settings of this study that are known, but have no effect, each with the reason.
    """

    description: ClassVar[str]
    warnings: Sequence[str]

    def __init__(self, spec: StudySpec) -> None:
        """Checks the spec.

        Raises:
            StudyInvalid: Settings or pools cannot be used; lists every problem.
        """

    def suggest(self, history: History, ask: Ask) -> Plan:
        """Returns the next plan.

        A plan of trials holds at least one trial, never more cells than the ask allows, and no row
        that its candidate was asked before under the same repeat, in the history or in the plan.

        Raises:
            SpaceIncomplete: There is no candidate yet.
        """

    def rank(self, history: History, count: int) -> Sequence[Ranked]:
        """Returns the best `count` of the candidates that were observed and the baseline.

        Best first; an algorithm may put candidates that its last phase has not looked at last.

        Raises:
            SpaceIncomplete: There is no candidate yet.
        """


@runtime_checkable
class QuickAlgorithm(Protocol):
    """What an algorithm may tell besides, that decides in well under a millisecond at times."""

    def is_quick(self, history: History) -> bool:
        """Whether the next plan takes about as little time as to hand it to a thread."""


def generator(spec: StudySpec, purpose: str, position: int) -> random.Random:
    """Returns a generator that depends on the study's seed, a purpose and a position alone."""
    return random.Random(f"{spec.random_seed}/{purpose}/{position}")  # noqa: S311 - not a secret

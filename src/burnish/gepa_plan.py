"""What GEPA's settings ask for at the most: candidates, trials and rollouts.

The search decides as it goes; this is what a job is told beforehand, by its settings alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GEPA: Final = "gepa"
DEFAULT_TOP_K: Final = 2
MOST_PER_ROUND: Final = 64
# Rows that a child is asked at once, of its minibatch.
BLOCK: Final = 4
LEAST_FEEDBACK: Final = 3
LEAST_PARETO: Final = 10
MOST_PARETO: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class GepaPlan:
    """The sizes of a search by GEPA.

    Attributes:
        generations: Generations after the initial population.
        children: Children in each.
        initial: Candidates of the initial population, the baseline not counted.
        minibatch: Feedback rows that children are compared with their parents on.
        pareto: Rows that accepted candidates are compared on.
        looked_at: Rows among them that one accepted candidate is measured on.
        top: Candidates that are scored again at the end.
    """

    generations: int
    children: int
    initial: int
    minibatch: int
    pareto: int
    looked_at: int
    top: int

    @property
    def trials(self) -> int:
        """Most trials: of parents, of children, and of those that are accepted."""
        # Rows that a child can win come first, in blocks of their own: one more than blocks alone.
        blocks = min(self.minibatch, math.ceil(self.minibatch / BLOCK) + 1)
        child = blocks + 1
        # Parents by the rollouts: a merge has two, each is looked at on two minibatches.
        bred = self.generations * self.children * (child + 4)
        return 3 + self.initial * child + bred + self.top

    def rollouts(self, *, validation: int) -> int:
        """Returns the most rollouts of the search, with every child accepted.

        Args:
            validation: Rows of the validation pool.
        """
        child = self.minibatch + self.looked_at
        # A merge has two parents, each is looked at on rows that are new to it, and on another
        # minibatch where it made no mistake on the first.
        generation = self.children * (child + 4 * self.minibatch)
        begin = self.pareto + self.minibatch + self.initial * child
        return begin + self.generations * generation + self.top * validation


def plan_of(settings: Mapping[str, object], *, online: int, stages: int) -> GepaPlan:
    """Returns what settings of the algorithm ask for.

    Args:
        settings: As the search service is sent them.
        online: Rows of the online pool.
        stages: Stages whose instruction is searched, at least 1.
    """
    batch = settings.get("adaptive_batch")
    adaptive = batch if isinstance(batch, Mapping) else {}
    pareto = pareto_count(_whole(settings, "pareto_set_size", 0), online=online)
    minibatch = _whole(settings, "minibatch_size", 8)
    looked_at = pareto
    if str(adaptive.get("level", "")).upper() not in {"", "NONE"}:
        minibatch = _whole(adaptive, "reflection_minibatch_size", minibatch)
        if str(adaptive.get("val_evaluation_mode", "")).lower() == "subsample":
            looked_at = min(pareto, _whole(adaptive, "val_subsample_size", pareto))
    initial = initial_count(_whole(settings, "initial_size", 20), stages=stages)
    return GepaPlan(
        generations=_whole(settings, "num_generations", 10),
        children=_whole(settings, "children_per_generation", 5),
        initial=initial * max(1, stages),
        minibatch=max(1, min(minibatch, online)),
        pareto=pareto,
        looked_at=looked_at,
        top=_whole(settings, "validation_top_k", DEFAULT_TOP_K),
    )


def pareto_count(given: int | None, *, online: int) -> int:
    """Returns how many rows of the online pool candidates are compared on.

    Usually half of them: with few other rows, minibatches of which a parent gets everything right
    are soon all there is, and nobody is tried.

    Args:
        given: What a file asks for; nothing is the usual number.
        online: Rows of the online pool.
    """
    usual = min(MOST_PARETO, max(LEAST_PARETO, online // 2))
    return min(given or usual, max(1, online - LEAST_FEEDBACK))


def initial_count(size: int, *, stages: int) -> int:
    """Returns how many instructions each stage gets for an initial population.

    Args:
        size: Of the population, the baseline among it.
        stages: Stages whose instruction is searched.
    """
    return min(MOST_PER_ROUND, math.ceil((size - 1) / max(1, stages)))


def _whole(settings: Mapping[str, object], key: str, default: int) -> int:
    value = settings.get(key)
    return int(value) if isinstance(value, int | float) else default

"""Which rows a search by generations looks at, and for what: the online pool, parted once.

Candidates are compared on the Pareto rows, which no proposer ever sees. Children are tried on
minibatches of the feedback rows, and only rollouts on those are learnt from.
"""

from __future__ import annotations

from dataclasses import replace

from burnish import gepa_plan
from burnish_search.algorithms.adaptive.batches import AdaptiveBatches
from burnish_search.algorithms.base import generator
from burnish_search.algorithms.gepa.settings import GepaSettings
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import History
from burnish_search.model import Pool, StudySpec

# A first look at the baseline takes no more than this part of a tight budget.
_LOOK_PART = 16


class Rows:
    """The rows of one study.

    Attributes:
        pareto: Rows that candidates are compared on, in order.
        feedback: Rows of minibatches, in order.
        validation: Rows that choose the winner, in order.
        batches: Sizes that so many rows allow, and which rows a candidate that passed gets.
    """

    def __init__(self, spec: StudySpec, settings: GepaSettings) -> None:
        """Parts the online pool, of at least one row."""
        order = list(dict.fromkeys(spec.online))
        generator(spec, "pareto rows", 0).shuffle(order)
        size = gepa_plan.pareto_count(settings.pareto_set_size, online=len(order))
        rest = order[size:]
        least = settings.batches.reflection_minibatch_size
        count = max(least, round(settings.feedback_fraction * len(rest)))
        # A pool of one row serves both.
        feedback = rest[:count] or order
        self.pareto = tuple((Pool.ONLINE, seed) for seed in order[:size])
        self.feedback = tuple((Pool.ONLINE, seed) for seed in feedback)
        last = list(dict.fromkeys(spec.validation))
        generator(spec, "validation", 0).shuffle(last)
        self.validation = tuple((Pool.VALIDATION, seed) for seed in last)
        parted = replace(spec, online=tuple(feedback), validation=tuple(order[:size]))
        self.batches = AdaptiveBatches(parted, settings.batches)

    @property
    def final(self) -> tuple[RowKey, ...]:
        """Returns the rows that the best are re-scored on at the end."""
        return self.validation or tuple(dict.fromkeys([*self.pareto, *self.feedback]))

    def first_look(self, cell_count: int | None) -> tuple[RowKey, ...]:
        """Returns the Pareto rows that so many cells allow to compare candidates on."""
        if cell_count is None:
            return self.pareto
        return self.pareto[: max(min(len(self.pareto), cell_count // _LOOK_PART), 1)]

    def compared(self, history: History) -> tuple[RowKey, ...]:
        """Returns the Pareto rows in use: those that the baseline was asked on."""
        if not history.candidates:
            return ()
        asked = history.asked(history.space.baseline().candidate_id)
        return tuple(row for row in self.pareto if row in asked)

    def minibatch_size(self, compared_count: int) -> int:
        """Returns the rows of a minibatch: fewer where the budget allows few rows to compare on."""
        size = self.batches.settings.reflection_minibatch_size
        if compared_count < len(self.pareto):
            size = min(size, max(-(-compared_count // 2), 1))
        return size

    def accepted_size(self, compared_count: int) -> int:
        """Returns how many of the Pareto rows in use a candidate that was accepted gets."""
        settings = self.batches.settings
        full = settings.val_evaluation_mode == "full"
        return compared_count if full else min(compared_count, settings.val_subsample_size)

    def minibatch(self, number: int, size: int) -> tuple[RowKey, ...]:
        """Returns minibatch `number` of the line of feedback rows, epoch after epoch."""
        return self.batches.reflection(number, size=size)

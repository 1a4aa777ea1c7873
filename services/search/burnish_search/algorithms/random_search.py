"""Random search: uniform candidates under the same protocol, the yardstick of every other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from burnish_search.algorithms import coverage
from burnish_search.algorithms.base import Ask, generator
from burnish_search.algorithms.minibatch_search import MinibatchSearch
from burnish_search.history import History
from burnish_search.model import Candidate


class RandomSearch(MinibatchSearch):
    """Draws every candidate uniformly."""

    description: ClassVar[str] = (
        "Uniform candidates on minibatches; the winner is chosen by pooled estimates and a final "
        "re-score."
    )

    def choose(
        self,
        history: History,
        ask: Ask,
        pending: Sequence[Candidate],
        fits: Callable[[Candidate], bool],
    ) -> Candidate | None:
        """Returns the next candidate to look at; None when none is found that fits."""
        place = history.minibatch_count + len(pending)
        return coverage.uniform(history, generator(self.spec, "choice", place), fits)

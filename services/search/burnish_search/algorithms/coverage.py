"""Which candidates a search looks at before a sampler has anything to go by.

Every option of every slot is tried as evenly as can be, in a seeded order: pooled estimates of
options need each of them seen, and a uniform draw leaves a third of them out.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from burnish_search.history import History
from burnish_search.model import Candidate

_ATTEMPTS = 32
_MOST_LISTED = 4096


def use_counts(history: History, pending: Sequence[Candidate]) -> list[Counter[str]]:
    """Returns, per slot, how many minibatch trials chose each option, those pending included."""
    counts = [uses.copy() for uses in history.uses]
    for candidate in pending:
        for count, choice in zip(counts, candidate.choices, strict=True):
            count[choice] += 1
    return counts


def even(
    history: History,
    pending: Sequence[Candidate],
    randomness: random.Random,
    fits: Callable[[Candidate], bool],
) -> Candidate | None:
    """Draws a candidate of the options tried least; None when none of the draws fits.

    Args:
        history: What was tried.
        pending: Candidates of the same ask.
        randomness: Breaks ties.
        fits: Whether a candidate may be taken.
    """
    counts = use_counts(history, pending)
    planned = {candidate.candidate_id for candidate in pending}
    fallback = None
    for _ in range(_ATTEMPTS):
        choices = []
        for count, options in zip(counts, history.space.offered, strict=True):
            least = min(count[option] for option in options)
            choices.append(randomness.choice([o for o in options if count[o] == least]))
        candidate = history.space.candidate(choices)
        if fits(candidate):
            if candidate.candidate_id not in history.tried and (
                candidate.candidate_id not in planned
            ):
                return candidate
            fallback = candidate
    return fallback


def uniform(
    history: History, randomness: random.Random, fits: Callable[[Candidate], bool]
) -> Candidate | None:
    """Draws a candidate uniformly; None when none of the draws fits."""
    for _ in range(_ATTEMPTS):
        candidate = history.space.candidate(
            [randomness.choice(options) for options in history.space.offered]
        )
        if fits(candidate):
            return candidate
    # Nearly everything is used up: look through a space small enough for that to happen.
    if history.space.size > _MOST_LISTED:
        return None
    every = map(history.space.candidate, itertools.product(*history.space.offered))
    return next(filter(fits, every), None)

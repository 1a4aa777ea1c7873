"""MIPRO: Optuna's TPE over instruction and demo set of every stage, judged on minibatches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from burnish_search.algorithms import coverage
from burnish_search.algorithms.base import Algorithm, Ask, generator
from burnish_search.algorithms.minibatch_search import MinibatchSearch
from burnish_search.algorithms.minibatches import Minibatches
from burnish_search.algorithms.mipro_parity import MiproParity
from burnish_search.algorithms.tpe import TpeMirror
from burnish_search.history import History
from burnish_search.model import Candidate, Sampler, StudySpec, TrialKind
from burnish_search.problems import StudyInvalid

_PROTOCOLS = ("burnish", "miprov2")
_MOST_QUICK = 4  # Draws of one ask, each a fifth of a millisecond.
_MOST_QUICK_TRIALS = 10_000


def tpe_engine(spec: StudySpec) -> Algorithm:
    """Builds the `tpe` engine: our own search by it, or MIPROv2's protocol as it is.

    Raises:
        StudyInvalid: The protocol is unknown, or settings or pools cannot be used.
    """
    protocol = spec.settings.get("protocol", _PROTOCOLS[0])
    if protocol not in _PROTOCOLS:
        known = ", ".join(f"`{one}`" for one in _PROTOCOLS)
        raise StudyInvalid(spec.name, [f"setting `protocol` is {protocol!r}; give one of {known}"])
    rest = {key: value for key, value in spec.settings.items() if key != "protocol"}
    given = replace(spec, settings=rest)
    return MiproParity(given) if protocol == "miprov2" else Mipro(given)


class Mipro(MinibatchSearch):
    """Covers the space evenly first, then follows the sampler, with a little exploration."""

    description: ClassVar[str] = (
        "Optuna's TPE over instruction and demo set of every stage, on minibatches; the winner is "
        "chosen by pooled estimates and a final re-score."
    )

    def __init__(self, spec: StudySpec) -> None:
        super().__init__(spec)
        self._mirror = TpeMirror(n_candidates=self.settings.tpe.n_candidates)
        self._untried: tuple[tuple[int, ...], int] | None = None

    def choose(
        self,
        history: History,
        ask: Ask,
        pending: Sequence[Candidate],
        fits: Callable[[Candidate], bool],
    ) -> Candidate | None:
        """Returns the next candidate to look at; None when none is found that fits."""
        place = history.minibatch_count + len(pending)
        randomness = generator(self.spec, "choice", place)
        candidate = None
        if self._covering(history, place):
            candidate = coverage.even(history, pending, randomness, fits)
        elif randomness.random() >= self.settings.tpe.epsilon:
            seed = randomness.getrandbits(32)
            candidate = self._mirror.draw(history, seed=seed, pending=pending, fits=fits)
        if candidate is None:
            candidate = coverage.uniform(history, randomness, fits)
        return candidate

    def is_quick(self, history: History) -> bool:
        """Whether the next plan is no more than a few draws: no candidates are ranked for it."""
        done, given = history.minibatch_count, self.settings
        ranks = done % given.full_eval_every_k == 0 and done > 0
        ranks = ranks and history.trials[-1].kind is not TrialKind.FULL
        return (
            not ranks
            and isinstance(self._minibatches, Minibatches)
            and given.target_reward is None
            and given.max_trials_without_improvement is None
            and given.max_parallel_trials <= _MOST_QUICK
            and len(history.trials) <= _MOST_QUICK_TRIALS
            and done < self.trial_count(history)
        )

    def sampler(self, history: History) -> Sampler | None:
        """Returns how TPE splits the trials; None while the space is still being covered."""
        return (
            None
            if self._covering(history, history.minibatch_count)
            else self._mirror.split(history)
        )

    def _covering(self, history: History, place: int) -> bool:
        """Whether the space is still being covered: at first, and again when it has grown."""
        if place < self.settings.tpe.n_startup_trials:
            return True
        # Within an ask nothing is suggested, so this is counted once for all of its draws.
        state = (len(history.trials), history.space.revision, sum(map(len, history.space.offered)))
        if self._untried is None or self._untried[0] != state:
            most = max(
                sum(option not in count for option in options)
                for count, options in zip(history.uses, history.space.offered, strict=True)
            )
            self._untried = (state, most)
        untried = self._untried[1]
        since = place - history.grown_at
        return untried > 0 and since < (self.trial_count(history) - history.grown_at) // 2

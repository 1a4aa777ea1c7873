"""Optuna's TPE sampler over a study's history.

The history is the truth; the trials that are drawn from are a mirror of it, brought up to date
before every draw and built anew whenever the space has grown. The random numbers are seeded for
every ask, so that a mirror built from scratch gives the same draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from burnish_search.algorithms.parzen import Choices, ParzenHistory, good_count
from burnish_search.history import History
from burnish_search.model import Candidate, Sampler, TrialState

__all__ = ["TpeMirror", "good_count"]

_DRAWS = 2


class TpeMirror:
    """The trials of a history, as the sampler takes them."""

    def __init__(self, *, n_candidates: int) -> None:
        self._n_candidates = n_candidates
        self._space_revision = -1
        self._trials = ParzenHistory((), n_candidates=n_candidates)
        self._searched: list[int] = []
        self._places: list[dict[str, int]] = []
        self._candidates: dict[Choices, Candidate] = {}
        self._known: dict[str, Choices] = {}
        self._numbers: list[int] = []
        self._told: list[bool] = []
        self._open_from = 0

    def draw(
        self,
        history: History,
        *,
        seed: int,
        pending: Sequence[Candidate],
        fits: Callable[[Candidate], bool],
    ) -> Candidate | None:
        """Draws a candidate, an unseen one rather than a repeat.

        Returns None when no draw fits, and when there is nothing to go by.

        Args:
            history: What was observed.
            seed: Seed of the sampler.
            pending: Candidates of the same ask, which the sampler takes for bad ones.
            fits: Whether a candidate may be taken.
        """
        self._follow(history)
        seen = {candidate.candidate_id for candidate in pending}
        known = self._known
        held = [known.get(one.candidate_id) or self._choices(one) for one in pending]
        drawn = self._trials.draws(seed, held)
        # Where everything was tried there is nothing unseen to hope for.
        hopeful = len(history.tried) < history.space.size
        repeat = None
        for choices in itertools.islice(drawn, _DRAWS):
            candidate = self._candidate(history, choices)
            if fits(candidate):
                if (
                    candidate.candidate_id not in history.tried
                    and candidate.candidate_id not in seen
                ):
                    return candidate
                repeat = candidate if repeat is None else repeat
                if not hopeful:
                    break
        return repeat

    def split(self, history: History) -> Sampler:
        """Returns how the sampler splits a history's trials and the baseline's evaluation."""
        self._follow(history)
        measured = self._trials.measured_count
        good = good_count(measured)
        return Sampler(
            observation_count=measured,
            good_count=good,
            bad_count=measured - good + self._trials.running_count,
            gamma=good / measured if measured else 0.0,
        )

    def _follow(self, history: History) -> None:
        if self._space_revision != history.space.revision:
            self._rebuild(history)
        for trial in history.trials[len(self._numbers) :]:
            self._numbers.append(self._trials.append(self._choices(trial.candidate)))
            self._told.append(False)
        for place in range(self._open_from, len(history.trials)):
            trial = history.trials[place]
            if not self._told[place] and trial.state is not TrialState.ACTIVE:
                self._told[place] = True
                self._trials.finish(self._numbers[place], trial.mean_reward)
        while self._open_from < len(self._told) and self._told[self._open_from]:
            self._open_from += 1

    def _rebuild(self, history: History) -> None:
        options = history.space.options
        self._space_revision = history.space.revision
        self._searched = [place for place, slot in enumerate(options) if len(slot) > 1]
        self._places = [{option: place for place, option in enumerate(slot)} for slot in options]
        self._candidates, self._known = {}, {}
        self._numbers, self._told, self._open_from = [], [], 0
        sizes = [len(options[place]) for place in self._searched]
        self._trials = ParzenHistory(sizes, n_candidates=self._n_candidates)
        prior = _baseline_rewards(history)
        if prior:
            baseline = self._trials.append(self._choices(history.space.baseline()))
            self._trials.finish(baseline, sum(prior) / len(prior))

    def _choices(self, candidate: Candidate) -> Choices:
        chosen = candidate.choices
        return tuple(self._places[place][chosen[place]] for place in self._searched)

    def _candidate(self, history: History, choices: Choices) -> Candidate:
        found = self._candidates.get(choices)
        if found is None:
            options = history.space.options
            chosen = [slot[0] for slot in options]
            for place, choice in zip(self._searched, choices, strict=True):
                chosen[place] = options[place][choice]
            found = self._candidates[choices] = history.space.candidate(chosen)
            self._known[found.candidate_id] = choices
        return found


def _baseline_rewards(history: History) -> list[float]:
    baseline = history.space.baseline().candidate_id
    return [row.reward for row in history.prior_rows() if row.candidate_id == baseline]

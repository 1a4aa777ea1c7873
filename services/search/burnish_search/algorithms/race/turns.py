"""Whose turn it is in a race, and on which rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from burnish_search.algorithms import coverage
from burnish_search.algorithms.base import Ask, generator
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.algorithms.race.allocation import RowChoice, top_two
from burnish_search.algorithms.race.beliefs import Beliefs
from burnish_search.algorithms.race.budget import FIRST_ROWS, Allowance
from burnish_search.algorithms.race.settings import RaceSettings
from burnish_search.history import History
from burnish_search.model import Candidate, StudySpec, TrialKind

_DRAWS = 64
_LEADERS = 6

Turn: TypeAlias = tuple[Candidate, Sequence[RowKey]]


class Turns:
    """Chooses the cells of works: at first to cover every option, then where they tell most."""

    def __init__(
        self,
        spec: StudySpec,
        settings: RaceSettings,
        beliefs: Beliefs,
        rows: Sequence[RowKey],
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._beliefs = beliefs
        self._rows = tuple(rows)

    def next(self, history: History, ask: Ask, allowance: Allowance) -> list[Turn]:
        """Returns the turns of the next work; none when the budget or the rows are used up."""
        rng = numbers(self._spec, "batch", ask.index)
        turns = self._covering(history, ask, allowance)
        count = max(FIRST_ROWS, allowance.rows_per_arm) if turns else allowance.rows_per_arm
        choice = self._choice(history, informative=not turns)
        turns = turns or self._thompson(history, allowance, rng)
        turns = turns[: allowance.turns]
        left = allowance.cells
        chosen: dict[str, Candidate] = {}
        picked: dict[str, list[int]] = {}
        for candidate in turns:
            key = candidate.candidate_id
            closed = self._beliefs.evidence.asked(history, key)
            closed[picked.get(key, [])] = True
            rows = choice.pick(np.flatnonzero(~closed), min(count, left), rng)
            left -= len(rows)
            if rows:
                chosen[key] = candidate
                picked.setdefault(key, []).extend(rows)
        return [(chosen[key], [self._rows[row] for row in rows]) for key, rows in picked.items()]

    def _choice(self, history: History, *, informative: bool) -> RowChoice:
        count = len(self._rows)
        if not (history.rows and informative and self._settings.informative):
            zeros = np.zeros(count)
            return RowChoice(slopes=zeros, shared=zeros, informative=False)
        belief = self._beliefs.of(history)
        leaders = np.argsort(-belief.posterior.worth, kind="stable")[:_LEADERS]
        shared = np.zeros(count)
        for arm in leaders:
            if arm < belief.arms.measured_count:
                candidate = belief.arms.candidate(int(arm))
                shared += self._beliefs.evidence.asked(history, candidate.candidate_id)
        return RowChoice(
            slopes=belief.posterior.information(float(belief.posterior.worth[leaders[0]]))[:count],
            shared=shared / max(len(leaders), 1),
            informative=True,
        )

    def _covering(self, history: History, ask: Ask, allowance: Allowance) -> list[Candidate]:
        """Returns arms that have to be looked at before anything is believed of their options."""
        offered = history.space.offered
        raced = [t.candidate for t in history.trials if t.kind is TrialKind.MINIBATCH]
        randomness = generator(self._spec, "cover", ask.index)
        counts = coverage.use_counts(history, ())
        untried = [
            [option for option in options if not count[option]]
            for count, options in zip(counts, offered, strict=True)
        ]

        def fits(candidate: Candidate) -> bool:
            return self._open(history, candidate)

        if not raced:
            searched = sum(len(options) for options in offered if len(options) > 1)
            wanted = allowance.start_count(searched, history.space.size)
            baseline = history.space.baseline()
            turns = [baseline] if fits(baseline) else []
            while len(turns) < wanted:
                found = coverage.even(history, turns, randomness, fits)
                if found is None or found in turns:
                    break
                turns.append(found)
            return turns
        most = max(map(len, untried))
        waited = (history.minibatch_count - history.grown_at) * FIRST_ROWS
        if not most or not history.rows or waited > allowance.cells:
            return []
        leader = self._leader(history)
        turns = []
        for place in range(min(most, allowance.arms_per_batch)):
            choices = []
            for slot, options in enumerate(untried):
                kept = leader.choices[slot]
                kept = kept if kept in offered[slot] else randomness.choice(offered[slot])
                choices.append(options[place] if place < len(options) else kept)
            turns.append(history.space.candidate(choices))
        return [one for one in turns if fits(one)]

    def _thompson(
        self, history: History, allowance: Allowance, rng: np.random.Generator
    ) -> list[Candidate]:
        """Returns the arms of the next work, by top-two Thompson sampling."""
        if not history.rows:
            found = coverage.uniform(
                history,
                generator(self._spec, "blind", len(history.works)),
                lambda one: self._open(history, one),
            )
            return [] if found is None else [found]
        belief = self._beliefs.of(history, rng=rng)
        open_arms = belief.arms.offered.copy()
        for arm in range(belief.arms.measured_count):
            candidate = belief.arms.candidate(arm)
            if open_arms[arm] and len(history.asked(candidate.candidate_id)) >= len(self._rows):
                open_arms[arm] = self._open(history, candidate)
        if not open_arms.any():
            return []
        draws = belief.posterior.draws(_DRAWS, rng)
        picks = top_two(draws, open_arms, allowance.arms_per_batch, rng)
        return [belief.arms.candidate(arm) for arm in picks]

    def _open(self, history: History, candidate: Candidate) -> bool:
        """Whether a candidate has a row left that it was not asked."""
        return not bool(self._beliefs.evidence.asked(history, candidate.candidate_id).all())

    def _leader(self, history: History) -> Candidate:
        belief = self._beliefs.of(history)
        worth = belief.posterior.worth[: belief.arms.measured_count]
        return belief.arms.candidate(int(np.argmax(worth)))


def numbers(spec: StudySpec, purpose: str, position: int) -> np.random.Generator:
    """Returns a generator that depends on the study's seed, a purpose and a position alone."""
    return np.random.default_rng(generator(spec, purpose, position).getrandbits(64))

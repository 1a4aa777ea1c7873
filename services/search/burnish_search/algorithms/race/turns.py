"""Whose turn it is in a race, and on which rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from burnish_search.algorithms import coverage
from burnish_search.algorithms.base import Ask, generator
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.algorithms.race.allocation import Contest, answered, pick_rows
from burnish_search.algorithms.race.beliefs import Belief, Beliefs
from burnish_search.algorithms.race.budget import FIRST_ROWS, Allowance
from burnish_search.algorithms.race.evidence import Floats, Ints
from burnish_search.algorithms.race.settings import RaceSettings
from burnish_search.history import History
from burnish_search.model import Candidate, StudySpec, TrialKind

_IN_QUESTION = 32
_BASELINE_SHARE = 0.1
_BASELINE_CELLS = 80
_STRIDE = 3

Turn: TypeAlias = tuple[Candidate, Sequence[RowKey]]
# An arm to look at, and how much every row tells of it.
Pick: TypeAlias = tuple[Candidate, Floats | None]


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
        if allowance.cells <= self._settings.confirm * allowance.total:
            confirming = self.confirming(history, allowance)
            if confirming:
                return confirming
        rng = numbers(self._spec, "batch", ask.index)
        turns = self._covering(history, ask, allowance)
        count = max(FIRST_ROWS, allowance.rows_per_arm) if turns else allowance.rows_per_arm
        plain = bool(turns) or not self._settings.informative
        picks: list[Pick] = [(one, None) for one in turns] or self._picks(history, allowance, rng)
        left = allowance.cells
        chosen: dict[str, Candidate] = {}
        picked: dict[str, list[int]] = {}
        for place, (candidate, told) in enumerate(picks[: allowance.turns]):
            key = candidate.candidate_id
            closed = self._beliefs.evidence.asked(history, key)
            closed[picked.get(key, [])] = True
            unseen = np.flatnonzero(~closed)
            wanted = min(count, left)
            if plain or told is None:
                # Rows overlap, so that they compare arms; all the same ones might be all easy.
                from_here = np.roll(unseen, 0 if history.minibatch_count else -place * _STRIDE)
                rows = [int(one) for one in from_here[:wanted]]
            else:
                rows = pick_rows(told, unseen, wanted, rng)
            left -= len(rows)
            if rows:
                chosen[key] = candidate
                picked.setdefault(key, []).extend(rows)
        return [(chosen[key], [self._rows[row] for row in rows]) for key, rows in picked.items()]

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
            most = max(map(len, offered))
            wanted = allowance.start_count(most, history.space.size)
            # The baseline's options are covered without it, too: what it has more cells of than
            # any other would otherwise be put down to its instruction and its demos alike.
            baseline = history.space.baseline()
            others: list[Candidate] = []
            while len(others) < wanted - 1:
                found = coverage.even(
                    history, others, randomness, lambda one: one != baseline and fits(one)
                )
                if found is None or found in others:
                    break
                others.append(found)
            return [baseline, *others] if fits(baseline) else others
        # Options that came later may be better than all others; the first ones are weighed alone.
        fresh = [
            [option for option in options if option in set(known[begun:])]
            for options, known, begun in zip(
                untried, history.space.options, history.begun_with, strict=True
            )
        ]
        most = max(map(len, fresh))
        waited = (history.minibatch_count - history.grown_at) * FIRST_ROWS
        if not most or not history.rows or waited > allowance.cells:
            return []
        leader = self._leader(history)
        turns = []
        for place in range(min(most, allowance.arms_per_batch)):
            choices = []
            for slot, options in enumerate(fresh):
                kept = leader.choices[slot]
                kept = kept if kept in offered[slot] else randomness.choice(offered[slot])
                choices.append(options[place] if place < len(options) else kept)
            turns.append(history.space.candidate(choices))
        return [one for one in turns if fits(one)]

    def confirming(self, history: History, allowance: Allowance) -> list[Turn]:
        """Returns rows of leader and baseline alone; none when they share enough of them.

        The leader was chosen by rows that it happened to do well on. Rows that one of the two has
        pair it with the other; then come rows that neither has, in the order that all arms walk.
        """
        if not history.rows:
            return []
        leader, baseline = self._leader(history), history.space.baseline()
        evidence, both = self._beliefs.evidence, (leader.candidate_id, baseline.candidate_id)
        has, had = (evidence.kept(history, one) for one in both)
        enough = self._settings.confirm * allowance.total
        known = leader.candidate_id == baseline.candidate_id or (has & had).sum() >= enough
        if known or not history.space.offers(leader):
            return []
        left = min(allowance.arms_per_batch * allowance.rows_per_arm, allowance.cells)
        found: dict[bool, list[RowKey]] = {True: [], False: []}
        asked = [evidence.asked(history, one) for one in both]
        for row in (*np.flatnonzero(has != had), *np.flatnonzero(~has & ~had)):
            lacking = [own for own, kept in ((True, has), (False, had)) if not kept[row]]
            if any(asked[0 if own else 1][row] for own in lacking):
                continue  # It failed there, and is not asked again.
            if len(lacking) > left:
                break
            left -= len(lacking)
            for own in lacking:
                found[own].append(self._rows[row])
        turns: list[Turn] = [(leader, found[True]), (baseline, found[False])]
        return [turn for turn in turns if turn[1]][: allowance.turns]

    def _picks(
        self, history: History, allowance: Allowance, rng: np.random.Generator
    ) -> list[Pick]:
        """Returns the arms of the next work, those whose cells are expected to pay the most."""
        if not history.rows:
            found = coverage.uniform(
                history,
                generator(self._spec, "blind", len(history.works)),
                lambda one: self._open(history, one),
            )
            return [] if found is None else [(found, None)]
        belief = self._beliefs.of(history, rng=rng)
        posterior = belief.posterior
        open_arms = self._open_arms(history, belief)
        if not open_arms.any():
            return []
        arms = posterior.in_question(open_arms, _IN_QUESTION)
        told = posterior.told(arms)[:, : len(self._rows)]
        for place, arm in enumerate(arms):
            if not open_arms[arm]:
                told[place] = 0.0
            else:
                key = belief.arms.candidate(int(arm)).candidate_id
                told[place, self._beliefs.evidence.asked(history, key)] = 0.0
        contest = Contest(
            means=posterior.worth[arms],
            covariance=self._soon_known(history, belief, arms),
            told=told,
        )
        picks = contest.picks(
            allowance.arms_per_batch, rows=allowance.rows_per_arm, left=allowance.cells
        )
        chosen = [(belief.arms.candidate(int(arms[one])), told[one]) for one in picks]
        baseline = history.space.baseline()
        if chosen and self._due(history, baseline, allowance):
            arm = belief.arms.place(baseline)
            if arm is not None and open_arms[arm]:
                chosen[-1] = (baseline, posterior.told(np.array([arm]))[0, : len(self._rows)])
        return chosen

    def _soon_known(self, history: History, belief: Belief, arms: Ints) -> Floats:
        """Returns the covariance of arms as it is once all that is in flight is answered."""
        in_flight = self._beliefs.in_flight(history, belief.arms)
        every = np.concatenate(
            [arms, np.setdiff1d(np.array([arm for arm, _ in in_flight], dtype=np.int64), arms)]
        )
        found = belief.posterior.covariance(every)
        for arm, rows in in_flight:
            told = belief.posterior.told(np.array([arm]))[0, rows].sum()
            found = answered(found, int(np.flatnonzero(every == arm)[0]), float(told))
        return found[: len(arms), : len(arms)]

    def _due(self, history: History, baseline: Candidate, allowance: Allowance) -> bool:
        """Whether too little is known of the baseline to tell how much there is to gain."""
        evidence, known = self._beliefs.evidence, baseline.candidate_id
        failed = evidence.asked(history, known) & ~evidence.kept(history, known)
        count = len(history.asked(known)) - int(failed.sum())
        return count < min(_BASELINE_SHARE * allowance.raced, _BASELINE_CELLS)

    def _open_arms(self, history: History, belief: Belief) -> npt.NDArray[np.bool_]:
        """Returns which arms are offered and have a row left that they were not asked."""
        found = belief.arms.offered.copy()
        for arm, known in enumerate(belief.arms.measured_ids):
            if found[arm] and len(history.asked(known)) >= len(self._rows):
                found[arm] = not self._beliefs.evidence.asked(history, known).all()
        return found

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

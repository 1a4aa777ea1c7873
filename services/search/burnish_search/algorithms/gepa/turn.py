"""What is next at one ask of a search by generations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from burnish.gepa_plan import BLOCK
from burnish_search.algorithms import ranking
from burnish_search.algorithms.gepa.breeding import Breeding, Draw, evidence
from burnish_search.algorithms.gepa.gate import Gate, Look, Standing
from burnish_search.algorithms.gepa.lines import Lines, Member
from burnish_search.algorithms.gepa.purse import Purse
from burnish_search.algorithms.gepa.rows import Rows
from burnish_search.algorithms.gepa.scores import Scores
from burnish_search.algorithms.gepa.settings import GepaSettings
from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import History
from burnish_search.model import (
    Candidate,
    EvaluationPlan,
    FinishReason,
    Plan,
    ProposalPlan,
    StudySpec,
    TrialKind,
    TrialPlan,
    TrialState,
)

# Generations without a child after which nothing more is expected of whoever writes.
_BARREN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a turn is decided from: the history, its rows, and what was measured on them."""

    history: History
    rows: Rows
    scores: Scores


class Turn:
    """What is next, at one ask.

    Attributes:
        purse: What may be spent.
    """

    def __init__(self, spec: StudySpec, given: GepaSettings, known: Known, purse: Purse) -> None:
        self._settings = given
        self._rows = known.rows
        self._scores = known.scores
        self._history = known.history
        self.purse = purse
        self._compared = known.rows.compared(known.history)
        known.scores.read(known.history, self._compared)
        self._lines = Lines(known.history, known.scores.level)
        self._size = known.rows.minibatch_size(len(self._compared))
        self._accepted_size = known.rows.accepted_size(len(self._compared))
        # What is left beside what one that passes costs: without it, all tries are for nothing.
        self._beside = purse.without(trials=1, cells=self._accepted_size)
        self._whole = not self._beside.covers(trials=_blocks(self._size), cells=0)
        self._gate = Gate(known.rows, known.scores, size=self._size, whole=self._whole)
        self._breeding = Breeding(spec, given, known.history, self._lines, known.scores)
        self._generation = self._lines.generation

    def next(self) -> Plan | FinishReason:
        """Returns the next plan, or why there is none."""
        if not self._compared:
            return self._first() or FinishReason.BUDGET
        if self._reached():
            return FinishReason.TARGET_REACHED
        plan = self._confirmation()
        if plan is not None:
            return plan
        if not self.purse.pays(1):
            return FinishReason.BUDGET
        return self._generations()

    def trial(self, candidate: Candidate, kind: TrialKind, rows: Sequence[RowKey]) -> TrialPlan:
        """Returns a trial of the generation that the search is in."""
        return TrialPlan(
            candidate=candidate, kind=kind, rows=tuple(rows), iteration=self._generation
        )

    def _plan(self, trials: Sequence[TrialPlan], purse: Purse | None = None) -> Plan | None:
        """Plans as much of some trials as a purse pays for: the whole one, or a part of it."""
        fitted = (purse or self.purse).fitted(trials)
        return EvaluationPlan(trials=fitted) if fitted else None

    def _first(self) -> Plan | None:
        """Plans the baseline on the Pareto rows."""
        rows = self._rows.first_look(self.purse.cells)
        return self._plan([self.trial(self._lines.baseline, TrialKind.FULL, rows)])

    def _looks(self, draws: Iterable[Draw]) -> Sequence[tuple[Member, Look]]:
        """Returns where every child stands that was not accepted yet, new ones of draws too."""
        children = list(self._lines.children)
        children += [
            Member(candidate=draw.child, parents=draw.parents)
            for draw in draws
            if draw.child is not None and draw.child.candidate_id not in self._lines.members
        ]
        return [
            (
                member,
                self._gate.look(
                    member.name,
                    member.parents[0],
                    generation,
                    first=self._lines.first_row(member.name),
                ),
            )
            for member in children
            if member.name not in self._lines.accepted
            and self._history.space.offers(member.candidate)
            for generation in [self._lines.tried.get(member.name, self._generation)]
        ]

    def _acceptance(self, looks: Sequence[tuple[Member, Look]]) -> Plan | None:
        """Plans those that passed on the Pareto rows."""
        counts: dict[RowKey, int] = {}
        for name in [self._lines.baseline.candidate_id, *self._lines.accepted]:
            for row in self._scores.compared(name):
                counts[row] = counts.get(row, 0) + 1
        trials = []
        for member, look in looks:
            if look.standing is Standing.PASSED:
                asked = self._scores.asked(member.name)
                chosen = self._rows.batches.validation(counts, among=self._compared)
                rows = [row for row in chosen if row not in asked]
                for row in rows:
                    counts[row] = counts.get(row, 0) + 1
                if rows:
                    trials.append(self.trial(member.candidate, TrialKind.FULL, rows))
        return self._plan(trials)

    def _tries(self, looks: Sequence[tuple[Member, Look]]) -> Plan | None:
        """Plans the next rows of the children that may still pass; first those of their parents."""
        parents: dict[str, dict[RowKey, None]] = {}
        children = []
        for member, look in self._payable(looks):
            children.append(self.trial(member.candidate, TrialKind.MINIBATCH, look.rows))
            if look.parent_rows:
                rows = parents.setdefault(member.parents[0], {})
                rows.update(dict.fromkeys(look.parent_rows))
        return self._plan(self._parents(parents) or children, self._beside)

    def _payable(self, looks: Sequence[tuple[Member, Look]]) -> list[tuple[Member, Look]]:
        """Returns the children to go on with: those begun, then as many as can be finished.

        While there is nobody to accept and nobody was accepted, one is begun in any case.
        """
        left, begun = self._beside, self._lines.tried
        found = [one for one in looks if one[1].standing is Standing.OPEN]
        found.sort(key=lambda one: one[0].name not in begun)
        hoped = bool(self._lines.accepted) or any(
            look.standing is Standing.PASSED for _, look in looks
        )
        chosen: list[tuple[Member, Look]] = []
        for member, look in found:
            rows = max(self._size - len(self._scores.asked(member.name)), len(look.rows))
            trials = 1 if self._whole else _blocks(rows)
            paid = member.name in begun or left.covers(trials=trials, cells=rows)
            if not paid and (chosen or hoped):
                break
            left = left.without(trials=trials, cells=rows)
            chosen.append((member, look))
        return chosen

    def _parents(self, rows: Mapping[str, Iterable[RowKey]]) -> list[TrialPlan]:
        """Returns trials of parents on those of some rows that they were never asked on."""
        return [
            self.trial(self._lines.members[name].candidate, TrialKind.MINIBATCH, unasked)
            for name, wanted in rows.items()
            if (unasked := [row for row in wanted if row not in self._scores.asked(name)])
        ]

    def _generations(self) -> Plan | FinishReason:
        """Plans what is next of this generation or of a later one; or says why there is none."""
        bred = max(self._lines.tried.values(), default=0)
        latest = max((when.generation for when in self._lines.accepted.values()), default=0)
        for generation in range(self._generation, self._settings.num_generations + 1):
            if generation > self._lines.generation:
                if self._stale() or self._patience_over(generation - 1):
                    return FinishReason.NO_IMPROVEMENT
                if generation - 1 - max(bred, latest) >= _BARREN:
                    return FinishReason.SPACE_EXHAUSTED
                if not self._beside.covers(trials=1, cells=self._size):
                    return FinishReason.BUDGET
            self._generation = generation
            draws = self._breeding.draws(generation) if generation else {}
            # Who was begun is finished first, so that nobody who passed is left behind.
            plan = None if self._stale() else self._written(generation, draws)
            if plan is None:
                looks = self._looks(draws)
                plan = self._tries(looks) or self._acceptance(looks)
            if plan is not None:
                return plan
        # Where nobody could be tried, patience has no say, but there was no better best either.
        patience = self._settings.patience_generations
        waited = self._settings.num_generations - 1 - self._best_since()
        gave_up = self._stale() or (patience and waited >= patience)
        return FinishReason.NO_IMPROVEMENT if gave_up else FinishReason.COMPLETED

    def _written(self, generation: int, draws: Mapping[Draw, int]) -> Plan | None:
        """Plans the parents of a generation on its minibatch, then its briefs; None when done."""
        grounds: dict[str, tuple[RowKey, ...]] = {}
        for draw in draws:
            for name in draw.parents if draw.child is None else draw.parents[:1]:
                grounds.setdefault(name, self._gate.ground(name, generation))
        child = {"trials": 1, "cells": self._size}
        if not self._beside.covers(**child):
            return None
        unasked = self._parents(grounds)
        if unasked:
            return self._plan(unasked, self._beside.without(**child))
        return self._brief(generation, draws, grounds)

    def _brief(
        self,
        generation: int,
        draws: Mapping[Draw, int],
        grounds: Mapping[str, tuple[RowKey, ...]],
    ) -> Plan | None:
        """Plans the next brief of a generation; None when all were given."""
        given = self._lines.briefs(generation)
        done = {(plan.parent_candidate_ids, plan.stage_ids) for plan in given}
        room = self._settings.children_per_generation - sum(plan.count for plan in given)
        for draw, count in draws.items():
            if draw.stage_id is None or room < 1 or not grounds[draw.parents[0]]:
                continue
            if (draw.parents, (draw.stage_id,)) in done:
                continue
            first = [*grounds[draw.parents[0]], *self._rows.feedback]
            seeds = evidence(draw.parents, self._scores, first)
            if seeds:
                return ProposalPlan(
                    proposal_id=f"generation-{generation}-{len(given)}",
                    stage_ids=(draw.stage_id,),
                    count=min(count, room),
                    parent_candidate_ids=draw.parents,
                    iteration=generation,
                    mode=draw.mode,
                    evidence_seeds=seeds,
                )
        return None

    def _best(self) -> str:
        """Returns the best of the archive by the Pareto rows; the earliest of equals."""
        names = [self._lines.baseline.candidate_id]
        names += [name for name in self._lines.accepted if self._scores.compared(name)]
        return max(names, key=lambda name: round(self._scores.level(name), 9))

    def _best_since(self) -> int:
        """Returns the generation that the best was accepted in; 0 of the baseline."""
        found = self._lines.accepted.get(self._best())
        return 0 if found is None else found.generation

    def _patience_over(self, generation: int) -> bool:
        """Whether so many generations until this one tried a child and brought no better best."""
        patience, since = self._settings.patience_generations, self._best_since()
        tried = {trial.iteration for trial in self._lines.first_tries.values()}
        return bool(patience) and sum(since < one <= generation for one in tried) >= patience

    def _stale(self) -> bool:
        """Whether so many children were tried since the best was accepted."""
        patience = self._settings.max_trials_without_improvement
        if patience is None:
            return False
        found = self._lines.accepted.get(self._best())
        since = -1 if found is None else found.trial_index
        busy = {
            trial.candidate.candidate_id
            for trial in self._history.trials[since + 1 :]
            if trial.kind is TrialKind.MINIBATCH and trial.state is TrialState.ACTIVE
        }
        tried = {
            name
            for name, trial in self._lines.first_tries.items()
            if trial.trial_index > since and name not in busy
        }
        return len(tried) >= patience

    def _reached(self) -> bool:
        """Whether a candidate has the reward that is wanted, on all rows that it is looked for."""
        target = self._settings.target_reward
        if target is None:
            return False
        if self._rows.validation:
            return ranking.reached(self._history, target, rows=self._rows.validation)
        return any(self._hopeful(target))

    def _hopeful(self, target: float) -> list[Candidate]:
        """Returns those with the reward that is wanted, by the Pareto rows, the best first."""
        names = [self._lines.baseline.candidate_id, *self._lines.accepted]
        rows = set(self._compared)
        found = [
            name
            for name in names
            # An accepted one gets no more than its share, and half of it has to be measured.
            if 2 * len(self._scores.compared(name)) >= self._accepted_size
            and len(rows & self._scores.asked(name)) >= self._accepted_size
            and self._scores.level(name) >= target
        ]
        found.sort(key=self._scores.level, reverse=True)
        return [self._lines.members[name].candidate for name in found]

    def _confirmation(self) -> Plan | None:
        """Plans all validation rows for a candidate that seems to have the reward wanted."""
        target = self._settings.target_reward
        if target is None or self.purse.trials == 0:
            return None
        for candidate in self._hopeful(target):
            asked = self._history.asked(candidate.candidate_id)
            rows = [row for row in self._rows.validation if row not in asked]
            if rows and (self.purse.in_all is None or len(rows) <= self.purse.in_all):
                return EvaluationPlan(trials=(self.trial(candidate, TrialKind.FULL, rows),))
        return None


def _blocks(row_count: int) -> int:
    """Returns how many trials so many rows of a minibatch take."""
    return -(-row_count // BLOCK)

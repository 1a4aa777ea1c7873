"""Who the parents of a generation are: drawn from the archive by the rows that they are best on.

The archive of a generation holds the baseline and those that were accepted before it; it is the
same however far the generation has come, so nothing of a draw has to be kept.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish import row_fronts
from burnish_search.algorithms.base import generator
from burnish_search.algorithms.gepa.lines import Lines
from burnish_search.algorithms.gepa.scores import Scores
from burnish_search.algorithms.gepa.settings import GepaSettings
from burnish_search.history import History
from burnish_search.model import Candidate, Kind, ProposalMode, StudySpec


@dataclass(frozen=True, slots=True)
class Draw:
    """Parents of a generation, and what is to be made of them.

    Attributes:
        parents: Ids, the better one first.
        stage_id: Stage to have an instruction written for; None when they are recombined.
        child: What they make together; None when an instruction is to be written.
    """

    parents: tuple[str, ...]
    stage_id: str | None = None
    child: Candidate | None = None

    @property
    def mode(self) -> ProposalMode:
        """Returns how an instruction is to come about."""
        return ProposalMode.MERGE if len(self.parents) > 1 else ProposalMode.REFLECTION


class Breeding:
    """Draws the parents of generations."""

    def __init__(
        self,
        spec: StudySpec,
        settings: GepaSettings,
        history: History,
        lines: Lines,
        scores: Scores,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._history = history
        self._lines = lines
        self._scores = scores

    def archive(self, generation: int) -> Mapping[str, float]:
        """Returns the archive of a generation: weights by candidate, 0 of those off the front."""
        lines, scores = self._lines, self._scores
        names = [lines.baseline.candidate_id]
        names += [
            name
            for name, when in lines.accepted.items()
            if when.generation < generation
            and name in lines.members
            and scores.compared(name)
            and self._history.space.offers(lines.members[name].candidate)
        ]
        rewards = {
            name: {seed: reward for (_, seed), reward in scores.compared(name).items()}
            for name in names
        }
        measured = {name: own for name, own in rewards.items() if own}
        front = row_fronts.front(measured, eps=self._settings.pareto_eps)
        most = max(map(len, measured.values()), default=0)
        # Who was measured on fewer rows than others can be best on fewer.
        weights = {
            name: front[name] * most / len(rewards[name]) if name in front else 0.0
            for name in names
        }
        names.sort(key=lambda name: (not weights[name], -scores.level(name)))
        kept = set(names[: self._settings.archive_size])
        return {name: weight for name, weight in weights.items() if name in kept}

    def draws(self, generation: int) -> Mapping[Draw, int]:
        """Returns the draws of a generation, and how often each was drawn, in order."""
        weights = self.archive(generation)
        randomness = generator(self._spec, "parents", generation)
        found: Counter[Draw] = Counter()
        for _ in range(self._settings.children_per_generation):
            found[self._draw(weights, randomness, generation)] += 1
        # What is recombined is one candidate however often it is drawn.
        return {draw: 1 if draw.child is not None else count for draw, count in found.items()}

    def _draw(
        self, weights: Mapping[str, float], randomness: random.Random, generation: int
    ) -> Draw:
        front = [name for name, weight in weights.items() if weight > 0]
        merges = randomness.random() < self._settings.merge_chance
        first = self._one(weights, randomness)
        if not merges or len(front) < 2:
            return self._reflection(first, generation)
        other = self._one({n: w for n, w in weights.items() if n != first}, randomness)
        better, worse = sorted((first, other), key=self._scores.level, reverse=True)
        return self._merge(better, worse, generation) or self._reflection(first, generation)

    def _one(self, weights: Mapping[str, float], randomness: random.Random) -> str:
        names = list(weights)
        most = max(weights.values())
        # Of the largest: powers of counts would leave the range of numbers.
        powers = [
            (weight / most) ** self._settings.selection_pressure if most else 0.0
            for weight in weights.values()
        ]
        strategy = self._settings.batches.candidate_selection_strategy
        if strategy == "random" or not any(powers):
            # Those off the front are drawn only when nobody is on it.
            listed = [name for name in names if weights[name] > 0] or names
            return randomness.choice(listed)
        return randomness.choices(names, weights=powers)[0]

    def _reflection(self, parent: str, generation: int) -> Draw:
        """Returns a reflection: each along a line of descent is on the next that is written."""
        turns = self._lines.members[parent].depth
        turns += self._lines.reflections(parent, before=generation)
        stages = self._spec.written
        return Draw(parents=(parent,), stage_id=stages[turns % len(stages)])

    def _merge(self, better: str, worse: str, generation: int) -> Draw | None:
        """Returns a merge of two candidates; None when it would bring nothing new."""
        slots = self._history.space.slots
        pair = [self._lines.members[name].candidate.choices for name in (better, worse)]
        differing = [slot for slot, one, two in zip(slots, *pair, strict=True) if one != two]
        if len(differing) > 1:
            child = self._lines.recombined(better, worse)
            if not self._lines.known(child.candidate_id, before=generation):
                parents = self._lines.relatives(child, before=generation)
                return Draw(parents=parents, child=child)
        written = [slot.stage_id for slot in differing if slot.kind is Kind.INSTRUCTION]
        if len(written) == 1:
            return Draw(parents=(better, worse), stage_id=written[0])
        return None


def evidence(
    parents: Sequence[str], scores: Scores, first: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """Returns seeds of feedback rows that all parents were measured on, some of them first.

    Args:
        parents: Ids of the parents.
        scores: What was measured.
        first: Feedback rows, those that come first before the others.
    """
    known = [scores.of(name) for name in parents]
    return tuple(row[1] for row in dict.fromkeys(first) if all(row in own for own in known))

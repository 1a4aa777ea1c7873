"""Lines of descent: who is whose child, read out of a study's history alone.

A brief names its parents, and what arrives for it is put into the first of them. What arrives
before any brief is put into the baseline. A candidate that is looked at and is neither was
recombined, from the candidates nearest to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import History
from burnish_search.model import Candidate, Pool, ProposalPlan, Trial, TrialKind

Level = Callable[[str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """When a candidate came to be compared on the Pareto rows."""

    generation: int
    trial_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A candidate and where it comes from.

    Attributes:
        candidate: The candidate.
        parents: Ids of its parents, the one that it is compared with first; none of the baseline.
        depth: Changes between the baseline and it.
    """

    candidate: Candidate
    parents: tuple[str, ...] = ()
    depth: int = 0

    @property
    def name(self) -> str:
        """Returns its id."""
        return self.candidate.candidate_id


def acceptances(history: History) -> dict[str, Accepted]:
    """Returns those compared on the Pareto rows, the baseline apart, in the order they came."""
    found: dict[str, Accepted] = {}
    for trial in history.trials:
        if trial.kind is TrialKind.FULL and any(cell.pool is Pool.ONLINE for cell in trial.cells):
            when = Accepted(generation=trial.iteration, trial_index=trial.trial_index)
            found.setdefault(trial.candidate.candidate_id, when)
    found.pop(history.space.baseline().candidate_id, None)
    return found


class Lines:
    """Every candidate of a history, parents before their children.

    Attributes:
        members: Members by id.
        accepted: Those compared on the Pareto rows, the baseline apart, in the order they came.
        tried: Generation in which each was first looked at on feedback rows.
        first_tries: First trial on feedback rows of each that was not accepted before, the baseline
            apart.
        generation: The latest generation that anything was suggested in; 0 before any.
    """

    def __init__(self, history: History, level: Level) -> None:
        """Reads a history whose space is complete.

        Args:
            history: The history.
            level: What a candidate is worth by the Pareto rows.
        """
        self._history = history
        self.baseline = history.space.baseline()
        self.members = {self.baseline.candidate_id: Member(candidate=self.baseline)}
        self.accepted = acceptances(history)
        self.tried: dict[str, int] = {}
        self.first_tries: dict[str, Trial] = {}
        self._ancestors: dict[str, frozenset[str]] = {}
        self._briefs = [
            (work.ask_index, work.plan)
            for work in history.works
            if isinstance(work.plan, ProposalPlan)
        ]
        self.generation = max((plan.iteration for _, plan in self._briefs), default=0)
        self._level = level
        self._looked_at: dict[str, Candidate] = {}
        self._read_trials()
        self._read_arrivals()
        self._read_recombined()

    def first_row(self, name: str) -> RowKey | None:
        """Returns the first row that a child was tried on; None when it was not yet."""
        trial = self.first_tries.get(name)
        return None if trial is None else trial.cells[0].row

    def briefs(self, generation: int) -> Sequence[ProposalPlan]:
        """Returns the briefs of a generation."""
        return [plan for _, plan in self._briefs if plan.iteration == generation]

    def reflections(self, name: str, *, before: int) -> int:
        """Returns how often a candidate was reflected on before a generation."""
        return sum(
            len(plan.parent_candidate_ids) == 1 and plan.parent_candidate_ids[0] == name
            for _, plan in self._briefs
            if plan.iteration < before
        )

    @property
    def children(self) -> Sequence[Member]:
        """Everyone but the baseline, in a fixed order."""
        return [member for member in self.members.values() if member.parents]

    def known(self, name: str, *, before: int) -> bool:
        """Whether a candidate was there before a generation."""
        if name == self.baseline.candidate_id:
            return True
        return self.tried.get(name, before) < before or (
            name in self.accepted and self.accepted[name].generation < before
        )

    def ancestors(self, name: str) -> frozenset[str]:
        """Returns a candidate and everyone before it."""
        if name not in self._ancestors:
            parents = self.members[name].parents
            self._ancestors[name] = frozenset({name}).union(*map(self.ancestors, parents))
        return self._ancestors[name]

    def recombined(self, better: str, other: str) -> Candidate:
        """Returns what two candidates make together.

        Per slot: what they share; else what one of them changed against their nearest common
        ancestor; else what the better one has.
        """
        shared = self.ancestors(better) & self.ancestors(other)
        nearest = max(
            (name for name in self.members if name in shared),
            key=lambda name: self.members[name].depth,
        )
        first, second, before = (
            self.members[name].candidate.choices for name in (better, other, nearest)
        )
        choices = [
            theirs if mine == old else mine
            for mine, theirs, old in zip(first, second, before, strict=True)
        ]
        return self._history.space.candidate(choices)

    def relatives(self, candidate: Candidate, *, before: int) -> tuple[str, ...]:
        """Returns those before a generation that a candidate is recombined of, the better first."""
        level, choices = self._level, candidate.choices
        names = [self.baseline.candidate_id]
        names += [one for one, when in self.accepted.items() if when.generation < before]
        names = [one for one in names if one in self.members and one != candidate.candidate_id]

        def alike(name: str) -> int:
            own = self.members[name].candidate.choices
            return sum(mine == theirs for mine, theirs in zip(choices, own, strict=True))

        nearest = max(names, key=lambda name: (alike(name), level(name)))
        own = self.members[nearest].candidate.choices
        lacking = [place for place, choice in enumerate(choices) if own[place] != choice]
        others = [
            name
            for name in names
            if all(
                self.members[name].candidate.choices[place] == choices[place] for place in lacking
            )
        ]
        found = [nearest, *sorted(others, key=level, reverse=True)[:1]]
        return tuple(sorted(dict.fromkeys(found), key=level, reverse=True))

    def _read_trials(self) -> None:
        for trial in self._history.trials:
            if trial.kind is TrialKind.TOP_K:
                continue
            self.generation = max(self.generation, trial.iteration)
            name = trial.candidate.candidate_id
            self._looked_at[name] = trial.candidate
            if trial.kind is TrialKind.MINIBATCH:
                self.tried.setdefault(name, trial.iteration)
                since = self.accepted.get(name)
                if since is None or trial.trial_index < since.trial_index:
                    self.first_tries.setdefault(name, trial)
        self.first_tries.pop(self.baseline.candidate_id, None)

    def _read_arrivals(self) -> None:
        space = self._history.space
        places = {(slot.stage_id, slot.kind): place for place, slot in enumerate(space.slots)}
        for component_id, arrival in self._history.arrivals.items():
            component = space.components[component_id]
            place = places[component.stage_id, component.kind]
            if self.baseline.choices[place] == component_id:
                continue
            parents = self._asked_for(component.stage_id, arrival) or (self.baseline.candidate_id,)
            choices = list(self.members[parents[0]].candidate.choices)
            choices[place] = component_id
            self._add(space.candidate(choices), parents)

    def _asked_for(self, stage_id: str, arrival: int) -> tuple[str, ...]:
        """Returns the parents of the last brief for a stage before an arrival."""
        for ask_index, plan in reversed(self._briefs):
            if ask_index < arrival and stage_id in plan.stage_ids:
                for name in plan.parent_candidate_ids:
                    self._read_recombined(until=name)
                return tuple(one for one in plan.parent_candidate_ids if one in self.members)
        return ()

    def _read_recombined(self, *, until: str | None = None) -> None:
        """Adds those that were looked at and that nothing arrived for, until one is known."""
        if until in self.members:
            return
        for name, generation in self.tried.items():
            if name not in self.members:
                candidate = self._looked_at[name]
                parents = self.relatives(candidate, before=generation)
                self._add(candidate, parents)
            if name == until:
                return

    def _add(self, candidate: Candidate, parents: tuple[str, ...]) -> None:
        depth = max(self.members[one].depth for one in parents) + 1
        member = Member(candidate=candidate, parents=parents, depth=depth)
        self.members.setdefault(candidate.candidate_id, member)

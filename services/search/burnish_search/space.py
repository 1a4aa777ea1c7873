"""The search space: for every stage the instructions and the demo sets that may be chosen.

A slot is one choice of a candidate: the instruction of a stage, or its demo set. Options are known
by component id, never by position, so that a growth of the space changes nothing that was learnt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from burnish_search.model import Candidate, Component, Kind
from burnish_search.problems import SpaceIncomplete


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One choice of a candidate.

    Attributes:
        stage_id: Stage that it is for.
        kind: Instruction or demo set.
        name: `stage/instruction` or `stage/demo_set`.
    """

    stage_id: str
    kind: Kind

    @property
    def name(self) -> str:
        """Returns the slot's name."""
        return f"{self.stage_id}/{self.kind.name.lower()}"


class Space:
    """What may be chosen, in the order it was added, the baseline's first.

    Attributes:
        stage_ids: Stages in the order they run.
        slots: Two per stage: instruction, then demo set.
        revision: How often the space has grown.
        components: Every component that was ever added, by id.
    """

    def __init__(self, stage_ids: Sequence[str]) -> None:
        self.stage_ids = tuple(stage_ids)
        self.slots = tuple(
            Slot(stage_id=stage, kind=kind) for stage in self.stage_ids for kind in Kind
        )
        self.revision = 0
        self._added: list[list[Component]] = [[] for _ in self.slots]
        self._options: list[tuple[str, ...]] = [() for _ in self.slots]
        self._retired: set[str] = set()
        self.components: dict[str, Component] = {}

    def add(self, components: Iterable[Component]) -> bool:
        """Adds components; those already known are ignored. Returns whether the space grew."""
        places = {(slot.stage_id, slot.kind): place for place, slot in enumerate(self.slots)}
        grown = set()
        for component in components:
            if component.component_id not in self.components:
                self.components[component.component_id] = component
                place = places[component.stage_id, component.kind]
                self._added[place].append(component)
                grown.add(place)
        for place in grown:
            self._options[place] = _baseline_first(self._added[place])
        self.revision += bool(grown)
        return bool(grown)

    def retire(self, component_ids: Iterable[str]) -> None:
        """Takes options out of what is offered; the baseline's stay, unknown ids are ignored."""
        kept = {options[0] for options in self._options if options}
        self._retired |= (set(component_ids) & self.components.keys()) - kept

    @property
    def offered(self) -> Sequence[tuple[str, ...]]:
        """The options of every slot without those that were retired, the baseline's first.

        Raises:
            SpaceIncomplete: A slot has no option yet.
        """
        if not self._retired:
            return self.options
        return [tuple(one for one in slot if one not in self._retired) for slot in self.options]

    def offers(self, candidate: Candidate) -> bool:
        """Whether no choice of a candidate was retired."""
        return self._retired.isdisjoint(candidate.choices)

    @property
    def options(self) -> Sequence[tuple[str, ...]]:
        """Component ids of every slot, the baseline's first.

        Raises:
            SpaceIncomplete: A slot has no option yet.
        """
        if not all(self._options):
            raise SpaceIncomplete(
                [
                    f"stage `{slot.stage_id}` has no {slot.kind.name.lower().replace('_', ' ')}"
                    for slot, options in zip(self.slots, self._options, strict=True)
                    if not options
                ]
            )
        return self._options

    @property
    def complete(self) -> bool:
        """Whether every slot has an option."""
        return all(self._options)

    @property
    def size(self) -> int:
        """How many candidates are offered."""
        return math.prod(len(options) for options in self.offered)

    def candidate(self, choices: Sequence[str]) -> Candidate:
        """Builds the candidate with these component ids, one per slot."""
        return Candidate.of(self.stage_ids, tuple(choices))

    def holds(self, candidate: Candidate) -> bool:
        """Whether every choice of a candidate is an option of its slot."""
        return len(candidate.choices) == len(self.slots) and all(
            choice in options
            for choice, options in zip(candidate.choices, self._options, strict=True)
        )

    def baseline(self) -> Candidate:
        """Returns the app's own prompt: the first option of every slot."""
        return self.candidate([options[0] for options in self.options])


def _baseline_first(components: Sequence[Component]) -> tuple[str, ...]:
    first = next(
        (c for c in components if c.baseline),
        next((c for c in components if c.zero_shot), components[0]),
    )
    rest = (c.component_id for c in components if c is not first)
    return (first.component_id, *rest)

"""Reads a search by GEPA out of its study's ledger: generations, children, who was accepted.

The search tells works, not a story. What a work means follows from those before it: a candidate
that is looked at for the first time is a child of that generation, and one that is then measured in
full was accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import candidate


@dataclass(slots=True, kw_only=True)
class Descent:
    """What the works of a search came to.

    Attributes:
        generation: The last one that began, from 0; -1 before the first.
        born: Generation of each candidate that was looked at, by id; the baseline's is -1.
        full: Cells of the full measurements by candidate, in order.
        looked: Cells of every other look at a candidate.
        candidates: Every candidate that was looked at, by id.
    """

    generation: int = -1
    born: dict[str, int] = field(default_factory=dict)
    full: dict[str, list[types_v1.Cell]] = field(default_factory=dict)
    looked: dict[str, list[types_v1.Cell]] = field(default_factory=dict)
    candidates: dict[str, types_v1.Candidate] = field(default_factory=dict)

    def children(self, generation: int) -> list[str]:
        """Returns the ids of the candidates that were new in a generation."""
        return [one for one, born in self.born.items() if born == generation]

    def accepted(self, generation: int) -> list[str]:
        """Returns the ids of those among them that were taken in."""
        return [one for one in self.children(generation) if one in self.full]


def read(
    entries: Iterable[search_v1.StudyEntry], *, baseline_id: str, before: int | None = None
) -> Descent:
    """Reads the works of a study.

    Args:
        entries: The study's entries, in order.
        baseline_id: Id of the baseline.
        before: Ask to stop at; None reads all.
    """
    found = Descent()
    for work in _works(entries):
        if before is not None and work.ask_index >= before:
            break
        iteration = generation_of(work)
        if iteration is None:
            continue
        found.generation = max(found.generation, iteration)
        for trial in work.evaluation.trials:
            own = trial.candidate.candidate_id
            found.candidates.setdefault(own, trial.candidate)
            found.born.setdefault(own, -1 if own == baseline_id else trial.iteration)
            if trial.kind != search_v1.TRIAL_KIND_TOP_K:
                held = found.full if compares(trial) else found.looked
                held.setdefault(own, []).extend(trial.cells)
    return found


def generation_of(work: search_v1.Work) -> int | None:
    """Returns the generation that a work belongs to; None for the last look at the best."""
    match work.WhichOneof("action"):
        case "evaluation":
            trials = work.evaluation.trials
            looks = [one.iteration for one in trials if one.kind != search_v1.TRIAL_KIND_TOP_K]
            return max(looks, default=None)
        case "proposal":
            return work.proposal.iteration
    return None


def compares(trial: search_v1.Trial) -> bool:
    """Whether a trial measures a candidate on the rows that candidates are compared on.

    A full measurement of the validation pool confirms a candidate that seems good enough to end.
    """
    full = trial.kind == search_v1.TRIAL_KIND_FULL
    return full and any(cell.pool == types_v1.POOL_ONLINE for cell in trial.cells)


def child_of(parent: types_v1.Candidate, component: types_v1.Component) -> types_v1.Candidate:
    """Returns a candidate with one instruction or demo set in the place of its own."""
    stages = {}
    for stage_id, choice in parent.stages.items():
        changed = types_v1.StageChoice()
        changed.CopyFrom(choice)
        if stage_id == component.stage_id and component.WhichOneof("content") == "demo_set":
            changed.demo_set_id = component.component_id
        elif stage_id == component.stage_id:
            changed.instruction_id = component.component_id
        stages[stage_id] = changed
    return candidate(stages)


def parents_of(
    child: types_v1.Candidate, known: Mapping[str, types_v1.Candidate], among: Sequence[str]
) -> tuple[str, ...]:
    """Returns the two candidates that a recombination is of, as far as its parts tell.

    Args:
        child: The recombined candidate.
        known: Candidates by id.
        among: Ids of those that may be its parents, the likeliest first.
    """
    choices = {stage: _slot(choice) for stage, choice in child.stages.items()}
    for one, other in combinations(among, 2):
        first, second = known[one].stages, known[other].stages
        parts = [
            (_slot(first[stage]) == slot, _slot(second[stage]) == slot)
            for stage, slot in choices.items()
        ]
        if all(any(part) for part in parts) and all(
            any(part[side] and not part[1 - side] for part in parts) for side in (0, 1)
        ):
            return (one, other)
    return ()


def _slot(choice: types_v1.StageChoice) -> tuple[str, str]:
    return choice.instruction_id, choice.demo_set_id


def _works(entries: Iterable[search_v1.StudyEntry]) -> Iterator[search_v1.Work]:
    return (entry.work_suggested for entry in entries if entry.HasField("work_suggested"))

"""The changes of a study, as its log holds them: the only way that a history comes about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from burnish_search.model import Component, FinishPlan, Observation, ProposalPlan, Sampler, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentsAdded:
    """A growth of the space."""

    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentsRetired:
    """Components that no further minibatch looks at."""

    component_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSuggested:
    """Work as it was recorded; trials are still open."""

    ask_index: int
    plan: ProposalPlan | FinishPlan | None
    trials: Sequence[Trial]
    sampler: Sampler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationsTold:
    """Observations in canonical order."""

    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkClosed:
    """The end of a work."""

    ask_index: int


Change: TypeAlias = (
    ComponentsAdded | ComponentsRetired | WorkSuggested | ObservationsTold | WorkClosed
)

"""The settings of GEPA, read and checked all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish_search.algorithms.adaptive.batches import BatchSettings
from burnish_search.algorithms.adaptive.batches import parse as parse_batches
from burnish_search.algorithms.settings import Reader

# Read by the controller and the proposer; a search does the same whatever they are.
_OF_OTHERS = (
    "proposer_type",
    "validation_pool",
    "mutation_prompt",
    "initial_size",
    "max_prompt_tokens",
    "enforce_prompt_tokens",
)
_MINIBATCH = 8
_LEAST_PRESSURE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GepaSettings:
    """How a search by generations goes.

    Attributes:
        num_generations: Generations after the initial population.
        children_per_generation: Draws of parents in each.
        merge_chance: Chance that a draw is a merge, in [0, 1].
        selection_pressure: Power that a parent's coverage is raised to, at least 1.
        patience_generations: Generations in which a child was tried, without a better best, after
            which it ends; 0 is never.
        archive_size: Most candidates that parents are drawn from.
        pareto_set_size: Rows that candidates are compared on; None is half of them, 10 to 64.
        pareto_eps: Rewards this near to the best of a row are ties.
        feedback_fraction: Share of the other rows that children are tried on, in [0, 1].
        top_k: Candidates re-scored at the end.
        max_trials: Most trials of every kind; None is no limit.
        max_trials_without_improvement: Children tried without a better best after which it ends;
            None is never.
        target_reward: Mean reward at which it ends; None is never.
        batches: Sizes of minibatches, the gate's least gain, rows of those that pass, and how
            parents are drawn.
    """

    num_generations: int = 10
    children_per_generation: int = 5
    merge_chance: float = 0.35
    selection_pressure: float = 1.0
    patience_generations: int = 3
    archive_size: int = 64
    pareto_set_size: int | None = None
    pareto_eps: float = 1e-6
    feedback_fraction: float = 0.5
    top_k: int = 2
    max_trials: int | None = None
    max_trials_without_improvement: int | None = None
    target_reward: float | None = None
    batches: BatchSettings = field(default_factory=BatchSettings)


def parse(settings: Mapping[str, object]) -> tuple[GepaSettings, list[str]]:
    """Reads settings as JSON values.

    Returns:
        The settings, with the default wherever a value cannot be used, and every problem found.
    """
    reader = Reader({k: v for k, v in settings.items() if k != "adaptive_batch"}, path="")
    usual = GepaSettings()
    for name in _OF_OTHERS:
        reader.skip(name)
    adaptive, wrong = parse_batches(settings.get("adaptive_batch"))
    plain = BatchSettings(
        reflection_minibatch_size=reader.whole("minibatch_size", _MINIBATCH),
        val_evaluation_mode="full",
    )
    mutation, crossover = reader.share("mutation_rate"), reader.share("crossover_rate")
    pressure = reader.number("selection_pressure", least=_LEAST_PRESSURE)
    patience = reader.natural("patience_generations")
    eps, fraction = reader.number("pareto_eps"), reader.share("feedback_fraction")
    parsed = GepaSettings(
        num_generations=reader.whole("num_generations", usual.num_generations),
        children_per_generation=reader.whole(
            "children_per_generation", usual.children_per_generation
        ),
        merge_chance=(0.5 if crossover is None else crossover)
        * (1.0 - (0.3 if mutation is None else mutation)),
        selection_pressure=usual.selection_pressure if pressure is None else pressure,
        patience_generations=usual.patience_generations if patience is None else patience,
        archive_size=reader.whole("archive_size", usual.archive_size),
        pareto_set_size=reader.optional_whole("pareto_set_size"),
        pareto_eps=usual.pareto_eps if eps is None else eps,
        feedback_fraction=usual.feedback_fraction if fraction is None else fraction,
        top_k=reader.whole("validation_top_k", usual.top_k),
        max_trials=reader.optional_whole("max_trials"),
        max_trials_without_improvement=reader.optional_whole("max_trials_without_improvement"),
        target_reward=reader.share("target_reward"),
        batches=plain if adaptive is None else adaptive,
    )
    reader.finish()
    return parsed, [*reader.problems, *wrong]

"""Who the parents of a generation are: by the rows they are best on, or evenly among those."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from burnish_search.algorithms.adaptive.batches import BatchSettings
from burnish_search.algorithms.gepa.breeding import Breeding
from burnish_search.algorithms.gepa.settings import GepaSettings
from burnish_search.model import Pool, StudySpec


def drawn(measured, *, strategy="coverage", seed=1, pressure=1.0):
    """Returns how often each candidate is a parent; the first is the baseline."""
    rewards = {
        name: {(Pool.ONLINE, row): value for row, value in enumerate(values)}
        for name, values in measured.items()
    }
    members = {
        name: SimpleNamespace(candidate=SimpleNamespace(candidate_id=name), depth=0)
        for name in measured
    }
    lines = SimpleNamespace(
        baseline=SimpleNamespace(candidate_id=next(iter(measured))),
        accepted={name: SimpleNamespace(generation=1) for name in list(measured)[1:]},
        members=members,
        reflections=lambda name, before: 0,
    )
    scores = SimpleNamespace(
        compared=rewards.__getitem__,
        level=lambda name: sum(measured[name]) / max(len(measured[name]), 1),
    )
    settings = GepaSettings(
        children_per_generation=400,
        merge_chance=0.0,
        selection_pressure=pressure,
        batches=BatchSettings(candidate_selection_strategy=strategy),
    )
    spec = StudySpec(name="studies/a", algorithm="gepa", random_seed=seed, stage_ids=("main",))
    history = SimpleNamespace(space=SimpleNamespace(offers=lambda candidate: True))
    stand_ins: tuple[Any, ...] = (history, lines, scores)
    found: Counter[str] = Counter()
    for draw, count in Breeding(spec, settings, *stand_ins).draws(2).items():
        found[draw.parents[0]] += count
    return found


MEASURED = {"a": (1, 1, 1, 0), "b": (0, 0, 0, 1), "c": (0, 0, 0, 0)}


def test_parents_are_drawn_by_the_rows_that_they_are_best_on():
    found = drawn(MEASURED)
    assert found["c"] == 0
    assert 260 < found["a"] < 340


def test_pressure_favours_those_that_are_best_on_more_rows():
    assert drawn(MEASURED, pressure=3.0)["a"] > 370


def test_pressure_however_high_draws_whoever_is_best_on_most_rows():
    rows = {"a": (1,) * 60 + (0,) * 4, "b": (0,) * 60 + (1,) * 4}
    assert drawn(rows, pressure=200.0) == {"a": 400}


def test_parents_are_drawn_evenly_from_the_front_when_asked_for():
    found = drawn(MEASURED, strategy="random")
    assert found["c"] == 0
    assert 160 < found["a"] < 240


def test_the_baseline_is_the_parent_while_nobody_was_compared():
    assert drawn({"a": (), "b": ()}) == {"a": 400}


def test_the_same_seed_draws_the_same():
    assert drawn(MEASURED, seed=4) == drawn(MEASURED, seed=4)
    assert drawn(MEASURED, seed=4) != drawn(MEASURED, seed=5)

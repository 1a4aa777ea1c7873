"""The gate of the product's engine of GEPA, on children of known worth.

A study whose baseline is a real prompt and whose first generation are other real prompts, a known
difference better or worse. What the engine makes of them is read out of the study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.search_parts.engines import Engine, Session
from benchmarks.search_parts.matrices import Matrix
from benchmarks.search_parts.worlds import World
from burnish_search.algorithms.gepa import Gepa
from burnish_search.history import History
from burnish_search.model import Trial, TrialKind

_CHILDREN = 10
_PARETO = 10
_BUDGET = 100_000
# Least and most points that a child is better than its parent by.
KINDS = {"better": (3.0, 10.0), "worse": (-100.0, -1.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A parent and children of one kind, to be tried on minibatches of one size.

    Attributes:
        matrix: Where they are taken from.
        kind: `better` or `worse`.
        size: Rows of a minibatch.
        repetition: Which parent, children and rows.
    """

    matrix: Matrix
    kind: str
    size: int
    repetition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate made of one child.

    Attributes:
        pool: Name of the matrix.
        kind: `better` or `worse`.
        size: Rows of a minibatch.
        accepted: Whether it was accepted.
        at_once: Whether it was accepted on the first minibatch: where the parent mastered that,
            the engine takes the next.
        cell_count: Cells that it took to decide.
        right: Whether the whole minibatch says the same.
    """

    pool: str
    kind: str
    size: int
    accepted: bool
    at_once: bool
    cell_count: int
    right: bool


def decided(family: Family) -> list[Decision]:
    """Tries the children of a family, and returns what became of each."""
    world = _world(family)
    if world is None:
        return []
    engine = Engine(
        name="gate",
        build=Gepa,
        settings={
            "minibatch_size": family.size,
            "pareto_set_size": _PARETO,
            "feedback_fraction": 1.0,
            "num_generations": 1,
            "patience_generations": 1,
        },
        online=True,
    )
    session = Session(engine, world, budget=_BUDGET)
    session.run()
    return list(_decisions(family, world, session.study.history))


def twice(history: History) -> int:
    """Returns how many cells of a study were asked for again."""
    cells = [(c.candidate_id, c.row) for trial in history.trials for c in trial.cells]
    return len(cells) - len(set(cells))


def _world(family: Family) -> World | None:
    """Returns a parent and its children as arms; None where the pool has no such pair."""
    rewards = family.matrix.rewards
    rng = np.random.default_rng([family.repetition, family.size, len(family.kind), len(rewards)])
    means = 100.0 * rewards.mean(axis=1)
    least, most = KINDS[family.kind]
    gains = np.round(means[None, :] - means[:, None], 9)
    fitting = (gains >= least) & (gains <= most)
    counts = fitting.sum(axis=1)
    if not counts.sum():
        return None
    # As likely as it has children, so that pairs are equally likely.
    parent = int(rng.choice(len(rewards), p=counts / counts.sum()))
    children = np.flatnonzero(fitting[parent])
    chosen = rng.choice(children, min(_CHILDREN, len(children)), replace=False)
    seen = rewards[[parent, *chosen]]
    return World(
        name=f"gate/{family.matrix.name}/{family.repetition}",
        seed=family.repetition + 1,
        shape=(len(seen), 1),
        seen=seen,
        held=seen,
    )


def _decisions(family: Family, world: World, history: History) -> Iterator[Decision]:
    baseline = history.space.baseline().candidate_id
    first = next(
        trial
        for trial in history.trials
        if trial.kind is TrialKind.MINIBATCH and trial.candidate.candidate_id == baseline
    )
    minibatch = {cell.seed for cell in first.cells}
    by_name: dict[str, list[Trial]] = {}
    for trial in history.trials:
        by_name.setdefault(trial.candidate.candidate_id, []).append(trial)
    for option in history.space.options[0][1:]:
        child = history.space.candidate([option, history.space.options[1][0]])
        trials = by_name.get(child.candidate_id, [])
        full = [trial.trial_index for trial in trials if trial.kind is TrialKind.FULL]
        accepted = bool(full)
        # What was accepted is a parent later on, and is measured on further minibatches as one.
        gated = [trial for trial in trials if not full or trial.trial_index < full[0]]
        tried = {cell.seed for trial in gated for cell in trial.cells}
        mine = world.seen[int(option.rpartition("_")[2])]
        at_once = accepted and tried <= minibatch
        rows = sorted(minibatch)
        gain = float((mine[rows] - world.seen[0][rows]).sum())
        yield Decision(
            pool=family.matrix.name,
            kind=family.kind,
            size=family.size,
            accepted=accepted,
            at_once=at_once,
            cell_count=len(tried),
            right=at_once == (round(gain, 9) > 0),
        )

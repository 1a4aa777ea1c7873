"""What a change must be like before a study takes it; every problem of a change is told at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from burnish_search.changes import WorkSuggested
from burnish_search.history import History
from burnish_search.model import Component, Observation, Pool
from burnish_search.problems import ChangeInvalid

_MOST_LISTED = 20


def components(history: History, added: Sequence[Component]) -> None:
    """Checks a growth of the space."""
    problems = []
    for component in added:
        if not component.component_id:
            problems.append(f"a component of stage `{component.stage_id}` has no id")
        if component.stage_id not in history.space.stage_ids:
            known = ", ".join(f"`{stage}`" for stage in history.space.stage_ids)
            problems.append(
                f"component `{component.component_id}` is for stage `{component.stage_id}`, which "
                f"the study lacks; its stages are {known}"
            )
    _raise(history, problems)


def observations(history: History, told: Sequence[Observation]) -> None:
    """Checks measurements: known candidates, pools of the study, rewards in [0, 1]."""
    problems = []
    for place, observation in enumerate(told):
        cell, reward = observation.cell, observation.reward
        if cell.candidate_id not in history.candidates:
            problems.append(
                f"observation {place} is of candidate `{cell.candidate_id}`, which is neither the "
                "baseline nor one that was suggested"
            )
        if reward is not None and not (math.isfinite(reward) and 0.0 <= reward <= 1.0):
            problems.append(
                f"observation {place} has reward {reward}; rewards are in [0, 1], and a "
                "measurement that is missing is a failure"
            )
        problems += [
            f"observation {place} has `{name}` {value}; give a number of at least 0, or leave out "
            "what is not known"
            for name, value in observation.costs
            if not (math.isfinite(value) and value >= 0.0)
        ]
        if cell.repeat < 0 or cell.fidelity < 0:
            problems.append(f"observation {place} has a negative repeat or fidelity")
    _raise(history, problems)


def work(history: History, suggested: WorkSuggested) -> None:
    """Checks a recorded work: it follows the last one and chooses what the space holds."""
    problems = []
    if suggested.ask_index != len(history.works):
        problems.append(f"work {suggested.ask_index} does not follow work {len(history.works) - 1}")
    for place, trial in enumerate(suggested.trials):
        if trial.trial_index != len(history.trials) + place:
            problems.append(f"trial {trial.trial_index} is out of order")
        if not history.space.holds(trial.candidate):
            problems.append(
                f"trial {trial.trial_index} is of candidate `{trial.candidate.candidate_id}`, "
                "which chooses components that the study lacks"
            )
        if any(cell.candidate_id != trial.candidate.candidate_id for cell in trial.cells):
            problems.append(f"trial {trial.trial_index} has cells of another candidate")
        if any(cell.pool is Pool.BOOTSTRAP for cell in trial.cells):
            problems.append(f"trial {trial.trial_index} has cells of the bootstrap pool")
    _raise(history, problems)


def _raise(history: History, problems: Sequence[str]) -> None:
    if len(problems) > _MOST_LISTED:
        more = len(problems) - _MOST_LISTED
        problems = [*problems[:_MOST_LISTED], f"and {more} more"]
    if problems:
        raise ChangeInvalid(history.spec.name, problems)

"""Every fault that a judge node can have, found when its graph is registered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, get_args

from burnish.models import ModelRole, check_model
from burnish.rubrics import Rubric, rubric_problems
from burnish_verifier.judges.trace import MaterialInvalid, count_events
from burnish_verifier.steps import (
    CalibrationExample,
    GoldExample,
    JudgeMode,
    ModelRef,
    RubricJudge,
)

MAX_VOTES: Final = 9
MAX_EXAMPLES: Final = 32
LEAST_READING_BUDGET: Final = 32_000
_LEAST_PART: Final = 500
_MODES: Final[tuple[JudgeMode, ...]] = get_args(JudgeMode)
_BY_TRACE: Final = frozenset({"map_reduce", "rlm"})
_LONGEST_INSTRUCTIONS: Final = 16_000


def problems(step: RubricJudge, scope: str) -> list[str]:
    """Returns every fault of a judge node, with a fix each.

    Args:
        step: The node's step.
        scope: What of the rollout the node reads: `output`, `final` or `transcript`.
    """
    found = []
    if step.mode not in _MODES:
        found.append(f"`mode` is {step.mode!r}; give one of {', '.join(_MODES)}")
    if not 1 <= step.votes <= MAX_VOTES:
        found.append(f"`votes` is {step.votes}; give a number in [1, {MAX_VOTES}]")
    if len(step.instructions) > _LONGEST_INSTRUCTIONS:
        found.append(f"`instructions` are longer than {_LONGEST_INSTRUCTIONS} characters")
    found += _numbers(step)
    if step.rubric is not None:
        found += [f"rubric: {problem}" for problem in rubric_problems(step.rubric)]
        found += _scope(step.rubric, step.mode, scope)
    found += model_problems(step.model) if step.model is not None else []
    if step.calibration_examples and step.mode == "contrastive":
        found.append("`calibration_examples` are not for mode contrastive; remove them")
    if step.gold_examples and step.mode != "contrastive":
        found.append(f"`gold_examples` are for mode contrastive, not {step.mode}; remove them")
    return found + example_problems(step.calibration_examples, step.gold_examples)


def example_problems(
    calibration: Sequence[CalibrationExample], gold: Sequence[GoldExample]
) -> list[str]:
    """Returns every fault of examples, those that a request brings included."""
    found = [
        f"{len(examples)} {name} are too many; give at most {MAX_EXAMPLES}"
        for name, examples in (("calibration_examples", calibration), ("gold_examples", gold))
        if len(examples) > MAX_EXAMPLES
    ]
    for index, each in enumerate(calibration):
        place = f"calibration_examples[{index}]"
        found += _rewards(place, "outcome_reward", [each.outcome_reward])
        found += _rewards(place, "event_rewards", each.event_rewards)
        found += _trace(place, each.session_trace, events=len(each.event_rewards))
    for index, gold_one in enumerate(gold):
        place = f"gold_examples[{index}]"
        found += _rewards(place, "gold_reward", [gold_one.gold_reward])
        if gold_one.session_trace:
            found += _trace(place, gold_one.session_trace, events=0)
        elif not gold_one.summary.strip():
            found.append(f"`{place}` has neither a summary nor a trace; give one")
    return found


def model_problems(model: ModelRef) -> list[str]:
    """Returns every fault of a judge's model, one that a request names included."""
    findings = check_model(provider=model.provider.lower(), model=model.model, role=ModelRole.JUDGE)
    found = [
        f"model `{model.model}` of `{model.provider}` {each.message}; {each.fix}"
        for each in findings
        # A plug-in may serve a provider that the table does not know.
        if each.refused and each.about == "model"
    ]
    if not model.model:
        found.append("`model.model` is empty; name the judge's model")
    if model.max_output_tokens < 0:
        found.append(f"`model.max_output_tokens` is {model.max_output_tokens}; give 0 or more")
    return found


def _numbers(step: RubricJudge) -> list[str]:
    found = []
    for name, value in (("token_budget", step.token_budget), ("part_tokens", step.part_tokens)):
        if value < 0:
            found.append(f"`{name}` is {value}; give a number from 0")
    if step.mode == "rlm" and 0 < step.token_budget < LEAST_READING_BUDGET * max(step.votes, 1):
        found.append(
            f"`token_budget` is {step.token_budget}; mode rlm needs at least "
            f"{LEAST_READING_BUDGET} for each of its votes"
        )
    if 0 < step.part_tokens < _LEAST_PART:
        found.append(f"`part_tokens` is {step.part_tokens}; give at least {_LEAST_PART}")
    return found


def _scope(rubric: Rubric, mode: JudgeMode, scope: str) -> list[str]:
    found = []
    if scope == "output" and rubric.event_criteria:
        found.append("it judges events and reads the output alone; set its scope to the transcript")
    if scope == "output" and mode in _BY_TRACE:
        found.append(
            f"mode {mode} reads a trace and its scope is the output; set it to the transcript"
        )
    return found


def _rewards(place: str, name: str, rewards: Sequence[float]) -> list[str]:
    wrong = [reward for reward in rewards if not 0 <= reward <= 1]
    return [f"`{place}.{name}` is {wrong[0]!r}; give numbers in [0, 1]"] if wrong else []


def _trace(place: str, text: str, *, events: int) -> list[str]:
    try:
        json.loads(text)
        count = count_events(text)
    except (ValueError, RecursionError, MaterialInvalid):
        return [f"`{place}.session_trace` is no JSON that can be read; correct it"]
    if events and events != count:
        return [f"`{place}` has {events} event rewards for {count} events; give one for each"]
    return []

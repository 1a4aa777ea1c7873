"""Rubrics: criteria with weights, how their scores become one, and every fault that one can have.

What a rubric is written as is read by `burnish.rubric_forms`, and files by `burnish.rubric_files`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from burnish.errors import InvalidArgument
from burnish.problems import listing
from burnish.texts import is_whole

Aggregation = Literal["weighted_sum", "sum", "custom", "inherit"]
AGGREGATIONS: Final[tuple[Aggregation, ...]] = get_args(Aggregation)
MAX_CRITERIA: Final = 64
_MAX_ID: Final = 128
_MAX_TEXT: Final = 4000
_STRICT_TOLERANCE: Final = 1e-6


class RubricInvalid(InvalidArgument):
    """A rubric with faults; the message names every one. Do not retry."""

    default_reason = "RUBRIC_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing to look at.

    Attributes:
        criterion_id: Unique among the criteria beside it.
        description: What earns the score.
        weight: Relative weight, above 0.
        required: Whether a score of 0 here makes the whole rubric 0.
    """

    criterion_id: str
    description: str = ""
    weight: float = 1.0
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What a judge goes by.

    Attributes:
        version: For people.
        goal: What the task asks for.
        criteria: What the outcome is judged by.
        event_criteria: What each event is judged by; empty when events are not judged.
        aggregation: How the scores of criteria become one; `custom` leaves that to whoever reads
            the scores, `inherit` takes it, and missing criteria, from the task app's rubric.
    """

    version: str = ""
    goal: str = ""
    criteria: tuple[Criterion, ...] = ()
    event_criteria: tuple[Criterion, ...] = ()
    aggregation: Aggregation = "weighted_sum"


def rubric_problems(rubric: Rubric, *, strict: bool = False) -> list[str]:
    """Returns every fault of a rubric, with a fix each.

    Args:
        rubric: The rubric.
        strict: Whether the rules of step judges hold too: a version, a goal, `weighted_sum`, and
            weights in (0, 1] that sum to 1.
    """
    problems = []
    if rubric.aggregation not in AGGREGATIONS:
        problems.append(
            f"`aggregation` is {rubric.aggregation!r}; give one of {', '.join(AGGREGATIONS)}"
        )
    if not rubric.criteria and not rubric.event_criteria and rubric.aggregation != "inherit":
        problems.append("it has no criteria; give at least one")
    for name, text in (("version", rubric.version), ("goal_text", rubric.goal)):
        if not is_whole(text):
            problems.append(f"`{name}` holds half of a character; write it anew")
    for place, criteria in (("criteria", rubric.criteria), ("event", rubric.event_criteria)):
        problems += _criteria_problems(place, criteria)
    return problems + (_strict_problems(rubric) if strict else [])


def blend(base: Rubric, override: Rubric) -> Rubric:
    """Returns a rubric over another: its texts win, and weights multiply when both differ from 1.

    Criteria of the base stay where they are; those that only the override has follow.
    """
    aggregation = override.aggregation if override.aggregation != "inherit" else base.aggregation
    return Rubric(
        version=override.version or base.version,
        goal=override.goal or base.goal,
        criteria=_blended(base.criteria, override.criteria),
        event_criteria=_blended(base.event_criteria, override.event_criteria),
        aggregation=aggregation if aggregation != "inherit" else "weighted_sum",
    )


def total(
    criteria: Sequence[Criterion],
    scores: Mapping[str, float],
    *,
    aggregation: Aggregation = "weighted_sum",
) -> float | None:
    """Returns the one score of criteria; None when the aggregation leaves that to others.

    Args:
        criteria: The criteria.
        scores: Score in [0, 1] by criterion; a criterion without one counts 0.
        aggregation: `weighted_sum` divides by the weights; `sum` is the plain sum, which exceeds 1
            when several criteria are met.
    """
    if aggregation == "custom" or not criteria:
        return None
    if any(each.required and scores.get(each.criterion_id, 0.0) == 0 for each in criteria):
        return 0.0
    if aggregation == "sum":
        return math.fsum(scores.get(each.criterion_id, 0.0) for each in criteria)
    heaviest = max(each.weight for each in criteria)
    shares = [each.weight / heaviest for each in criteria]
    parts = (
        scores.get(each.criterion_id, 0.0) * share
        for each, share in zip(criteria, shares, strict=True)
    )
    return min(max(math.fsum(parts) / math.fsum(shares), 0.0), 1.0)


def to_value(rubric: Rubric) -> dict[str, Any]:
    """Returns a rubric as a JSON value that `read_rubric` reads back."""
    value: dict[str, Any] = {
        "version": rubric.version,
        "goal_text": rubric.goal,
        "criteria": [_criterion_value(each) for each in rubric.criteria],
        "aggregation": rubric.aggregation,
    }
    if rubric.event_criteria:
        value["event"] = [_criterion_value(each) for each in rubric.event_criteria]
    return value


def _criteria_problems(place: str, criteria: Sequence[Criterion]) -> list[str]:
    problems = []
    ids = [each.criterion_id for each in criteria]
    repeated = sorted({name for name in ids if name and ids.count(name) > 1})
    if repeated:
        named = ", ".join(f"`{name}`" for name in repeated)
        problems.append(f"`{place}`: ids {named} are used twice; make them unique")
    if len(criteria) > MAX_CRITERIA:
        problems.append(f"`{place}` has {len(criteria)} criteria; give at most {MAX_CRITERIA}")
    for index, each in enumerate(criteria):
        where = f"`{place}[{index}]`"
        if not each.criterion_id.strip():
            problems.append(f"{where} has no `id`; name it")
        elif len(each.criterion_id) > _MAX_ID or not each.criterion_id.isprintable():
            problems.append(f"{where} has an id that is too long or not printable; shorten it")
        if len(each.description) > _MAX_TEXT:
            problems.append(
                f"{where} has a description of {len(each.description)} characters; "
                f"give at most {_MAX_TEXT}"
            )
        if not is_whole(each.description):
            problems.append(f"{where} has a description with half of a character; write it anew")
        if not (math.isfinite(each.weight) and each.weight > 0):
            problems.append(f"{where} has weight {each.weight!r}; give a finite number above 0")
    return problems


def _strict_problems(rubric: Rubric) -> list[str]:
    problems = []
    if not rubric.version.strip():
        problems.append("a strict rubric needs a `version`; give one")
    if not rubric.goal.strip():
        problems.append("a strict rubric needs a `goal_text`; say what the task asks for")
    if rubric.aggregation != "weighted_sum":
        problems.append(f"a strict rubric is aggregated by weighted_sum, not {rubric.aggregation}")
    for place, criteria in (("criteria", rubric.criteria), ("event", rubric.event_criteria)):
        weights = [each.weight for each in criteria]
        if any(weight > 1 for weight in weights):
            problems.append(f"`{place}`: weights of a strict rubric are in (0, 1]; lower them")
        if weights and not abs(math.fsum(weights) - 1) <= _STRICT_TOLERANCE:
            problems.append(
                f"`{place}`: weights of a strict rubric sum to 1, not {math.fsum(weights):g}"
            )
    return problems


def _blended(base: Sequence[Criterion], override: Sequence[Criterion]) -> tuple[Criterion, ...]:
    over = {each.criterion_id: each for each in override}
    kept = {each.criterion_id for each in base}
    merged = [
        _over(each, over[each.criterion_id]) if each.criterion_id in over else each for each in base
    ]
    return (*merged, *(each for each in override if each.criterion_id not in kept))


def _over(base: Criterion, override: Criterion) -> Criterion:
    # A weight of 1 changes nothing, so the product is also what holds when only one differs from 1.
    weight = base.weight * override.weight
    return replace(
        base,
        description=override.description or base.description,
        weight=weight,
        required=base.required or override.required,
    )


def _criterion_value(each: Criterion) -> dict[str, Any]:
    return {
        "id": each.criterion_id,
        "description": each.description,
        "weight": each.weight,
        "required": each.required,
    }


def rubric_invalid(problems: Sequence[str]) -> RubricInvalid:
    """Returns the error that names every problem."""
    return RubricInvalid("rubric: " + "; ".join(problems), metadata=listing(problems))

"""Reads rubrics in the forms that they are written in.

A task app's rubric has `version`, `goal_text`, `criteria` and `aggregation`; a verifier's has
`event` and `outcome`, each a list of criteria or a rubric of the first form.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from burnish.problems import listed
from burnish.rubrics import (
    AGGREGATIONS,
    MAX_CRITERIA,
    Aggregation,
    Criterion,
    Rubric,
    RubricInvalid,
    rubric_invalid,
    rubric_problems,
)

_ID_KEYS: Final = ("id", "name", "criterion_id")
_TEXT_KEYS: Final = ("description", "text", "criterion")
_TASK_KEYS: Final = frozenset({"version", "goal_text", "criteria"})
_OUTCOME: Final = ("outcome",)
_EVENT: Final = ("event", "events")
_KNOWN: Final = frozenset({*_TASK_KEYS, *_OUTCOME, *_EVENT, "goal", "aggregation", "strict"})
_KNOWN_CRITERION: Final = frozenset({*_ID_KEYS, *_TEXT_KEYS, "weight", "required"})


class Form(enum.StrEnum):
    """Which of the two forms a rubric is written in."""

    TASK = "task"
    VERIFIER = "verifier"


def form_of(value: Mapping[str, Any]) -> Form:
    """Returns which form a rubric is written in."""
    keys = set(value)
    if keys & {*_OUTCOME, *_EVENT} and not keys & _TASK_KEYS:
        return Form.VERIFIER
    return Form.TASK


def read_rubric(value: object, *, expect: Form | None = None) -> Rubric:
    """Reads and checks a rubric.

    Args:
        value: The rubric as a JSON value.
        expect: The only form to be taken; None takes both.

    Raises:
        RubricInvalid: It has faults; the message names every one.
    """
    if not isinstance(value, Mapping):
        raise rubric_invalid([f"it is {type(value).__name__}; give a table of `criteria`"])
    problems: list[str] = []
    form = form_of(value)
    if expect is not None and form is not expect:
        raise rubric_invalid([f"it is a {form} rubric, and a {expect} rubric is wanted here"])
    rubric = _task(value, problems) if form is Form.TASK else _verifier(value, problems)
    strict = value.get("strict", False)
    if not isinstance(strict, bool):
        problems.append(f"`strict` is {strict!r}; give true or false")
    problems += rubric_problems(rubric, strict=strict is True)
    if problems:
        raise rubric_invalid(problems)
    return rubric


def checked_rubric(value: object, *, strict: bool = False) -> Rubric:
    """Reads a rubric, and refuses keys that nothing reads as well.

    Args:
        value: The rubric as a JSON value.
        strict: Whether it has to be as step judges need it.

    Raises:
        RubricInvalid: It has faults; the message names every one.
    """
    problems = unknown_keys(value) if isinstance(value, Mapping) else []
    try:
        rubric = read_rubric(value)
    except RubricInvalid as error:
        raise rubric_invalid([*listed(error), *problems]) from None
    problems += rubric_problems(rubric, strict=strict)
    if problems:
        raise rubric_invalid(problems)
    return rubric


def unknown_keys(value: Mapping[str, Any]) -> list[str]:
    """Returns a line for each key of a rubric that nothing reads."""
    strangers = [f"`{key}` is no key of a rubric" for key in value if key not in _KNOWN]
    for place, items in _lists(value):
        for index, item in enumerate(items):
            if isinstance(item, Mapping):
                strangers += [
                    f"`{place}[{index}].{key}` is no key of a criterion"
                    for key in item
                    if key not in _KNOWN_CRITERION
                ]
    return strangers


def _task(value: Mapping[str, Any], problems: list[str]) -> Rubric:
    event: object = next((value[key] for key in _EVENT if key in value), None)
    return Rubric(
        version=_text(value, ("version",), "version", problems),
        goal=_text(value, ("goal_text", "goal"), "goal_text", problems),
        criteria=_criteria(value.get("criteria", []), "criteria", problems),
        event_criteria=_side(event, "event", problems).criteria,
        aggregation=_aggregation(value, problems),
    )


def _verifier(value: Mapping[str, Any], problems: list[str]) -> Rubric:
    outcome = _side(value.get("outcome", []), "outcome", problems)
    event = _side(next((value[key] for key in _EVENT if key in value), None), "event", problems)
    named = [side for side in (outcome, event) if side.criteria]
    ways = {side.aggregation for side in named}
    if len(ways) > 1:
        problems.append("`event` and `outcome` have different aggregations; give one for both")
    own = _aggregation(value, problems) if "aggregation" in value else None
    return Rubric(
        version=outcome.version or event.version,
        goal=_text(value, ("goal",), "goal", problems) or outcome.goal or event.goal,
        criteria=outcome.criteria,
        event_criteria=event.criteria,
        aggregation=own if own is not None else named[0].aggregation if named else "weighted_sum",
    )


def _side(value: object, place: str, problems: list[str]) -> Rubric:
    """Reads one side of a verifier's rubric: a list of criteria, or a rubric of its own."""
    if value is None:
        return Rubric()
    if not isinstance(value, Mapping):
        return Rubric(criteria=_criteria(value, place, problems))
    return Rubric(
        version=_text(value, ("version",), f"{place}.version", problems),
        goal=_text(value, ("goal_text", "goal"), f"{place}.goal_text", problems),
        criteria=_criteria(value.get("criteria", []), f"{place}.criteria", problems),
        aggregation=_aggregation(value, problems),
    )


def _criteria(value: object, place: str, problems: list[str]) -> tuple[Criterion, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        problems.append(f"`{place}` is {type(value).__name__}; give a list of criteria")
        return ()
    if len(value) > MAX_CRITERIA:
        problems.append(f"`{place}` has {len(value)} criteria; give at most {MAX_CRITERIA}")
        return ()
    return tuple(_criterion(item, f"{place}[{i}]", problems) for i, item in enumerate(value))


def _criterion(value: object, place: str, problems: list[str]) -> Criterion:
    if not isinstance(value, Mapping):
        problems.append(f"`{place}` is {type(value).__name__}; give a table with an `id`")
        # Named after its place, so that the missing id is not reported as a second fault.
        return Criterion(criterion_id=place)
    weight = value.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        problems.append(f"`{place}.weight` is {weight!r}; give a number above 0")
        weight = 1.0
    required = value.get("required", False)
    if not isinstance(required, bool):
        problems.append(f"`{place}.required` is {required!r}; give true or false")
    return Criterion(
        criterion_id=_text(value, _ID_KEYS, f"{place}.id", problems),
        description=_text(value, _TEXT_KEYS, f"{place}.description", problems),
        weight=_float(weight),
        required=required is True,
    )


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _text(value: Mapping[str, Any], keys: Iterable[str], place: str, problems: list[str]) -> str:
    found = next((value[key] for key in keys if value.get(key) is not None), "")
    if isinstance(found, int | float) and not isinstance(found, bool):
        # YAML and TOML read `version: 1.0` as a number.
        return str(found)
    if not isinstance(found, str):
        problems.append(f"`{place}` is {type(found).__name__}; give a text")
        return ""
    return found


def _aggregation(value: Mapping[str, Any], problems: list[str]) -> Aggregation:
    found = value.get("aggregation", "weighted_sum")
    for known in AGGREGATIONS:
        if found == known:
            return known
    problems.append(f"`aggregation` is {found!r}; give one of {', '.join(AGGREGATIONS)}")
    return "weighted_sum"


def _lists(value: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    found = []
    for key in ("criteria", *_OUTCOME, *_EVENT):
        part = value.get(key)
        place = key
        if isinstance(part, Mapping):
            part, place = part.get("criteria"), f"{key}.criteria"
        if isinstance(part, list):
            found.append((place, part))
    return found

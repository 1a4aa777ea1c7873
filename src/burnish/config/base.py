"""The base of all configuration models, and the one way pydantic's errors become problems."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from burnish.config.problems import Findings, PathNames

Raw = dict[str, object]

_ROUNDS = 8


class ConfigModel(BaseModel):
    """A table of a configuration. Unknown keys are kept, and reported by the check."""

    model_config = ConfigDict(
        extra="allow",
        allow_inf_nan=False,
        populate_by_name=True,
        validate_assignment=False,
        hide_input_in_errors=True,
    )


ModelT = TypeVar("ModelT", bound=BaseModel)


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError(
            "number", "{message}", {"message": "is not a number", "fix": "give a number"}
        )
    return value


_INT32 = 2**31 - 1
PosInt = Annotated[int, Field(gt=0, le=_INT32), BeforeValidator(_not_bool)]
NonNegInt = Annotated[int, Field(ge=0, le=_INT32), BeforeValidator(_not_bool)]
PosFloat = Annotated[float, Field(gt=0), BeforeValidator(_not_bool)]
NonNegFloat = Annotated[float, Field(ge=0), BeforeValidator(_not_bool)]
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool)]


def join(path: str, key: str | int) -> str:
    """Appends a key or an index to a path."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def path_of(loc: Sequence[str | int]) -> str:
    """Renders a pydantic location as a path."""
    path = ""
    for key in loc:
        path = join(path, key)
    return path


def read_model(
    cls: type[ModelT], raw: Mapping[str, object], findings: Findings, *, prefix: str = ""
) -> ModelT | None:
    """Validates a table, reports everything wrong in it and returns a model of the rest.

    A refused value is taken out and the rest is read again, so that rules between fields can be
    checked in the same pass. None means that too little was left.
    """
    rest = copy.deepcopy(dict(raw))
    for _ in range(_ROUNDS):
        try:
            return cls.model_validate(rest)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True)
        for detail in details:
            path = join_paths(prefix, path_of(detail["loc"]))
            if detail["type"] == "missing":
                findings.missing(path, _fix(detail))
            else:
                findings.problem(path, detail["input"], _message(detail), _fix(detail))
        locs = sorted({_removable(detail) for detail in details}, key=repr, reverse=True)
        if () in locs:
            return None
        for loc in locs:
            _remove(rest, loc)
    return None


def read_alone(cls: type[ModelT], raw: Mapping[str, object], *, name: str) -> ModelT:
    """Validates one table that is no part of a file.

    Raises:
        ConfigError: With every problem in it, below `name`.
    """
    findings = Findings(names=PathNames(name))
    model = read_model(cls, raw, findings)
    findings.raise_if_any(name)
    if model is None:
        raise AssertionError("a table without problems has a value")
    return model


def join_paths(prefix: str, path: str) -> str:
    """Joins two paths, either of which may be empty."""
    if not prefix or not path:
        return prefix or path
    return f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}"


def _removable(detail: ErrorDetails) -> tuple[str | int, ...]:
    loc = tuple(detail["loc"])
    return loc[:-1] if detail["type"] == "missing" else loc


def _remove(root: Raw, loc: tuple[str | int, ...]) -> None:
    node: object = root
    for key in loc[:-1]:
        node = _child(node, key)
    last = loc[-1]
    if isinstance(node, dict):
        node.pop(last, None)
    elif isinstance(node, list) and isinstance(last, int) and last < len(node):
        del node[last]


def _child(node: object, key: str | int) -> object:
    if isinstance(node, dict):
        return node.get(key)
    if isinstance(node, list) and isinstance(key, int) and key < len(node):
        return node[key]
    return None


_MESSAGES = {
    "missing": "is required",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "string_type": "is not text",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "list_type": "is not an array",
    "tuple_type": "is not an array",
    "dict_type": "is not a table",
    "model_type": "is not a table",
    "model_attributes_type": "is not a table",
    "enum": "is not one of the choices",
    "int_parsing_size": "is too large",
}
_FIXES = {
    "missing": "add it",
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "int_parsing_size": "give a smaller number",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "string_type": "give text in quotes",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "list_type": "give an array, [ ... ]",
    "tuple_type": "give an array, [ ... ]",
    "dict_type": "give a table, { ... }",
    "model_type": "give a table, { ... }",
    "model_attributes_type": "give a table, { ... }",
}
_BOUNDS = {
    "greater_than": ("must be above {gt}", "give a value above {gt}"),
    "greater_than_equal": ("must be at least {ge}", "give {ge} or more"),
    "less_than": ("must be below {lt}", "give a value below {lt}"),
    "less_than_equal": ("must be at most {le}", "give {le} or less"),
    "too_short": ("is too short", "give at least {min_length}"),
    "string_too_short": ("is empty", "give at least {min_length} character"),
}


def _message(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in _BOUNDS:
        return _BOUNDS[kind][0].format(**_bounds(detail))
    return _MESSAGES.get(kind, detail["msg"])


def _bounds(detail: ErrorDetails) -> dict[str, object]:
    context = detail.get("ctx", {})
    return {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}


def _fix(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if "fix" in context:
        return str(context["fix"])
    if kind in _BOUNDS:
        return _BOUNDS[kind][1].format(**_bounds(detail))
    if kind == "enum":
        return f"give one of {context.get('expected', '')}"
    return _FIXES.get(kind, "correct the value")


def unknown_keys(model: BaseModel, path: str = "") -> Iterator[tuple[str, object, list[str]]]:
    """Yields path, value and the known names beside it for every key that no model declares."""
    known = [name for name in type(model).model_fields]
    for name, value in (model.model_extra or {}).items():
        yield join(path, name), value, known
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from unknown_keys(value, join(path, name))
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from unknown_keys(item, join(join(path, name), index))

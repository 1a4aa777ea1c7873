"""Seed lists: integers or half-open ranges, expanded before anything else looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_SEED = 2**31 - 1
MAX_SEEDS = 1_000_000

_FORMS = "give whole numbers, [0, 1, 2], or a range, {start = 0, end = 50}"


def _wrong(message: str, fix: str = _FORMS) -> PydanticCustomError:
    return PydanticCustomError("seeds", "{message}", {"message": message, "fix": fix})


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _wrong(f"must be a whole number, not {type(value).__name__}")
    return value


class SeedRange(BaseModel):
    """Seeds `start`, `start + step`, ... below `end`.

    Attributes:
        start: First seed.
        end: Never reached.
        step: Distance, never 0; negative counts down.
    """

    model_config = ConfigDict(frozen=True)

    start: Annotated[int, BeforeValidator(_whole)] = Field(ge=0, le=MAX_SEED)
    end: Annotated[int, BeforeValidator(_whole)] = Field(ge=-1, le=MAX_SEED + 1)
    step: Annotated[int, BeforeValidator(_whole)] = Field(default=1, ge=-MAX_SEED, le=MAX_SEED)

    @model_validator(mode="after")
    def _check_length(self) -> SeedRange:
        if self.step == 0:
            raise _wrong("a range needs a step other than 0", "give a step of 1 or more")
        if len(range(self.start, self.end, self.step)) > MAX_SEEDS:
            raise _wrong(f"a range may hold at most {MAX_SEEDS} seeds", "make the range shorter")
        return self

    def to_list(self) -> list[int]:
        """Returns the seeds in order."""
        return list(range(self.start, self.end, self.step))


def parse_seeds(value: object) -> tuple[int, ...]:
    """Expands a list of integers, a range table or a `SeedRange`.

    Raises:
        PydanticCustomError: With the fix in its context, for anything else.
    """
    if isinstance(value, SeedRange):
        return tuple(value.to_list())
    if isinstance(value, range):
        return parse_seeds({"start": value.start, "end": value.stop, "step": value.step})
    if isinstance(value, Mapping):
        return _from_table(value)
    if isinstance(value, list | tuple):
        return _from_items(value)
    raise _wrong(f"must be an array of seeds or a range table, not {type(value).__name__}")


def _from_table(table: Mapping[object, object]) -> tuple[int, ...]:
    extra = sorted(str(key) for key in table if key not in {"start", "end", "step"})
    if extra:
        raise _wrong(f"a range has start, end and step, not {', '.join(extra[:5])}")
    for key in ("start", "end"):
        if key not in table:
            raise _wrong(f"a range needs `{key}`", "write {start = 0, end = 50}")
    numbers: dict[str, int] = {}
    for name, value in table.items():
        numbers[str(name)] = _to_int(value)
    start, end, step = numbers["start"], numbers["end"], numbers.get("step", 1)
    if step == 0:
        raise _wrong("a range needs a step other than 0", "give a step of 1 or more")
    if max(abs(start), abs(end), abs(step)) > MAX_SEED + 1:
        raise _wrong("a range leaves the seeds there are", f"give seeds from 0 to {MAX_SEED}")
    seeds = range(start, end, step)
    if start > end and step > 0:
        raise _wrong(
            f"a range from {start} to {end} holds no seed",
            f"write {{start = {end}, end = {start}}}",
        )
    if len(seeds) > MAX_SEEDS:
        raise _wrong(f"a range may hold at most {MAX_SEEDS} seeds", "make the range shorter")
    return tuple(_in_bounds(seed) for seed in seeds)


def _from_items(items: list[object] | tuple[object, ...]) -> tuple[int, ...]:
    if len(items) > MAX_SEEDS:
        raise _wrong(f"an array may hold at most {MAX_SEEDS} seeds", "make the array shorter")
    return tuple(_in_bounds(_to_int(item)) for item in items)


def _to_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        shown = f" {value}" if isinstance(value, float) else ""
        raise _wrong(f"seeds must be whole numbers, not {type(value).__name__}{shown}")
    try:
        return int(value)
    except ValueError as error:
        raise _wrong(f"seeds must be whole numbers, not the text {str(value)[:20]!r}") from error


def _in_bounds(seed: int) -> int:
    if not 0 <= seed <= MAX_SEED:
        raise _wrong(
            f"seeds are row numbers and start at 0, not at {seed}",
            f"give seeds from 0 to {MAX_SEED}",
        )
    return seed


Seeds = Annotated[tuple[int, ...], BeforeValidator(parse_seeds)]

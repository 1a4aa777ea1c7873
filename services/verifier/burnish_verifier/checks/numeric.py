"""The check that compares numbers within a tolerance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from burnish_verifier.checks.base import (
    CannotJudge,
    CheckKind,
    Settings,
    Sources,
    Subject,
    Verdict,
    as_text,
    compared,
)

_MAX_TEXT = 100_000
# Digits with commas at the thousands, or plain; every part can match in one way only.
_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """1 when the answer is a number close enough to the wanted one."""

    sources: Sources
    absolute: float
    relative: float
    place: str

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer, wanted = self.sources.answer(subject), self.sources.wanted(subject)
        numbers = [_number(option, place="whole") for option in wanted]
        known = [number for number in numbers if number is not None]
        if not known:
            raise CannotJudge(
                "the reference is no number; return a number, or use another check",
                reason="REFERENCE_INVALID",
            )
        found = _number(answer, place=self.place)
        close = found is not None and any(
            math.isclose(found, number, rel_tol=self.relative, abs_tol=self.absolute)
            for number in known
        )
        return compared(float(close), answer=answer, wanted=wanted)


def _number(value: object, *, place: str) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _finite(value)
    text = (as_text(value) or "")[:_MAX_TEXT]
    if place == "whole":
        match = _NUMBER.fullmatch(text.strip().removeprefix("$").removesuffix("%").strip())
        found = [match.group()] if match is not None else []
    else:
        found = [match.group() for match in _NUMBER.finditer(text)]
    if not found:
        return None
    return _finite(found[-1 if place == "last" else 0].replace(",", ""))


def _finite(value: str | float) -> float | None:
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _numeric(settings: Settings) -> Numeric:
    return Numeric(
        sources=Sources.read(settings),
        absolute=settings.number("absolute_tolerance", 0.0),
        relative=settings.number("relative_tolerance", 1e-9),
        place=settings.choice("extract", ("whole", "first", "last"), "whole"),
    )


KINDS = (CheckKind(name="numeric", build=_numeric, guarded=False),)

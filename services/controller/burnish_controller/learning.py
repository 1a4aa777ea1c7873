"""Learns the baseline on the wire: what an app sends alike on every seed is its prompt.

Calls of several rollouts are laid side by side, position by position; what all texts share at their
beginning and at their end is literal, and what lies between is a wildcard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish import templates

SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message as the app sent it; `text` is the text of its content."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCall:
    """One call of one rollout: which, and what was sent."""

    rollout_id: str
    messages: tuple[SentMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntStage:
    """One stage as it was learnt.

    Attributes:
        stage_id: `main` for a program with one stage, else the name that the app has for it, else
            `stage_0` and on, in call order.
        patterns: Role and pattern of each message.
        varies_in_system: Whether a system message holds a wildcard.
        calls: The calls that it was learnt from.
    """

    stage_id: str
    patterns: tuple[tuple[str, str], ...]
    varies_in_system: bool
    calls: tuple[SentCall, ...]


def learn(
    rollouts: Sequence[Sequence[SentCall]], *, declared: Sequence[str] = ()
) -> list[LearntStage]:
    """Returns the stages of a program from the calls of its rollouts.

    Calls at the same place of each rollout are taken for the same stage, and so are calls with
    equal system text and shape, so a stage called a varying number of times is one stage.

    Args:
        rollouts: Calls of each rollout, in order; at least two rollouts with a call.
        declared: Stages that the app says it has, in the order they run. They name what is found
            when they are as many.
    """
    groups: dict[tuple[object, ...], list[SentCall]] = {}
    places: dict[tuple[object, ...], int] = {}
    for calls in rollouts:
        for position, call in enumerate(calls):
            signature = _signature(call, position)
            groups.setdefault(signature, []).append(call)
            places.setdefault(signature, position)
    merged = _merge(groups, places)
    names = ["main"] if len(merged) == 1 else [f"stage_{n}" for n in range(len(merged))]
    if len(merged) > 1 and len({one for one in declared if one}) == len(declared) == len(merged):
        names = list(declared)
    return [_stage(name, calls) for name, calls in zip(names, merged, strict=True)]


def generalise(texts: Sequence[str], *, name: str) -> str:
    """Returns the pattern that all texts follow, with at most one wildcard.

    Args:
        texts: At least one text.
        name: Name of the wildcard.
    """
    if len(set(texts)) == 1:
        return templates.escape(texts[0])
    prefix = _whole_words(_common_prefix(texts), texts, from_end=False)
    rests = [text[len(prefix) :] for text in texts]
    flipped = _common_prefix([rest[::-1] for rest in rests])[::-1]
    suffix = _whole_words(flipped, rests, from_end=True)
    return f"{templates.escape(prefix)}{{{name}}}{templates.escape(suffix)}"


def _signature(call: SentCall, position: int) -> tuple[object, ...]:
    system = tuple(message.text for message in call.messages if message.role in SYSTEM_ROLES)
    roles = tuple(message.role for message in call.messages)
    return (roles, system) if system else (roles, position)


def _merge(
    groups: Mapping[tuple[object, ...], list[SentCall]], places: Mapping[tuple[object, ...], int]
) -> list[list[SentCall]]:
    """Joins groups whose system text varies by seed: each then has one rollout alone.

    They are joined where the shape and the place in the rollout are the same.
    """
    merged: list[list[SentCall]] = []
    by_place: dict[object, list[SentCall]] = {}
    total = len({call.rollout_id for calls in groups.values() for call in calls})
    for signature, calls in groups.items():
        place = (signature[0], places[signature])
        if len({call.rollout_id for call in calls}) > 1 or total == 1:
            merged.append(calls)
        elif place in by_place:
            by_place[place].extend(calls)
        else:
            by_place[place] = calls
            merged.append(calls)
    return merged


def _stage(stage_id: str, calls: Sequence[SentCall]) -> LearntStage:
    patterns = []
    varies_in_system = False
    for position, first in enumerate(calls[0].messages):
        texts = [call.messages[position].text for call in calls]
        varies = len(set(texts)) > 1
        in_system = first.role in SYSTEM_ROLES
        varies_in_system = varies_in_system or (varies and in_system)
        name = ("context" if in_system else "input") + (f"_{position}" if position > 1 else "")
        patterns.append((first.role, generalise(texts, name=name)))
    return LearntStage(
        stage_id=stage_id,
        patterns=tuple(patterns),
        varies_in_system=varies_in_system,
        calls=tuple(calls),
    )


def _common_prefix(texts: Sequence[str]) -> str:
    least, most = min(texts), max(texts)
    for position, letter in enumerate(least):
        if letter != most[position]:
            return least[:position]
    return least


def _whole_words(shared: str, texts: Sequence[str], *, from_end: bool) -> str:
    """Cuts a shared part back to a word's edge, so that two values that begin alike stay whole."""
    if any(len(text) == len(shared) for text in texts):
        return shared
    edge = shared[::-1] if from_end else shared
    for length in range(len(edge), 0, -1):
        if not edge[length - 1].isalnum():
            return shared[len(shared) - length :] if from_end else shared[:length]
    return ""

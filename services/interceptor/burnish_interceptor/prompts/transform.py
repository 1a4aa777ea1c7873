"""A candidate's other forms: replacements of text, and sections that make whole messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson

from burnish import templates
from burnish.templates import Pattern
from burnish_interceptor.policies.policy import Section, TextReplacement, Transform
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.shapes import SYSTEM_ROLES

_BETWEEN_SECTIONS = "\n\n"


@dataclass(frozen=True, slots=True)
class Replaced:
    """What replacements make of a conversation.

    Attributes:
        texts: New texts by index of their message.
        inserted: Text of a system message to be put in front, for want of one.
        missed: Places of the replacements that found nothing.
    """

    texts: Mapping[int, str]
    inserted: str | None
    missed: tuple[int, ...]


def replaced(messages: Sequence[Message], transform: Transform) -> Replaced:
    """Applies replacements in their order, each to what the ones before it made."""
    texts: dict[int, str] = {}
    inserted: str | None = None
    missed = []
    for place, one in enumerate(transform.replacements):
        found = False
        targets = _targets(messages, one)
        whole_system = one.old_text is None and one.role in SYSTEM_ROLES
        if whole_system and not targets and one.position in (None, 0):
            inserted, found = one.new_text, True
        for index in targets:
            now = texts.get(index, messages[index].text)
            new = _new_text(now, one, transform)
            if new is not None:
                texts[index], found = new, True
        if not found:
            missed.append(place)
    return Replaced(texts, inserted, tuple(missed))


def _targets(messages: Sequence[Message], one: TextReplacement) -> list[int]:
    roles = SYSTEM_ROLES if one.role in SYSTEM_ROLES else (one.role,)
    found = [index for index, message in enumerate(messages) if message.role in roles]
    if one.position is None:
        return found
    return found[one.position : one.position + 1]


def _new_text(now: str, one: TextReplacement, transform: Transform) -> str | None:
    if one.old_text is None:
        return one.new_text
    if transform.whole:
        same = now == one.old_text or (
            not transform.case_sensitive and now.casefold() == one.old_text.casefold()
        )
        return one.new_text if same else None
    if transform.case_sensitive:
        return now.replace(one.old_text, one.new_text) if one.old_text in now else None
    new, count = re.subn(re.escape(one.old_text), lambda _: one.new_text, now, flags=re.IGNORECASE)
    return new if count else None


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """Sections made ready: a system text, messages before the last user turn, and that turn.

    Attributes:
        system: Pattern of the system text; None leaves the app's own.
        before: Role and pattern of messages put in before the last user turn.
        last: Pattern of the last user turn; None leaves the app's own.
    """

    system: Pattern | None
    before: tuple[tuple[str, Pattern], ...]
    last: Pattern | None

    @property
    def names(self) -> frozenset[str]:
        """Names of all wildcards of the sections."""
        patterns = [self.system, self.last, *(pattern for _, pattern in self.before)]
        return frozenset(name for one in patterns if one is not None for name in one.names)

    def rendered_before(self, bindings: Mapping[str, str]) -> tuple[bytes, ...]:
        """Returns the messages before the last user turn as JSON."""
        return tuple(
            orjson.dumps({"role": role, "content": pattern.render(bindings)})
            for role, pattern in self.before
        )


def section_plan(sections: Sequence[Section], *, wildcards: Collection[str]) -> SectionPlan:
    """Lays sections out.

    Sections of the system roles make up the system text, those of role `user` after which no other
    turn follows the last user turn; all others are messages of their own before it.

    Args:
        sections: The candidate's, by `order`, then as given.
        wildcards: The stage's; any other `{name}` is literal text.
    """
    ordered = sorted(sections, key=lambda one: one.order)
    system = [one.content for one in ordered if one.role in SYSTEM_ROLES]
    turns = [one for one in ordered if one.role not in SYSTEM_ROLES]
    last: list[str] = []
    while turns and turns[-1].role == "user":
        last.insert(0, turns.pop().content)

    def parsed(texts: Sequence[str]) -> Pattern | None:
        return templates.parse(_BETWEEN_SECTIONS.join(texts), names=wildcards) if texts else None

    return SectionPlan(
        system=parsed(system),
        before=tuple((one.role, templates.parse(one.content, names=wildcards)) for one in turns),
        last=parsed(last),
    )

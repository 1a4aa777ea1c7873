"""The check that matches a regular expression, guarded because some expressions never end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from burnish_verifier.checks.base import (
    CheckKind,
    Settings,
    Sources,
    Subject,
    Verdict,
    as_text,
    compared,
    shown,
)

_MAX_PATTERN = 1000
_MAX_TEXT = 100_000
_FLAGS = {
    "ignore_case": re.IGNORECASE,
    "multiline": re.MULTILINE,
    "dot_all": re.DOTALL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Regex:
    """1 when the expression matches and, with a group, what it caught is what was wanted."""

    sources: Sources
    pattern: re.Pattern[str]
    group: str
    full: bool

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer = self.sources.answer(subject)
        text = (as_text(answer) or "")[:_MAX_TEXT]
        match = self.pattern.fullmatch(text) if self.full else self.pattern.search(text)
        if match is None:
            return Verdict(score=0.0, feedback=f"`{shown(answer)}` does not match the pattern")
        if not self.group:
            return Verdict(score=1.0)
        caught = match.group(int(self.group) if self.group.isdecimal() else self.group)
        wanted = self.sources.wanted(subject)
        same = caught is not None and any(
            caught.strip() == (as_text(option) or "").strip() for option in wanted
        )
        return compared(float(same), answer=caught, wanted=wanted)


def _regex(settings: Settings) -> Regex:
    text = settings.text("pattern")
    flags = re.RegexFlag(0)
    for name, flag in _FLAGS.items():
        if settings.flag(name, default=False):
            flags |= flag
    pattern = re.compile("")
    if not text:
        settings.problems.append("`pattern` is missing; give a regular expression")
    elif len(text) > _MAX_PATTERN:
        settings.problems.append(f"`pattern` is longer than {_MAX_PATTERN} characters; shorten it")
    else:
        try:
            pattern = re.compile(text, flags)
        except (re.error, RecursionError, OverflowError) as error:
            settings.problems.append(f"`pattern` is no regular expression: {error}")
    group = _group(settings)
    known = {str(number) for number in range(pattern.groups + 1)} | set(pattern.groupindex)
    if group and group not in known:
        settings.problems.append(f"`group` {group} is not in the pattern; give one of its groups")
    return Regex(
        sources=Sources.read(settings),
        pattern=pattern,
        group=group,
        full=settings.flag("full", default=False),
    )


def _group(settings: Settings) -> str:
    there, value = settings.value("group")
    if not there:
        return ""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    settings.problems.append("`group` is neither a name nor a whole number")
    return ""


KINDS = (CheckKind(name="regex", build=_regex, guarded=True),)

"""Finds the stage of a call: by its text, else the app's hint, else the order of the calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from burnish_interceptor.policies.policy import Stage
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.match import Recogniser

_REMEMBERED_ATTEMPTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """What tells calls of one rollout apart.

    Attributes:
        attempt: Rollout and attempt that the call belongs to.
        body_hash: Hash of the body that the app sent.
        retry: Whether the app repeats an earlier call.
        hint: Stage id that the app names, or empty.
    """

    attempt: tuple[str, int]
    body_hash: str
    retry: bool
    hint: str


@dataclass(slots=True)
class _Progress:
    last: int = -1
    known: dict[str, int] = field(default_factory=dict)


class StageFinder:
    """Remembers how far each rollout's attempt has come, to tell equal stages apart."""

    def __init__(self) -> None:
        self._recogniser = Recogniser()
        self._progress: OrderedDict[tuple[str, int], _Progress] = OrderedDict()

    def find(
        self, stages: Sequence[Stage], messages: Sequence[Message], site: CallSite
    ) -> Stage | None:
        """Returns the stage, or None when the call stays unmatched.

        Among stages whose texts are too alike, the calls of an attempt take their turns in the
        program's order, each stage once. A repeated call that was not seen before stays unmatched,
        because its place in the order is lost.
        """
        ranking = self._recogniser.rank(stages, messages)
        stage = ranking.clear
        if stage is None and site.hint:
            stage = next((one for one in stages if one.stage_id == site.hint), None)
        if stage is None:
            return self._in_turn(stages, ranking.tied, site)
        if len(stages) > 1:
            self._note(site, stages.index(stage))
        return stage

    def _in_turn(
        self, stages: Sequence[Stage], tied: Sequence[Stage], site: CallSite
    ) -> Stage | None:
        if len(tied) < 2:
            return None
        progress = self._progress.get(site.attempt, _Progress())
        if site.retry:
            index = progress.known.get(site.body_hash)
        else:
            turns = sorted(stages.index(stage) for stage in tied)
            index = next((turn for turn in turns if turn > progress.last), None)
        if index is None:
            return None
        self._note(site, index)
        return stages[index]

    def _note(self, site: CallSite, index: int) -> None:
        progress = self._progress.setdefault(site.attempt, _Progress())
        progress.last = max(progress.last, index)
        progress.known[site.body_hash] = index
        self._progress.move_to_end(site.attempt)
        if len(self._progress) > _REMEMBERED_ATTEMPTS:
            self._progress.popitem(last=False)

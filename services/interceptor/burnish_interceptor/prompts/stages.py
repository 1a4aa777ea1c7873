"""Finds the stage of a call: by its text, else the app's hint, else the order of the calls.

The order tells twins apart, stages of equal text: within an attempt each is called once, in the
program's order. It is trusted only where nothing speaks against it. A call that goes on with an
earlier one after an answer or a tool's result keeps its stage. The order of an attempt is lost, and
its later calls of twins stay unmatched, when this process did not see the attempt from its start,
when a body is sent a second time without being marked as a retry, when a conversation goes on with
another user turn, or when calls of twins overlap. Twins that have overlapped once are never told
apart by order again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from burnish_interceptor.policies.policy import Stage
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.match import How, Recogniser, Recognition

_REMEMBERED_ATTEMPTS = 10_000
_REMEMBERED_OVERLAPS = 1_000
_CALLS_OF_TWINS = 256
_ANSWERING = frozenset({"assistant", "tool", "function"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """What tells calls of one rollout apart.

    Attributes:
        policy: Id of the policy.
        attempt: Rollout and attempt that the call belongs to.
        body_hash: Hash of the body that the app sent.
        retry: Whether the app repeats an earlier call.
        hint: Stage id that the app names, or empty.
        issue_time: Unix seconds when the attempt was begun.
    """

    policy: str
    attempt: tuple[str, int]
    body_hash: str
    retry: bool
    hint: str
    issue_time: float


@dataclass(slots=True)
class _Progress:
    last: int = -1
    lost: bool = False
    known: dict[str, int] = field(default_factory=dict)
    begun: list[tuple[int, int, int]] = field(default_factory=list)
    open: set[str] = field(default_factory=set)


class StageFinder:
    """Finds stages, and remembers how far each attempt has come."""

    def __init__(self, *, since: float, alone: bool = True) -> None:
        """Begins to remember.

        Args:
            since: Unix seconds from which on every call is seen; the order of the calls of an older
                attempt is unknown.
            alone: Whether all calls of an attempt come here. With several processes they do not,
                and order tells nothing.
        """
        self._recogniser = Recogniser()
        self._since = since
        self._alone = alone
        self._progress: OrderedDict[tuple[str, int], _Progress] = OrderedDict()
        self._overlapped: OrderedDict[tuple[str, frozenset[str]], None] = OrderedDict()

    def match(
        self, stages: Sequence[Stage], messages: Sequence[Message], site: CallSite
    ) -> Recognition:
        """Returns what a call is taken for.

        A call for which `how` is `ORDER` has to be given to `ended` when it is over.

        Args:
            stages: The policy's, the same object for every call of the policy.
            messages: The call's, at least one.
            site: Where it stands in its rollout.
        """
        found = self._recogniser.recognise(stages, messages)
        if found.stage is not None:
            self._passed(stages, found.stage, site)
            return found
        if site.hint:
            named = hinted(stages, found, site.hint)
            if named.stage is not None:
                self._passed(stages, named.stage, site)
                return named
        if not found.twins:
            return found
        group = (site.policy, frozenset(stages[place].stage_id for place in found.tied))
        place = self._in_turn(sorted(found.tied), group, messages, site)
        if place is None:
            return found
        return found._replace(stage=stages[place], how=How.ORDER)

    def ended(self, site: CallSite) -> None:
        """Says that a call is over, answered or not."""
        progress = self._progress.get(site.attempt)
        if progress is not None:
            progress.open.discard(site.body_hash)

    def _in_turn(
        self,
        twins: Sequence[int],
        group: tuple[str, frozenset[str]],
        messages: Sequence[Message],
        site: CallSite,
    ) -> int | None:
        if not self._alone or site.issue_time < self._since or group in self._overlapped:
            return None
        progress = self._of(site)
        if site.retry and site.body_hash in progress.known:
            return progress.known[site.body_hash]
        seen = site.body_hash in progress.known or len(progress.known) >= _CALLS_OF_TWINS
        if site.retry or progress.lost or seen:
            progress.lost = True
            return None
        earlier, answered = _continued(progress.begun, messages)
        if earlier is not None and answered and not progress.open:
            return self._begin(progress, earlier, messages, site)
        if progress.open:
            self._overlapped[group] = None
            if len(self._overlapped) > _REMEMBERED_OVERLAPS:
                self._overlapped.popitem(last=False)
        place = next((turn for turn in twins if turn > progress.last), None)
        if progress.open or earlier is not None or place is None:
            progress.lost = True
            return None
        return self._begin(progress, place, messages, site)

    def _begin(
        self, progress: _Progress, place: int, messages: Sequence[Message], site: CallSite
    ) -> int:
        progress.last = max(progress.last, place)
        progress.known[site.body_hash] = place
        progress.open.add(site.body_hash)
        progress.begun.append((len(messages), hash(tuple(messages)), place))
        return place

    def _passed(self, stages: Sequence[Stage], stage: Stage, site: CallSite) -> None:
        if len(stages) > 1 and self._recogniser.plan(stages).has_twins:
            progress = self._of(site)
            progress.last = max(progress.last, stages.index(stage))

    def _of(self, site: CallSite) -> _Progress:
        progress = self._progress.get(site.attempt)
        if progress is None:
            progress = self._progress[site.attempt] = _Progress()
            if len(self._progress) > _REMEMBERED_ATTEMPTS:
                self._progress.popitem(last=False)
        return progress


def hinted(stages: Sequence[Stage], found: Recognition, hint: str) -> Recognition:
    """Returns the stage that the app names for a call that the text leaves open."""
    named = next((one for one in stages if one.stage_id == hint), None)
    if found.stage is not None or named is None:
        return found
    return found._replace(stage=named, how=How.HINT)


def _continued(
    begun: Sequence[tuple[int, int, int]], messages: Sequence[Message]
) -> tuple[int | None, bool]:
    """Returns the place of the longest earlier call that this one goes on with, if there is one.

    With it, whether only answers and results of tools were added.
    """
    for count, digest, place in sorted(begun, reverse=True):
        if count < len(messages) and hash(tuple(messages[:count])) == digest:
            return place, all(one.role in _ANSWERING for one in messages[count:])
    return None, False

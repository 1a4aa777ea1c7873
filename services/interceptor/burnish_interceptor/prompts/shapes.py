"""A policy's stages made ready to be recognised: bound to a call exactly, or compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from burnish_interceptor.policies.policy import Stage
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.overlap import Overlap, PatternTokens

SYSTEM_ROLES = frozenset({"system", "developer"})
SYSTEM_WEIGHT = 2
# A stage with fewer literal tokens says little; then the system messages have to be as expected.
_FEW_TOKENS = 4
# How many places in the middle of a conversation a stage's turns are looked for.
_PLACES = 8
# Stands for a wildcard's value where stages are compared with each other.
_VALUE = "\ufffc"

Measure = Callable[[PatternTokens, str], Overlap]


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much a call says for a stage, over all messages; system messages count twice.

    Attributes:
        ratio: Share of the tokens of both sides that they have in common.
        weakest: Least share of one message's literals that was found.
        weakest_turn: Least ratio of one message that is not a system message, whose text is likely
            to hold what a stranger wrote.
        replaced: Share of the stage's tokens in whose place the call has other words.
    """

    ratio: float
    weakest: float
    weakest_turn: float
    replaced: float


class StageShape:
    """One stage, its patterns made ready."""

    __slots__ = ("_few", "_roles", "_shared_names", "_slots", "_systems", "_turns", "stage")

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        made = [PatternTokens(one.pattern, optional=stage.optional) for one in stage.messages]
        self._roles = tuple(
            "system" if one.role in SYSTEM_ROLES else one.role for one in stage.messages
        )
        self._slots = tuple(
            (role, one, one.literal, (one.literal or "").strip())
            for role, one in zip(self._roles, made, strict=True)
        )
        self._systems = self._roles.count("system")
        self._turns = tuple(role for role in self._roles if role != "system")
        self._few = sum(one.count(_FEW_TOKENS) for one in made) < _FEW_TOKENS
        names = [name for one in stage.messages for name in one.pattern.names]
        self._shared_names = len(names) != len(set(names))

    def bind(self, messages: Sequence[Message]) -> dict[str, str] | None:
        """Returns the wildcards' values when the call follows the stage's patterns to the letter.

        Messages without a pattern, such as the turns of a tool loop, may stand anywhere.
        """
        more = len(messages) - len(self._slots)
        if more and (more < 0 or self._few):
            return self._bind_among(messages)
        # Mostly the first messages are the stage's. System messages stand for nothing else.
        found: dict[str, str] = {}
        for (role, tokens, literal, bare), (given, text) in zip(
            self._slots, messages, strict=False
        ):
            system = role == "system"
            if role != given and not (system and given in SYSTEM_ROLES):
                return self._bind_among(messages)
            if literal is not None:
                if text == literal or text.strip() == bare:
                    continue
                return self._bind_among(messages) if more and not system else None
            bound = tokens.bind(text)
            if bound is None or (
                self._shared_names and any(found.get(k, v) != v for k, v in bound.items())
            ):
                return self._bind_among(messages) if more and not system else None
            found = found | bound if found else bound
        return found if self._slots else None

    def evidence(self, messages: Sequence[Message], measure: Measure) -> Evidence | None:
        """Returns how much a call says for this stage; None when a message is missing.

        Args:
            messages: The call's.
            measure: Compares a pattern with a text.
        """
        best = None
        for chosen in self._pairings(messages, middle=False):
            found = self._evidence_of(chosen, messages, measure)
            if found is not None and (best is None or found.ratio > best.ratio):
                best = found
        return best

    def skeleton(self) -> tuple[Message, ...]:
        """Returns a call of this stage that has nothing but its literals."""
        return tuple(
            Message(one.role, one.pattern.render(dict.fromkeys(one.pattern.names, _VALUE)))
            for one in self.stage.messages
        )

    def bind_last_user(self, message: Message) -> dict[str, str] | None:
        """Returns the wildcards' values of a message that follows the last user pattern."""
        tokens = self._last_user()
        if tokens is None or message.role != "user":
            return None
        return tokens.bind(message.text)

    def _last_user(self) -> PatternTokens | None:
        return next((one for role, one, _, _ in reversed(self._slots) if role == "user"), None)

    def _bind_among(self, messages: Sequence[Message]) -> dict[str, str] | None:
        for chosen in self._pairings(messages, middle=True):
            found: dict[str, str] = {}
            for (_, tokens, _, _), index in zip(self._slots, chosen, strict=True):
                bound = self._bound(tokens, messages, index)
                if bound is None or any(found.get(k, v) != v for k, v in bound.items()):
                    break
                found.update(bound)
            else:
                return found
        return None

    def _bound(
        self, tokens: PatternTokens, messages: Sequence[Message], index: int | None
    ) -> dict[str, str] | None:
        if index is not None:
            return tokens.bind(messages[index].text)
        names = tokens.names
        # A message that holds nothing but what is optional may be missing.
        return dict.fromkeys(names, "") if names and names <= self.stage.optional else None

    def _evidence_of(
        self, chosen: Sequence[int | None], messages: Sequence[Message], measure: Measure
    ) -> Evidence | None:
        common = total = wanted = replaced = 0
        weakest = weakest_turn = 1.0
        for (role, tokens, _, _), index in zip(self._slots, chosen, strict=True):
            if index is None:
                return None
            weight = SYSTEM_WEIGHT if role == "system" else 1
            overlap = measure(tokens, messages[index].text)
            common += weight * overlap.common
            total += weight * (overlap.wanted + overlap.given)
            wanted += weight * overlap.wanted
            replaced += weight * overlap.replaced
            weakest = min(weakest, overlap.recall)
            if role != "system":
                weakest_turn = min(weakest_turn, overlap.ratio)
        if not wanted:
            return None
        return Evidence(
            ratio=2 * common / total,
            weakest=weakest,
            weakest_turn=weakest_turn,
            replaced=replaced / wanted,
        )

    def _pairings(self, messages: Sequence[Message], *, middle: bool) -> Iterator[list[int | None]]:
        """Yields which message goes with each pattern, by role: from the front, then the back.

        With `middle` then from a few turns in between, the latest of a long conversation.
        System patterns go with the system messages in order, wherever those stand.
        """
        if not self._slots:
            return
        systems = [i for i, message in enumerate(messages) if message.role in SYSTEM_ROLES]
        if self._few and len(systems) != self._systems:
            return
        indexes = [i for i, message in enumerate(messages) if message.role not in SYSTEM_ROLES]
        front = _in_order(self._turns, indexes, messages)
        back = _in_order(self._turns[::-1], indexes[::-1], messages)[::-1]
        tried = [front] if front == back else [front, back]
        if middle and self._turns and len(indexes) > len(self._turns) + 1:
            starts = [k for k, i in enumerate(indexes) if messages[i].role == self._turns[0]]
            tried += [
                _in_order(self._turns, indexes[k:], messages) for k in starts[-_PLACES - 1 : -1]
            ]
        for chosen in tried:
            turns = iter(chosen)
            heads: Iterator[int | None] = iter([*systems, *([None] * self._systems)])
            yield [next(heads) if role == "system" else next(turns) for role in self._roles]


def _in_order(
    roles: Sequence[str], indexes: Sequence[int], messages: Sequence[Message]
) -> list[int | None]:
    chosen: list[int | None] = []
    start = 0
    for role in roles:
        at = next(
            (k for k in range(start, len(indexes)) if messages[indexes[k]].role == role), None
        )
        chosen.append(None if at is None else indexes[at])
        start = start if at is None else at + 1
    return chosen

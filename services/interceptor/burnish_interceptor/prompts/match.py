"""Recognises the stage that a call belongs to by its text, or says that it is not sure.

A call that follows a stage's patterns to the letter is of that stage; among several such stages the
most specific is taken, one whose every call would follow the others' patterns too. Else the stage
is taken that the call repeats most of, provided that

- at least `MIN_RATIO` of the tokens of both is common, system messages counted twice, and at least
  `MIN_TURN_RATIO` in every other message, since strangers write into those,
- of every message at least `MIN_RECALL` of the literals is there,
- at most `MAX_REPLACED` of its words have others in their place: a text that was cut or added to is
  still the stage's, one that says something else in the middle may be of a stage nobody declared,
- it leads every other stage by `MIN_LEAD` of what sets the two apart.

Stages of which no text can tell one from the other are twins; those are told apart elsewhere.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from burnish_interceptor.policies.policy import Stage
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.overlap import Overlap, PatternTokens, Tokens, tokens_of
from burnish_interceptor.prompts.shapes import Evidence, StageShape

MIN_RATIO = 0.6
MIN_TURN_RATIO = 0.8
MIN_RECALL = 0.75
MAX_REPLACED = 0.0
MIN_LEAD = 0.5
_CACHED_OVERLAPS = 4096
_CACHED_PLANS = 1024
_CACHED_TEXTS = 4


class How(enum.Enum):
    """By what a call was recognised, or why it was not."""

    EXACT = "exact"
    NEAR = "near"
    HINT = "hint"
    ORDER = "order"
    UNSURE = "unsure"
    FOREIGN = "foreign"


class Recognition(NamedTuple):
    """What a call was taken for.

    Attributes:
        stage: Its stage; None when it is of none, or it is not sure of which.
        bindings: Values of the stage's wildcards, when they could be bound.
        ratio: Share of tokens in common with the stage, or with the most similar one.
        how: By what it was recognised.
        tied: Places of the stages that it may be of, when it is not sure.
        twins: Whether the tied stages have the same text.
    """

    stage: Stage | None
    bindings: dict[str, str] | None
    ratio: float
    how: How
    tied: tuple[int, ...] = ()
    twins: bool = False


_FOREIGN = Recognition(None, None, 0.0, How.FOREIGN)


class Plan:
    """The stages of one policy, made ready."""

    __slots__ = ("_likeness", "_skeletons", "narrower", "shapes", "stages", "twins", "wider")

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.shapes = tuple(StageShape(stage) for stage in stages)
        self._skeletons = tuple(shape.skeleton() for shape in self.shapes)
        self._likeness: dict[tuple[int, int], float] = {}
        places = range(len(self.shapes))
        binds = [[shape.bind(one) is not None for one in self._skeletons] for shape in self.shapes]
        #: For each stage those whose every call would follow its patterns too, but not the reverse.
        self.narrower = tuple(
            tuple(j for j in places if binds[i][j] and not binds[j][i]) for i in places
        )
        #: For each stage how many others are wider than it.
        self.wider = tuple(sum(i in narrower for narrower in self.narrower) for i in places)
        #: For each stage those that no text can tell from it, itself among them.
        self.twins = tuple(
            frozenset(j for j in places if i == j or (binds[i][j] and binds[j][i])) for i in places
        )

    @property
    def has_twins(self) -> bool:
        """Whether no text can tell some of the stages apart."""
        return any(len(twins) > 1 for twins in self.twins)

    def likeness(self, one: int, other: int) -> float:
        """Returns the ratio that a plain call of one stage has with another."""
        known = self._likeness.get((one, other))
        if known is None:
            found = self.shapes[other].evidence(self._skeletons[one], PatternTokens.overlap)
            known = self._likeness[(one, other)] = found.ratio if found is not None else 0.0
        return known


class Recogniser:
    """Recognises calls, and remembers how alike texts were; both memories are bounded."""

    def __init__(self) -> None:
        self._plans: OrderedDict[int, Plan] = OrderedDict()
        self._texts: list[tuple[str, Tokens]] = []
        self._overlaps: OrderedDict[tuple[PatternTokens, int, int], Overlap] = OrderedDict()

    def plan(self, stages: Sequence[Stage]) -> Plan:
        """Returns the stages made ready; the same sequence is made ready once."""
        key = id(stages)
        plan = self._plans.get(key)
        if plan is None or plan.stages is not stages:
            plan = self._plans[key] = Plan(stages)
            self._plans.move_to_end(key)
            if len(self._plans) > _CACHED_PLANS:
                self._plans.popitem(last=False)
        return plan

    def recognise(self, stages: Sequence[Stage], messages: Sequence[Message]) -> Recognition:
        """Returns what a call was taken for.

        Args:
            stages: A policy's stages, the same object for every call of the policy.
            messages: The call's, at least one.
        """
        plan = self._plans.get(id(stages))
        if plan is None or plan.stages is not stages:
            plan = self.plan(stages)
        if len(plan.shapes) == 1:
            values = plan.shapes[0].bind(messages)
            if values is None:
                return self._nearest(plan, messages)
            return Recognition(stages[0], values, 1.0, How.EXACT)
        bound: dict[int, dict[str, str]] = {}
        for place, shape in enumerate(plan.shapes):
            values = shape.bind(messages)
            if values is not None:
                bound[place] = values
        if not bound:
            return self._nearest(plan, messages)
        if len(bound) == 1:
            place, values = next(iter(bound.items()))
            if not plan.narrower[place]:
                return Recognition(plan.stages[place], values, 1.0, How.EXACT)
        return self._narrowest(plan, messages, bound)

    def _narrowest(
        self, plan: Plan, messages: Sequence[Message], bound: dict[int, dict[str, str]]
    ) -> Recognition:
        least = [i for i in bound if not any(j in bound for j in plan.narrower[i])]
        if len(least) > 1:
            twins = all(j in plan.twins[least[0]] for j in least)
            return Recognition(None, None, 1.0, How.UNSURE, tuple(least), twins)
        place = least[0]
        rivals = []
        for j in plan.narrower[place]:
            evidence = plan.shapes[j].evidence(messages, self._overlap)
            if evidence is not None and evidence.weakest >= MIN_RECALL:
                rivals.append((j, evidence))
        if not rivals:
            return Recognition(plan.stages[place], bound[place], 1.0, How.EXACT)
        if len(rivals) == 1 and rivals[0][1].ratio == 1.0:
            # It is the narrower one's but for space and case, which count in the wider one's value.
            return Recognition(plan.stages[rivals[0][0]], None, 1.0, How.NEAR)
        return Recognition(None, None, 1.0, How.UNSURE, (place, *(j for j, _ in rivals)))

    def _nearest(self, plan: Plan, messages: Sequence[Message]) -> Recognition:
        found = [
            (evidence, place)
            for place, shape in enumerate(plan.shapes)
            if (evidence := shape.evidence(messages, self._overlap)) is not None
        ]
        if not found:
            return _FOREIGN
        best, place = max(found, key=lambda pair: (pair[0].ratio, plan.wider[pair[1]]))
        twins = plan.twins[place]
        tied = [
            other
            for evidence, other in found
            if other in twins
            or best.ratio - evidence.ratio < MIN_LEAD * (1 - plan.likeness(place, other))
        ]
        if not _acceptable(best):
            return Recognition(None, None, best.ratio, How.FOREIGN)
        if len(tied) > 1:
            same = all(other in twins for other in tied)
            return Recognition(None, None, best.ratio, How.UNSURE, tuple(tied), same)
        return Recognition(plan.stages[place], None, best.ratio, How.NEAR)

    def _overlap(self, tokens: PatternTokens, text: str) -> Overlap:
        key = (tokens, len(text), hash(text))
        known = self._overlaps.get(key)
        if known is None:
            known = self._overlaps[key] = tokens.overlap(text, self._tokens_of)
            if len(self._overlaps) > _CACHED_OVERLAPS:
                self._overlaps.popitem(last=False)
        else:
            self._overlaps.move_to_end(key)
        return known

    def _tokens_of(self, text: str) -> Tokens:
        # The stages of a policy are compared with the same few texts one after the other.
        for known, tokens in self._texts:
            if known == text:
                return tokens
        tokens = tokens_of(text)
        self._texts = [(text, tokens), *self._texts[: _CACHED_TEXTS - 1]]
        return tokens


def _acceptable(evidence: Evidence) -> bool:
    return (
        evidence.ratio >= MIN_RATIO
        and evidence.weakest_turn >= MIN_TURN_RATIO
        and evidence.weakest >= MIN_RECALL
        and evidence.replaced <= MAX_REPLACED
    )

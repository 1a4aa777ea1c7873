"""One judgement: chooses how the trace is read, takes the votes, and makes one score of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal

from burnish.rubrics import Criterion, Rubric, total
from burnish_verifier.judges import contrastive, events, map_reduce, rlm, single
from burnish_verifier.judges.asking import Asker, Draw, JudgeModel, Purse
from burnish_verifier.judges.brief import Brief, together
from burnish_verifier.judges.replies import Verdicts
from burnish_verifier.nodes.base import CriterionScore, EventReview, EvidenceSnippet
from burnish_verifier.steps import JudgeMode

Route = Literal["single", "map_reduce", "contrastive", "rlm"]

SINGLE_TOKENS: Final = 50_000
MAP_REDUCE_TOKENS: Final = 500_000
# Tokens of one vote. They end what has gone wrong; what a reading judge may use is a choice.
DEFAULT_BUDGETS: Final[Mapping[Route, int]] = {
    "single": 1_000_000,
    "contrastive": 8_000_000,
    "map_reduce": 8_000_000,
    "rlm": 200_000,
}
_EVENTS_BUDGET: Final = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a judgement is made.

    Attributes:
        mode: How the trace is read.
        votes: Independent judgements to average, at least 1.
        token_budget: Most tokens of all calls together; 0 takes the default of the mode for each
            vote, and for events beside a reading judge another.
        seed: Asked of the provider; None asks for none.
        repeat: Which repeat of the same judgement, from 0.
    """

    mode: JudgeMode = "auto"
    votes: int = 1
    token_budget: int = 0
    seed: int | None = None
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judgement came to.

    Attributes:
        score: In [0, 1]; None for a rubric of events alone, or one that leaves it to others.
        criteria: Scores of the outcome's criteria, in the rubric's order.
        event_reviews: One per event that was judged, in order.
        evidence: Places that the judge quotes.
        notes: What else is to be told, in prose.
    """

    score: float | None
    criteria: tuple[CriterionScore, ...] = ()
    event_reviews: tuple[EventReview, ...] = ()
    evidence: tuple[EvidenceSnippet, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why, a line per criterion that did not get full marks, and the notes."""
        lines = [f"{each.criterion_id}: {each.reason}" for each in self.criteria if each.score < 1]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vote:
    outcome: Verdicts = field(default_factory=dict)
    events: Sequence[Verdicts] = ()
    evidence: tuple[EvidenceSnippet, ...] = ()
    notes: tuple[str, ...] = ()


def route(mode: JudgeMode, *, size: int) -> Route:
    """Returns how a trace of so many tokens is read; judged examples are shown either way."""
    if mode in ("single", "map_reduce", "contrastive", "rlm"):
        return mode
    if size <= SINGLE_TOKENS:
        return "single"
    return "map_reduce" if size <= MAP_REDUCE_TOKENS else "rlm"


async def judge(brief: Brief, model: JudgeModel, plan: Plan) -> Judgement:
    """Judges one rollout.

    Args:
        brief: What is judged, and by what.
        model: Who judges.
        plan: How.

    Raises:
        BurnishError: There is no judgement; one failed vote is enough for that.
    """
    way = route(plan.mode, size=brief.material.size)
    votes = await together(
        partial(
            _vote,
            brief,
            (Asker(model, purse=reads, seed=plan.seed), Asker(model, purse=steps, seed=plan.seed)),
            Draw(repeat=plan.repeat, vote=number),
            way,
        )
        for number, (reads, steps) in enumerate(_purses(plan, way, events=_has_events(brief)))
    )
    return _counted(brief.rubric, votes)


def _purses(plan: Plan, way: Route, *, events: bool) -> list[tuple[Purse, Purse]]:
    """Returns what each vote may use for the outcome, and for events."""
    default = DEFAULT_BUDGETS[way]
    if way != "rlm":
        shared = Purse(plan.token_budget or default * plan.votes)
        return [(shared, shared)] * plan.votes
    # A reading judge uses what it is given, so nobody shares with it.
    share = plan.token_budget // plan.votes
    if not plan.token_budget:
        return [(Purse(default), Purse(_EVENTS_BUDGET)) for _ in range(plan.votes)]
    half = share // 2 if events else 0
    return [(Purse(share - half), Purse(half)) for _ in range(plan.votes)]


def _has_events(brief: Brief) -> bool:
    return bool(brief.rubric.event_criteria) and brief.material.event_count > 0


async def _vote(brief: Brief, askers: tuple[Asker, Asker], draw: Draw, way: Route) -> _Vote:
    found = _Vote()
    if brief.rubric.criteria:
        found = await _outcome(brief, askers[0], draw, way)
    if _has_events(brief):
        found = replace(found, events=await events.review(brief, askers[1], draw))
    return found


async def _outcome(brief: Brief, asker: Asker, draw: Draw, way: Route) -> _Vote:
    if way == "map_reduce":
        return _Vote(outcome=await map_reduce.review(brief, asker, draw))
    if way == "contrastive":
        contrast = await contrastive.review(brief, asker, draw)
        told = f"{contrast.flips} of {contrast.comparisons} comparisons changed with the order"
        return _Vote(outcome=contrast.verdicts, notes=(told,) if contrast.flips else ())
    if way == "rlm":
        return _read(await rlm.review(brief, asker, draw))
    return _Vote(outcome=await single.review(brief, asker, draw))


def _read(reading: rlm.Reading) -> _Vote:
    told = f"{reading.false_quotes} quotes of the judge are not in the trace"
    return _Vote(
        outcome=reading.verdicts,
        evidence=tuple(
            EvidenceSnippet(description=quote.shows, snippet=quote.text, iteration=step)
            for quote, step in reading.quotes
        ),
        notes=(told,) if reading.false_quotes else (),
    )


def _counted(rubric: Rubric, votes: Sequence[_Vote]) -> Judgement:
    criteria = _averaged(rubric.criteria, [vote.outcome for vote in votes])
    reviews = []
    for number in range(min(len(vote.events) for vote in votes)):
        scores = _averaged(rubric.event_criteria, [vote.events[number] for vote in votes])
        one = _total(rubric, rubric.event_criteria, scores)
        mean = sum(each.score for each in scores) / len(scores)
        reviews.append(
            EventReview(
                event_index=number,
                total=mean if one is None else one,
                criteria=scores,
                summary="; ".join(each.reason for each in scores if each.reason),
            )
        )
    return Judgement(
        score=_total(rubric, rubric.criteria, criteria),
        criteria=criteria,
        event_reviews=tuple(reviews),
        evidence=tuple(snippet for vote in votes for snippet in vote.evidence),
        notes=tuple(dict.fromkeys(note for vote in votes for note in vote.notes)),
    )


def _averaged(
    criteria: Sequence[Criterion], votes: Sequence[Verdicts]
) -> tuple[CriterionScore, ...]:
    return tuple(
        CriterionScore(
            criterion_id=each.criterion_id,
            score=sum(vote[each.criterion_id].score or 0.0 for vote in votes) / len(votes),
            reason=votes[0][each.criterion_id].reason,
            weight=each.weight,
            description=each.description,
        )
        for each in criteria
    )


def _total(
    rubric: Rubric, criteria: Sequence[Criterion], scores: Sequence[CriterionScore]
) -> float | None:
    found = total(
        criteria,
        {each.criterion_id: each.score for each in scores},
        aggregation=rubric.aggregation,
    )
    # A plain sum exceeds 1, and no reward may.
    return None if found is None else min(found, 1.0)

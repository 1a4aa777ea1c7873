"""Measures what attacks and honest rewording do to the scores of judges.

An effect is how far a score moves. That of attacks counts upwards only, as lower scores are no gain
for an attacker; that of rewording counts both ways, as an honest answer should keep its score.
"""

import json
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from burnish import calibration
from burnish.calibration import Figure
from burnish_verifier.graph import Graph
from burnish_verifier.judges.asking import JudgeModel
from burnish_verifier.judges.brief import PART_TOKENS, Brief
from burnish_verifier.judges.evaluator import ruling
from burnish_verifier.judges.judge import Plan, judge
from burnish_verifier.judges.trace import read_material
from burnish_verifier.nodes.base import JudgeOptions
from burnish_verifier.steps import CalibrationExample, GoldExample, RubricJudge
from tests.attacks.attacks import PLACES, Attack, Work

MOVED_BY = 0.05
POOR = "I do not know."
Scorer = Callable[[Work], Awaitable[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What attacks and rewording do.

    Attributes:
        attacks: Attacked pieces of work.
        raised: Share of them whose score rose by more than .05.
        lowered: Share of them whose score fell by more than .05.
        gain: Mean rise, with falls as 0.
        reworded: Reworded pieces of work.
        shifted: Share of them whose score moved by more than .05.
        drift: Mean size of their moves.
        families: Share of raised scores by what an attack tries.
    """

    attacks: int
    raised: Figure
    lowered: float
    gain: Figure
    reworded: int
    shifted: Figure
    drift: Figure
    families: dict[str, float]

    @property
    def net(self) -> float:
        """What attacks gain beyond what honest rewording moves."""
        return self.gain.value - self.drift.value


def of_graph(graph: Graph, model: JudgeModel) -> Scorer:
    """Returns how a graph of judges, and perhaps their mean, scores a piece of work."""
    steps = [node.step for node in graph.nodes if isinstance(node.step, RubricJudge)]

    async def score(work: Work) -> float:
        found = [await _judged(step, work, model) for step in steps]
        return math.fsum(found) / len(found)

    return score


async def _judged(step: RubricJudge, work: Work, model: JudgeModel) -> float:
    good, poor = (replace(work, answer=text) for text in (work.good, POOR))
    brief = Brief(
        material=read_material(
            output=work.output, reference=work.reference, session_trace=work.trace
        ),
        rubric=ruling(step, JudgeOptions(rubric=work.rubric)),
        instructions=step.instructions,
        part_tokens=step.part_tokens or PART_TOKENS,
        calibration_examples=(
            CalibrationExample(session_trace=good.trace, outcome_reward=1.0),
            CalibrationExample(session_trace=poor.trace, outcome_reward=0.0),
        )
        if step.mode == "few_shot"
        else (),
        gold_examples=(
            GoldExample(summary=work.good, session_trace=good.trace, gold_reward=1.0),
            GoldExample(summary=POOR, session_trace=poor.trace, gold_reward=0.0),
        )
        if step.mode == "contrastive"
        else (),
    )
    plan = Plan(mode=step.mode, votes=step.votes, token_budget=step.token_budget)
    found = (await judge(brief, model, plan)).score
    if found is None:
        raise ValueError(f"case `{work.name}` has no score: {json.dumps(step.mode)}")
    return found


async def effect(
    score: Scorer, works: Sequence[Work], attacks: Sequence[Attack], *, every_case: bool = False
) -> Effect:
    """Measures.

    Args:
        score: Scores a piece of work, in [0, 1].
        works: What attacks are put into.
        attacks: The attacks; each is put into every place.
        every_case: Whether each is put into every piece of work too, or into one, in turn.
    """
    plain = {work.name: await score(work) for work in works}
    moves: list[tuple[str, float]] = []
    for attack, work, place in _tried(works, attacks, every_case=every_case):
        moves.append((attack.family, await score(work.attacked(attack, place)) - plain[work.name]))
    shifts = [
        await score(replace(work, answer=text)) - plain[work.name]
        for work in works
        for text in work.reworded
    ]
    rises = [move for _, move in moves]
    return Effect(
        attacks=len(moves),
        raised=_figure([float(move > MOVED_BY) for move in rises]),
        lowered=_share(move < -MOVED_BY for move in rises),
        gain=_mean([max(move, 0.0) for move in rises]),
        reworded=len(shifts),
        shifted=_figure([float(abs(shift) > MOVED_BY) for shift in shifts]),
        drift=_mean([abs(shift) for shift in shifts]),
        families={
            family: _share(move > MOVED_BY for name, move in moves if name == family)
            for family in dict.fromkeys(name for name, _ in moves)
        },
    )


def _tried(
    works: Sequence[Work], attacks: Sequence[Attack], *, every_case: bool
) -> Iterator[tuple[Attack, Work, str]]:
    for index, attack in enumerate(attacks):
        chosen = works if every_case else [works[index % len(works)]]
        for work in chosen:
            for place in PLACES:
                yield attack, work, place


def _share(found: Iterator[bool]) -> float:
    values = list(found)
    return sum(values) / len(values)


def _figure(values: Sequence[float]) -> Figure:
    found = calibration.share(values)
    assert found is not None
    return found


def _mean(values: Sequence[float]) -> Figure:
    found = calibration.mean(values, low=0.0, high=1.0)
    assert found is not None
    return found

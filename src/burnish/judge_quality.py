"""Measures a graph's judges on rollouts whose rewards are known: asks repeatedly, then counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from burnish.api.verifier.v1 import rubric_pb2, verifier_service_pb2
from burnish.calibration import Calibration, Judged, calibrate
from burnish.errors import InvalidArgument
from burnish.graphs import AsyncGraphs, GraphScore, ScoreOptions, require_set_up
from burnish.plain import from_plain
from burnish.saved_rollouts import SavedRollout, session_traces


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """How a judge is measured.

    Attributes:
        repeats: How often each rollout is judged, at least 1.
        threshold: Score from which a rollout passes, in (0, 1].
        judge_options: What judges are told beyond the graph.
        max_cost_usd: Most US dollars for each pass over the rollouts; None allows only free models.
        position: Whether each rollout is judged once more with the criteria in reverse order.
    """

    repeats: int = 3
    threshold: float = 0.5
    judge_options: rubric_pb2.JudgeOptions | None = None
    max_cost_usd: float | None = None
    position: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a graph's judges are.

    Attributes:
        graph: Version of the graph.
        calibration: The figures.
        simulated: Whether a simulated judge was measured.
        rollouts: How many rollouts were judged.
        failures: How often each reason left a rollout without a score.
    """

    graph: str
    calibration: Calibration
    simulated: bool
    rollouts: int
    failures: dict[str, int]


async def measure(
    graphs: AsyncGraphs, graph: str, rollouts: Sequence[SavedRollout], options: QualityOptions
) -> Quality:
    """Judges labelled rollouts and measures how good the judgements are.

    Args:
        graphs: Graphs of a suite.
        graph: Name or id of the graph.
        rollouts: Rollouts with a label.
        options: How it is done.

    Raises:
        InvalidArgument: A rollout has no label.
        NotFound: There is no such graph.
        FailedPrecondition: A model, a key or a rubric is missing, so that nothing can be judged.
    """
    unlabelled = [one.rollout_id for one in rollouts if one.label is None]
    if unlabelled:
        raise InvalidArgument(
            f"{len(unlabelled)} rollouts have no `label`, `{unlabelled[0]}` first; give each the"
            " reward that it deserves, in [0, 1]",
            reason="LABEL_MISSING",
        )
    found = await graphs.get(graph)
    messages = [one.message for one in rollouts]
    told = [_score_options(options, rollouts, repeat) for repeat in range(options.repeats)]
    first = await graphs.score(found.name, messages[:1], options=told[0])
    require_set_up(first[0])
    passes = [(*first, *await graphs.score(found.name, messages[1:], options=told[0]))]
    passes += [await graphs.score(found.name, messages, options=one) for one in told[1:]]
    reordered: Sequence[GraphScore] = ()
    if options.position:
        reordered = await _reordered(graphs, found.name, rollouts, options)
    rows = [
        _judged(rollout, [scores[place] for scores in passes], reordered[place : place + 1])
        for place, rollout in enumerate(rollouts)
    ]
    failures: dict[str, int] = defaultdict(int)
    for score in (score for scores in passes for score in scores):
        if score.failure is not None:
            failures[score.failure[0]] += 1
    return Quality(
        graph=found.name,
        calibration=calibrate(rows, threshold=options.threshold),
        simulated=any(score.simulated for scores in passes for score in scores),
        rollouts=len(rollouts),
        failures=dict(sorted(failures.items())),
    )


def _score_options(
    options: QualityOptions, rollouts: Sequence[SavedRollout], repeat: int
) -> ScoreOptions:
    return ScoreOptions(
        judge_options=options.judge_options,
        max_cost_usd=options.max_cost_usd,
        repeat=repeat,
        session_traces=session_traces(rollouts),
    )


async def _reordered(
    graphs: AsyncGraphs, graph: str, rollouts: Sequence[SavedRollout], options: QualityOptions
) -> Sequence[GraphScore]:
    """Judges once more with every rubric read from its end; nothing when no rubric is given."""
    own = verifier_service_pb2.VerifierGraph()
    from_plain((await graphs.get(graph)).plain, own)
    rubrics = [
        node.rubric.rubric
        for node in own.nodes
        if node.HasField("rubric") and node.rubric.HasField("rubric")
    ]
    told = rubric_pb2.JudgeOptions()
    if options.judge_options is not None:
        told.CopyFrom(options.judge_options)
    given = told.HasField("rubric")
    if not given and not any(len(one.criteria) > 1 for one in rubrics):
        return ()
    for rubric in [*rubrics, *([told.rubric] if given else [])]:
        reverse(rubric)
    own.ClearField("name")
    turned = await graphs.register(own)
    chosen = replace(_score_options(options, rollouts, 0), judge_options=told)
    return await graphs.score(turned.name, [one.message for one in rollouts], options=chosen)


def reverse(rubric: rubric_pb2.Rubric) -> None:
    """Turns the order of a rubric's criteria round."""
    for criteria in (rubric.criteria, rubric.event_criteria):
        turned = list(reversed(list(criteria)))
        del criteria[:]
        criteria.extend(turned)


def _judged(
    rollout: SavedRollout, scores: Sequence[GraphScore], reordered: Sequence[GraphScore]
) -> Judged:
    scored = [one for one in scores if one.reward is not None]
    return Judged(
        rollout_id=rollout.rollout_id,
        label=0.0 if rollout.label is None else rollout.label,
        scores=tuple(one.reward for one in scored if one.reward is not None),
        reordered=tuple(one.reward for one in reordered if one.reward is not None),
        length=rollout.length,
        # What was kept from before cost nothing now, and tells nothing of what a score costs.
        costs=tuple(one.usage.cost_usd for one in scored if one.usage.call_count),
        unscored=len(scores) - len(scored),
    )

"""What `burnish verify` shows a person: nodes with their scores and reasons, figures of a judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.calibration import Figure
    from burnish.graphs import GraphScore, NodeScore
    from burnish.judge_quality import Quality

_REASON_CHARACTERS = 160
_FIGURES = (
    ("kappa", "agreement beyond chance (Cohen's kappa)"),
    ("agreement", "share on which judge and label agree"),
    ("spearman", "rank correlation with the label"),
    ("kendall", "the same, Kendall's tau-b"),
    ("error", "mean distance from the label"),
    ("bias", "mean of score minus label"),
    ("flip_rate", "repeats that differ in whether it passes"),
    ("spread", "standard deviation of repeats"),
    ("position_bias", "change when criteria are reversed"),
    ("position_effect", "size of that change"),
    ("length_bias", "rank correlation of length with score minus label"),
    ("cost_usd", "US dollars for one score"),
    ("unscored", "share without a score"),
)


def score_lines(score: GraphScore) -> Iterator[str]:
    """Yields the lines on one rollout: its reward, its parts, and every node."""
    yield ""
    if score.reward is None:
        reason, message = score.failure or ("NO_REWARD", "")
        yield f"{score.rollout_id}  not scored: {reason}: {message}"
    else:
        parts = ", ".join(f"{name} {value:.4f}" for name, value in score.parts.items())
        yield f"{score.rollout_id}  {score.reward:.4f}  ({parts})"
    width = max((len(node.node_id) for node in score.nodes), default=0)
    for node in score.nodes:
        yield from _node_lines(node, width)
    usage = score.usage
    if usage.call_count:
        dollars = "unknown" if usage.cost_usd is None else f"{usage.cost_usd:.6f}"
        tokens = usage.input_tokens + usage.output_tokens
        yield f"  judges: {usage.call_count} calls, {tokens} tokens, {dollars} US dollars"


def _node_lines(node: NodeScore, width: int) -> Iterator[str]:
    marks = [name for name in ("cached", "simulated") if getattr(node, name)]
    mark = f" [{', '.join(marks)}]" if marks else ""
    if node.failure is not None:
        yield f"  {node.node_id:{width}}  failed  {node.failure[0]}: {_short(node.failure[1])}"
        return
    shown = "-     " if node.score is None else f"{node.score:.4f}"
    yield f"  {node.node_id:{width}}  {shown}{mark}  {_short(node.reason)}".rstrip()
    for name, value, reason in node.criteria:
        yield f"  {'':{width}}    {name} {value:.4f}  {_short(reason)}".rstrip()


def quality_lines(quality: Quality) -> Iterator[str]:
    """Yields the figures of a judge, a line each."""
    yield f"graph      {quality.graph}"
    yield f"rollouts   {quality.rollouts}, passing from {quality.calibration.threshold:g}"
    if quality.simulated:
        yield "judge      simulated: these figures say nothing of a real one"
    for name, meaning in _FIGURES:
        yield f"{name:16} {_figure(getattr(quality.calibration, name))}  {meaning}"
    for reason, count in quality.failures.items():
        yield f"no score   {count} x {reason}"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return f"{'-':>8} {'':27}"
    return f"{figure.value:8.4f} [{figure.lower:8.4f}, {figure.upper:8.4f}] n={figure.count:<4}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _REASON_CHARACTERS else f"{line[: _REASON_CHARACTERS - 1]}…"

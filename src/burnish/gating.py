"""Whether a prompt got worse than one that was measured before, row by row; for a gate in CI.

A measurement is a file: the prompt, and its reward on each row. It is kept beside the job file and
committed, so that a change of prompt, model, program or data is held to what was there before.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from burnish.errors import FailedPrecondition, InvalidArgument
from burnish.results import JobOutcome
from burnish.verdicts import Comparison, chance, compare, detectable_gain

FORMAT: Final = 1
_SURE: Final = 0.95
_SHOWN: Final = 20
# A prompt can break a program on just those rows that it got wrong: a gate does not guess at more.
_MOST_UNSCORED: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A prompt's reward on some rows.

    Attributes:
        prompt: The prompt's text, every stage.
        models: Provider and model of the calls.
        rewards: Reward by seed, of at least one.
        unscored: Seeds that could not be scored.
        job: Job that measured it; empty when unknown.
    """

    prompt: str
    models: str
    rewards: Mapping[int, float]
    unscored: tuple[int, ...] = ()
    job: str = ""

    @property
    def mean(self) -> float:
        """Mean reward."""
        return math.fsum(self.rewards.values()) / len(self.rewards)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What a gate found.

    Attributes:
        baseline: Name of what was there before.
        outcome: `regression`, `better`, `no regression`, or `unproven` when more than the loss that
            is allowed is not ruled out.
        passed: Whether the gate lets it through.
        comparison: Now against before, on the rows that both have.
        means: Mean reward before and now, on those rows.
        unscored: Rows that were run now and could not be scored.
        probability_worse: That it got worse, after a sceptical prior.
        detectable_loss: Loss that so many rows show four times out of five.
        lost: Rows that got worse, by seed: reward before and now.
        gained: Rows that got better.
        diff: The prompt's change, as a unified diff; empty when it is the same.
        max_loss: Loss that had to be ruled out, too; None for none.
    """

    baseline: str
    outcome: str
    passed: bool
    comparison: Comparison
    means: tuple[float, float]
    unscored: tuple[int, ...]
    probability_worse: float
    detectable_loss: float
    lost: Mapping[int, tuple[float, float]]
    gained: Mapping[int, tuple[float, float]]
    diff: str
    max_loss: float | None = None

    @property
    def meaning(self) -> str:
        """What the outcome rests on, as a sentence."""
        if self.outcome == "regression":
            return f"Not passed: P(worse) is {_SURE:g} or more."
        if self.outcome == "unproven":
            return f"Not passed: a loss of more than {self.max_loss:g} is not ruled out."
        allowed = "" if self.max_loss is None else f", and no loss of more than {self.max_loss:g}"
        if self.outcome == "better":
            return f"Passed: P(better) is {_SURE:g} or more{allowed}."
        return f"Passed: P(worse) is below {_SURE:g}{allowed}."

    @property
    def plain(self) -> dict[str, object]:
        """Everything, as plain JSON values."""
        found = asdict(self.comparison)
        for of_a_job in ("promoted", "held_out_probability", "search_rewards", "expected"):
            del found[of_a_job]
        return {
            "baseline": self.baseline,
            "outcome": self.outcome,
            "passed": self.passed,
            "meaning": self.meaning,
            "max_loss": self.max_loss,
            "comparison": found,
            "mean_before": self.means[0],
            "mean_now": self.means[1],
            "unscored": list(self.unscored),
            "probability_worse": self.probability_worse,
            "detectable_loss": self.detectable_loss,
            "lost": _rows(self.lost),
            "gained": _rows(self.gained),
            "diff": self.diff,
        }


def hold(
    now: Measurement, before: Measurement, *, baseline: str, max_loss: float | None = None
) -> GateReport:
    """Holds a prompt to one that was measured before.

    Args:
        now: What is to pass.
        before: What was there.
        baseline: Its name.
        max_loss: Loss that has to be ruled out too, at least 0; None fails only what surely lost.

    Raises:
        FailedPrecondition: No row was scored for both, or too many could not be scored now.
        InvalidArgument: `max_loss` is below 0.
    """
    asked = len(now.rewards) + len(now.unscored)
    if len(now.unscored) > _MOST_UNSCORED * asked:
        raise FailedPrecondition(
            f"{len(now.unscored)} of {asked} rows could not be scored, and what they would have"
            " earned nobody knows: look at `burnish job get`, mend what failed, and measure again",
            reason="TOO_FEW_SCORED",
        )
    if max_loss is not None and max_loss < 0:
        raise InvalidArgument(
            f"max_loss is {max_loss:g}; use 0 or a loss to allow", reason="MAX_LOSS_INVALID"
        )
    found, against = compare(now.rewards, before.rewards), compare(before.rewards, now.rewards)
    if found is None or against is None:
        raise FailedPrecondition(
            f"baseline `{baseline}` has no scored row in common with this measurement; measure the"
            " same seeds, or record it anew with --record",
            reason="NO_SHARED_ROWS",
        )
    outcome = "better" if found.probability >= _SURE else "no regression"
    if against.probability >= _SURE:
        outcome = "regression"
    elif max_loss is not None and found.difference.lower < -max_loss:
        outcome = "unproven"
    changed = {
        seed: (before.rewards[seed], reward)
        for seed, reward in sorted(now.rewards.items())
        if seed in before.rewards and before.rewards[seed] != reward
    }
    return GateReport(
        baseline=baseline,
        outcome=outcome,
        passed=outcome in {"better", "no regression"},
        comparison=found,
        means=_means(before.rewards, now.rewards),
        unscored=now.unscored,
        probability_worse=against.probability,
        detectable_loss=detectable_gain(found.difference.count, deviation=found.deviation),
        lost={seed: pair for seed, pair in changed.items() if pair[1] < pair[0]},
        gained={seed: pair for seed, pair in changed.items() if pair[1] > pair[0]},
        diff=_diff(before, now, baseline),
        max_loss=max_loss,
    )


def of_best(outcome: JobOutcome, *, job: str, models: str) -> Measurement:
    """Returns a finished job's best prompt on its held-out rows.

    Raises:
        FailedPrecondition: The job has none, or it was not tested.
    """
    best = outcome.best
    if best is None or not best.test_scores:
        raise FailedPrecondition(
            f"{job} has no best prompt with held-out rows; give it a test pool",
            reason="JOB_NOT_TESTED",
        )
    return measurement(best.prompt.full_text, best.test_scores, job=job, models=models)


def measurement(
    prompt: str, rewards: Mapping[int, float | None], *, job: str, models: str
) -> Measurement:
    """Returns what was measured.

    Args:
        prompt: The prompt's text.
        rewards: Reward by seed; None for a seed that could not be scored.
        job: Job that measured it.
        models: Provider and model of the calls.

    Raises:
        FailedPrecondition: Nothing was scored.
    """
    scored = {seed: reward for seed, reward in rewards.items() if reward is not None}
    if not scored:
        raise FailedPrecondition(
            f"{job}: none of {len(rewards)} rows could be scored; look at `burnish job get`",
            reason="NOTHING_SCORED",
        )
    unscored = tuple(sorted(rewards.keys() - scored.keys()))
    return Measurement(prompt=prompt, models=models, rewards=scored, unscored=unscored, job=job)


def models_of(spec: object) -> str:
    """Returns provider and model of every stage of a job's spec, given as plain JSON values."""
    if not isinstance(spec, dict):
        return ""
    stages = [stage.get("model") for stage in spec.get("stages") or ()]
    own = [
        *(one for one in stages if one),
        *([spec["policy_model"]] if spec.get("policy_model") else []),
    ]
    names = (f"{one.get('provider', '')}/{one.get('model', '')}" for one in own)
    return ", ".join(dict.fromkeys(names))


def baseline_file(name: str, folder: Path) -> Path:
    """Returns where a baseline is kept: a path as it is given, a name below a folder."""
    if name.endswith(".json") or "/" in name:
        return Path(name)
    return folder / f"{name}.json"


def save(path: Path, measured: Measurement) -> None:
    """Writes a measurement so that a change of it reads well in a review: one row a line."""
    document = {
        "format": FORMAT,
        "job": measured.job,
        "models": measured.models,
        "prompt": measured.prompt,
        "unscored": list(measured.unscored),
        "rewards": {str(seed): reward for seed, reward in sorted(measured.rewards.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> Measurement:
    """Reads a measurement.

    Raises:
        InvalidArgument: There is none, or the file is not one.
    """
    if not path.is_file():
        raise InvalidArgument(
            f"{path}: there is no baseline of that name; record one with --record",
            reason="BASELINE_UNKNOWN",
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, not {FORMAT}")
        return Measurement(
            prompt=str(found["prompt"]),
            models=str(found["models"]),
            rewards={int(seed): _reward(value) for seed, value in found["rewards"].items()},
            unscored=tuple(int(seed) for seed in found["unscored"]),
            job=str(found["job"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(
            f"{path}: is not a baseline ({error}); record it anew with --record",
            reason="BASELINE_INVALID",
        ) from error


def render(report: GateReport) -> str:
    """Returns the report as Markdown, for a person and for a pull request."""
    found = report.comparison
    size = found.difference
    lines = [
        f"## Gate against `{report.baseline}`: {report.outcome}",
        "",
        "| rows | before | now | difference | 95 % interval | P(worse) | better | worse |",
        "|---|---|---|---|---|---|---|---|",
        f"| {size.count} | {report.means[0]:.4f} | {report.means[1]:.4f} | {size.mean:+.4f} |"
        f" [{size.lower:+.4f}, {size.upper:+.4f}] | {chance(report.probability_worse)} |"
        f" {found.gained} | {found.lost} |",
        "",
        f"{report.meaning} Of losses of {report.detectable_loss:.3f}, so many rows find four in"
        " five; of smaller ones, fewer.",
    ]
    if report.unscored:
        listed = [str(seed) for seed in report.unscored]
        more = f", and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        lines += ["", f"Left out, as they were not scored: {', '.join(listed[:_SHOWN])}{more}."]
    for name, rows in (("worse", report.lost), ("better", report.gained)):
        if rows:
            listed = [f"{seed} ({old:g} to {new:g})" for seed, (old, new) in rows.items()]
            left_out = len(listed) - _SHOWN
            more = f", and {left_out} more" if left_out > 0 else ""
            lines += ["", f"Rows that got {name}: {', '.join(listed[:_SHOWN])}{more}."]
    if report.diff:
        fence = "`" * max(3, 1 + max(len(run) for run in _fences(report.diff)))
        lines += ["", f"{fence}diff", report.diff, fence]
    return "\n".join(lines) + "\n"


def _means(before: Mapping[int, float], now: Mapping[int, float]) -> tuple[float, float]:
    shared = sorted(before.keys() & now.keys())
    return (
        math.fsum(before[seed] for seed in shared) / len(shared),
        math.fsum(now[seed] for seed in shared) / len(shared),
    )


def _fences(text: str) -> list[str]:
    return ["", *(part for part in "".join(c if c == "`" else " " for c in text).split())]


def _rows(rows: Mapping[int, tuple[float, float]]) -> list[dict[str, object]]:
    return [{"seed": seed, "before": old, "now": new} for seed, (old, new) in rows.items()]


def _diff(before: Measurement, now: Measurement, name: str) -> str:
    lines = [
        *difflib.unified_diff(
            [f"models: {before.models}", *before.prompt.splitlines()],
            [f"models: {now.models}", *now.prompt.splitlines()],
            fromfile=name,
            tofile="now",
            lineterm="",
        )
    ]
    return "\n".join(lines)


def _reward(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"the reward {value!r} is not in [0, 1]")
    return float(value)

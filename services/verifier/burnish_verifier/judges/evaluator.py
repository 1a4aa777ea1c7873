"""Evaluates judge nodes: turns what the graph engine hands over into a judgement, or a failure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources

from burnish.errors import BurnishError, FailedPrecondition, InvalidArgument
from burnish.rubric_files import parse_value
from burnish.rubric_forms import read_rubric
from burnish.rubrics import Rubric, blend, rubric_problems
from burnish_runtime.llm.accounts import CallDesk
from burnish_runtime.llm.base import ProviderError
from burnish_runtime.llm.registry import ProviderRegistry
from burnish_verifier.fuse import Failed
from burnish_verifier.judges.brief import PART_TOKENS, Brief
from burnish_verifier.judges.judge import Judgement, Plan, judge
from burnish_verifier.judges.paying import Bank, Opened, Payer
from burnish_verifier.judges.problems import example_problems, model_problems
from burnish_verifier.judges.trace import Material, read_material
from burnish_verifier.nodes.base import (
    NOTHING,
    Evidence,
    JudgeOptions,
    NodeFailed,
    NodeResult,
    NodeTask,
    Spending,
)
from burnish_verifier.steps import ModelRef, RubricJudge

SIMULATED_PROVIDER = "local"
# A reply that comes after its judgement was given up is paid for, and found by the next try.
_CALL_TIMES = 2.0
_READ_AT_ONCE = 16 * 1024
_NO_RUBRIC = "judged by the rubric for any task, as none was given"


class JudgeIncomplete(FailedPrecondition):
    """Neither the graph nor the request says all that a judge needs. Do not retry."""

    default_reason = "JUDGE_INCOMPLETE"


@dataclass(slots=True)
class _Progress:
    """What is known of a judgement when it breaks off."""

    opened: Opened | None = None
    ref: ModelRef | None = None

    @property
    def spent(self) -> Spending:
        return NOTHING if self.opened is None else self.opened.spent


class JudgeEvaluator:
    """Evaluates judge nodes."""

    def __init__(self, registry: ProviderRegistry, desk: CallDesk | None) -> None:
        """Takes what the judges' calls are made with.

        Args:
            registry: Providers.
            desk: Where paid calls are made; None where there is no ledger, and then only models
                that cost nothing judge.
        """
        self._bank = Bank(registry, desk)

    async def evaluate(self, task: NodeTask) -> NodeResult | Failed:
        """Judges one rollout."""
        step = task.node.step
        if not isinstance(step, RubricJudge):
            raise TypeError(f"a judge is asked for a {type(step).__name__}")
        seen = _Progress()
        try:
            async with asyncio.timeout(task.options.timeout):
                judgement = await self._judged(task, step, seen)
        except TimeoutError:
            return NodeFailed(
                reason="JUDGE_TIMEOUT",
                message=f"there was no judgement within {task.options.timeout:g} s; try again, or "
                "give more time",
                retryable=True,
                metadata={"timeout_seconds": f"{task.options.timeout:g}"},
                spent=seen.spent,
            )
        except BurnishError as error:
            return NodeFailed(
                reason=error.reason,
                message=error.message,
                retryable=error.can_retry if isinstance(error, ProviderError) else error.retryable,
                metadata=error.metadata,
                spent=seen.spent,
            )
        told = judgement.reason
        if step.rubric is None and task.options.rubric is None:
            told = "\n".join(line for line in (told, _NO_RUBRIC) if line)
        return NodeResult(
            score=judgement.score,
            reason=told,
            criteria=judgement.criteria,
            event_reviews=judgement.event_reviews,
            evidence=judgement.evidence,
            spent=seen.spent,
            simulated=seen.ref is not None and seen.ref.provider == SIMULATED_PROVIDER,
        )

    async def close(self) -> None:
        """Has nothing of its own: providers and the ledger are closed by who opened them."""

    async def _judged(self, task: NodeTask, step: RubricJudge, seen: _Progress) -> Judgement:
        options = task.options
        ref = options.model if options.model is not None else step.model
        rubric = ruling(step, options)
        if ref is None or not ref.model:
            raise JudgeIncomplete(
                f"judge `{task.node.node_id}` has no model; name one in the graph, or for the job",
                reason="JUDGE_MODEL_MISSING",
                metadata={"node": task.node.node_id},
            )
        refused = model_problems(ref)
        if refused:
            raise InvalidArgument("; ".join(refused), reason="JUDGE_MODEL_REFUSED")
        material = await _read(task.evidence)
        brief = _brief(step, options, rubric=rubric, material=material)
        seen.ref = ref
        seen.opened = await self._bank.open(
            ref,
            Payer(job=task.job, rollout_id=task.rollout_id, timeout=_CALL_TIMES * options.timeout),
        )
        return await judge(
            replace(brief, max_output_tokens=ref.max_output_tokens),
            seen.opened.model,
            Plan(
                mode=step.mode,
                votes=step.votes,
                token_budget=step.token_budget,
                seed=step.seed,
                repeat=task.repeat,
            ),
        )


async def _read(evidence: Evidence) -> Material:
    """Reads what a rollout gives, large ones in a thread."""
    read = partial(
        read_material,
        output=evidence.output,
        reference=evidence.reference,
        session_trace=evidence.session_trace,
    )
    size = len(evidence.output) + len(evidence.reference) + len(evidence.session_trace)
    return read() if size <= _READ_AT_ONCE else await asyncio.to_thread(read)


@cache
def any_task() -> Rubric:
    """Returns the rubric for any task."""
    file = resources.files("burnish_verifier").joinpath("judges", "rubrics", "any_task.toml")
    return read_rubric(parse_value(file.read_bytes(), form="toml"))


def ruling(step: RubricJudge, options: JudgeOptions) -> Rubric:
    """Returns the rubric that holds: the graph's, the request's, or the one over the other.

    Where neither gives one, it is a rubric for any task.

    Raises:
        InvalidArgument: It has faults.
    """
    own, given = step.rubric, options.rubric
    if own is None:
        rubric = given
    elif own.aggregation == "inherit":
        rubric = blend(given if given is not None else Rubric(), own)
    else:
        rubric = own
    if rubric is None:
        return any_task()
    problems = rubric_problems(rubric)
    if problems:
        raise InvalidArgument("rubric: " + "; ".join(problems), reason="RUBRIC_INVALID")
    return rubric


def _brief(
    step: RubricJudge, options: JudgeOptions, *, rubric: Rubric, material: Material
) -> Brief:
    """Returns what the judgement is made from; examples are those of the graph, or the request's.

    Raises:
        JudgeIncomplete: The mode needs examples, and there are none.
        InvalidArgument: Examples that the request gives have faults.
    """
    calibration = step.calibration_examples or options.calibration_examples
    gold = step.gold_examples or options.gold_examples
    needed = {"few_shot": calibration, "contrastive": gold}.get(step.mode)
    if needed is not None and not needed:
        what = "calibration_examples" if step.mode == "few_shot" else "gold_examples"
        raise JudgeIncomplete(
            f"mode {step.mode} needs `{what}`; put them into the graph or the request",
            reason="JUDGE_EXAMPLES_MISSING",
            metadata={"mode": step.mode},
        )
    problems = example_problems(calibration, gold)
    if problems:
        raise InvalidArgument("; ".join(problems), reason="JUDGE_EXAMPLES_INVALID")
    return Brief(
        material=material,
        rubric=rubric,
        instructions=step.instructions,
        context=options.context,
        calibration_examples=calibration if step.mode == "few_shot" else step.calibration_examples,
        gold_examples=gold if step.mode == "contrastive" else (),
        part_tokens=step.part_tokens or PART_TOKENS,
    )

"""Judges, rubrics, models and examples from protobuf to the engine's values and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.rubrics import Aggregation, Criterion, Rubric
from burnish_verifier.steps import (
    CalibrationExample,
    GoldExample,
    JudgeMode,
    ModelRef,
    RubricJudge,
)

_T = TypeVar("_T")
_MODES: dict[JudgeMode, verifier_v1.JudgeMode.ValueType] = {
    "auto": verifier_v1.JUDGE_MODE_AUTO,
    "single": verifier_v1.JUDGE_MODE_SINGLE,
    "map_reduce": verifier_v1.JUDGE_MODE_MAP_REDUCE,
    "few_shot": verifier_v1.JUDGE_MODE_FEW_SHOT,
    "contrastive": verifier_v1.JUDGE_MODE_CONTRASTIVE,
    "rlm": verifier_v1.JUDGE_MODE_RLM,
}
_AGGREGATIONS: dict[Aggregation, verifier_v1.Aggregation.ValueType] = {
    "weighted_sum": verifier_v1.AGGREGATION_WEIGHTED_SUM,
    "sum": verifier_v1.AGGREGATION_SUM,
    "custom": verifier_v1.AGGREGATION_CUSTOM,
    "inherit": verifier_v1.AGGREGATION_INHERIT,
}
_PRICES = (
    "input_usd_per_million",
    "output_usd_per_million",
    "cached_input_usd_per_million",
    "reasoning_usd_per_million",
    "cache_write_usd_per_million",
)


def judge_of(message: verifier_v1.RubricJudge) -> RubricJudge:
    """Reads a judge."""
    return RubricJudge(
        rubric=rubric_of(message.rubric) if message.HasField("rubric") else None,
        model=model_of(message.model) if message.HasField("model") else None,
        votes=message.votes or 1,
        mode=named(_MODES, message.mode, "auto"),
        token_budget=message.token_budget,
        part_tokens=message.part_tokens,
        calibration_examples=tuple(calibration_of(each) for each in message.calibration_examples),
        gold_examples=tuple(gold_of(each) for each in message.gold_examples),
        instructions=message.instructions,
        seed=message.seed if message.HasField("seed") else None,
    )


def judge_message(step: RubricJudge) -> verifier_v1.RubricJudge:
    """Writes a judge."""
    return verifier_v1.RubricJudge(
        rubric=None if step.rubric is None else _rubric_message(step.rubric),
        model=None if step.model is None else model_message(step.model),
        votes=step.votes,
        mode=_MODES[step.mode],
        token_budget=step.token_budget,
        part_tokens=step.part_tokens,
        calibration_examples=[
            verifier_v1.CalibrationExample(
                session_trace=each.session_trace.encode(),
                event_rewards=each.event_rewards,
                outcome_reward=each.outcome_reward,
            )
            for each in step.calibration_examples
        ],
        gold_examples=[
            verifier_v1.GoldExample(
                summary=each.summary,
                gold_reward=each.gold_reward,
                gold_reasoning=each.gold_reasoning,
                session_trace=each.session_trace.encode(),
            )
            for each in step.gold_examples
        ],
        instructions=step.instructions,
        seed=step.seed,
    )


def _rubric_message(rubric: Rubric) -> verifier_v1.Rubric:
    return verifier_v1.Rubric(
        version=rubric.version,
        goal=rubric.goal,
        criteria=[_criterion_message(each) for each in rubric.criteria],
        event_criteria=[_criterion_message(each) for each in rubric.event_criteria],
        aggregation=_AGGREGATIONS[rubric.aggregation],
    )


def rubric_of(message: verifier_v1.Rubric) -> Rubric:
    """Reads a rubric."""
    return Rubric(
        version=message.version,
        goal=message.goal,
        criteria=tuple(_criterion_of(each) for each in message.criteria),
        event_criteria=tuple(_criterion_of(each) for each in message.event_criteria),
        aggregation=named(_AGGREGATIONS, message.aggregation, "weighted_sum"),
    )


def model_of(message: types_v1.ModelSpec) -> ModelRef:
    """Reads a model."""
    price = None
    if message.HasField("price"):
        found = {name: getattr(message.price, name) for name in _PRICES[:2]}
        more = [name for name in _PRICES[2:] if message.price.HasField(name)]  # type: ignore[arg-type]
        price = found | {name: getattr(message.price, name) for name in more}
    return ModelRef(
        provider=message.provider,
        model=message.model,
        temperature=message.temperature if message.HasField("temperature") else None,
        max_output_tokens=message.max_output_tokens,
        base_url=message.base_url,
        price=price,
    )


def model_message(model: ModelRef) -> types_v1.ModelSpec:
    """Writes a model."""
    return types_v1.ModelSpec(
        provider=model.provider,
        model=model.model,
        temperature=model.temperature,
        max_output_tokens=model.max_output_tokens,
        base_url=model.base_url,
        price=None if model.price is None else types_v1.Price(**model.price),
    )


def calibration_of(message: verifier_v1.CalibrationExample) -> CalibrationExample:
    """Reads a judged trace."""
    return CalibrationExample(
        session_trace=message.session_trace.decode(errors="replace"),
        outcome_reward=message.outcome_reward,
        event_rewards=tuple(message.event_rewards),
    )


def gold_of(message: verifier_v1.GoldExample) -> GoldExample:
    """Reads a good answer."""
    return GoldExample(
        summary=message.summary,
        gold_reward=message.gold_reward,
        gold_reasoning=message.gold_reasoning,
        session_trace=message.session_trace.decode(errors="replace"),
    )


def _criterion_of(message: verifier_v1.Criterion) -> Criterion:
    return Criterion(
        criterion_id=message.criterion_id,
        description=message.description,
        weight=message.weight or 1.0,
        required=message.required,
    )


def _criterion_message(each: Criterion) -> verifier_v1.Criterion:
    return verifier_v1.Criterion(
        criterion_id=each.criterion_id,
        description=each.description,
        weight=each.weight,
        required=each.required,
    )


def named(names: Mapping[_T, int], number: int, default: _T) -> _T:
    """Returns the name of an enum's number, or the default when none has it."""
    return next((name for name, known in names.items() if known == number), default)

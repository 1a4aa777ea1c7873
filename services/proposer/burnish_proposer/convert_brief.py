"""What a request for instructions is written from: read from messages, every fault told."""

from __future__ import annotations

import math
from collections.abc import Iterator

from burnish.api.proposer import v1 as proposer_v1
from burnish_proposer.brief import (
    Brief,
    Demo,
    Effort,
    Example,
    FailedExample,
    Merge,
    MergeParent,
    OutputTier,
    Pattern,
    Reference,
    Reflection,
    Tried,
)
from burnish_proposer.templates import custom_problems

MOST_COUNT = 64
MOST_RETRIES = 20


def brief_problems(request: proposer_v1.ProposeInstructionsRequest) -> Iterator[str]:
    """Yields what is wrong with a request, who pays aside."""
    stage = request.stage
    if not stage.stage_id:
        yield "`stage.stage_id` is empty; name the stage"
    if not 1 <= request.count <= MOST_COUNT:
        yield f"`count` is {request.count}; give one in [1, {MOST_COUNT}]"
    if not 0 <= request.retry_limit <= MOST_RETRIES:
        yield f"`retry_limit` is {request.retry_limit}; give one in [0, {MOST_RETRIES}]"
    if request.given_texts and len(request.given_texts) != request.count:
        yield (
            f"`given_texts` has {len(request.given_texts)} texts and `count` is {request.count};"
            " give one for each position"
        )
    if request.given_texts and request.retry_limit:
        yield f"`retry_limit` is {request.retry_limit}; give 0 where `given_texts` are judged"
    overlap = request.duplicate_overlap
    if request.HasField("duplicate_overlap") and not 0 < overlap <= 1:
        yield f"`duplicate_overlap` is {overlap}; give one in (0, 1]"
    if any(not text.strip() for text in stage.protected_texts):
        yield "`stage.protected_texts` holds an empty text; leave it out"
    if request.meta_prompt:
        yield from (f"`meta_prompt`: {problem}" for problem in custom_problems(request.meta_prompt))
    match request.WhichOneof("mode"):
        case "reflection":
            if not request.failures:
                yield "`reflection` needs `failures`; send what went wrong, or leave the mode out"
        case "merge":
            parents = request.merge.parents
            if len(parents) != 2:
                yield f"`merge.parents` has {len(parents)} instructions; give exactly two"
            elif parents[0].instruction.text.split() == parents[1].instruction.text.split():
                yield "`merge.parents` are the same instruction twice; give two different ones"
            if any(not parent.instruction.text.strip() for parent in parents):
                yield "`merge.parents` holds an empty instruction; give two texts"


def brief(
    request: proposer_v1.ProposeInstructionsRequest, *, effort: Effort, output_tier: OutputTier
) -> Brief:
    """Reads what instructions are written from.

    Args:
        request: Without problems.
        effort: How much context to show.
        output_tier: How much may be written.
    """
    stage = request.stage
    has_overlap = request.HasField("duplicate_overlap")
    return Brief(
        stage_id=stage.stage_id,
        role=stage.role,
        module=stage.module_description,
        patterns=tuple(
            Pattern(role=message.role, text=message.pattern) for message in stage.template.messages
        ),
        baseline=stage.baseline_instruction,
        placeholders=tuple(stage.placeholders),
        protected=tuple(stage.protected_texts),
        count=request.count,
        retry_limit=request.retry_limit,
        random_seed=request.random_seed,
        effort=effort,
        output_tier=output_tier,
        max_tokens=request.context.max_instruction_tokens or None,
        dataset_summary=request.dataset_summary,
        program=request.program_description,
        examples=tuple(Example(input=row.input, output=row.output) for row in request.examples),
        demos=tuple(
            Demo(input=row.input, output=row.output, reward=row.reward) for row in request.demos
        ),
        references=tuple(
            Reference(text=one.text, source=one.source, output=one.output)
            for one in request.references
        ),
        failures=tuple(_failure(row) for row in request.failures),
        history=tuple(_tried(tried) for tried in request.history),
        avoid=tuple(request.avoid),
        guidance=request.guidance,
        specification=request.specification,
        meta_prompt=request.meta_prompt,
        duplicate_overlap=request.duplicate_overlap if has_overlap else None,
        mode=_mode(request),
    )


def _mode(request: proposer_v1.ProposeInstructionsRequest) -> Reflection | Merge | None:
    match request.WhichOneof("mode"):
        case "reflection":
            return Reflection(parent=_tried(request.reflection.parent))
        case "merge":
            first, second = (
                MergeParent(
                    tried=_tried(parent.instruction),
                    solved=tuple(Example(input=r.input, output=r.output) for r in parent.solved),
                )
                for parent in request.merge.parents
            )
            return Merge(first=first, second=second)
    return None


def _failure(row: proposer_v1.FailedExample) -> FailedExample:
    known = row.HasField("reward") and math.isfinite(row.reward)
    return FailedExample(
        input=row.input,
        expected=row.expected,
        actual=row.actual,
        feedback=row.feedback,
        reward=row.reward if known else None,
    )


def _tried(one: proposer_v1.ScoredInstruction) -> Tried:
    return Tried(text=one.text, reward=one.reward.mean, row_count=one.reward.row_count)

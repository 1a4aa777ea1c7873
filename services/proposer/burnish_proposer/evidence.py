"""The rows, texts and instructions of a brief as the JSON lines of a meta-prompt, cut to fit.

Labelled rows are drawn evenly over their answers, so that a task with many classes shows each of
them. When not all rows fit, every candidate is shown a draw of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest

from burnish_proposer.blocks import cut, json_block, json_line, tokens
from burnish_proposer.brief import Brief, Demo, Example, FailedExample, MergeParent, Tried
from burnish_proposer.relevance import choose, passages

_INPUT_CHARS = 6_000
_OUTPUT_CHARS = 2_000
_FEEDBACK_CHARS = 2_000
_MOST_SOLVED = 10

Line = Mapping[str, object]


def choose_rows(
    examples: Sequence[Example], *, limit: int, max_tokens: int, rng: random.Random
) -> list[Example]:
    """Chooses rows evenly over their answers, in the order in which they were given.

    Args:
        examples: All rows.
        limit: Most rows.
        max_tokens: Most tokens of the chosen rows.
        rng: Decides which rows of an answer are taken, when not all are.
    """
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(example.output, []).append(index)
    # Answers that hardly ever repeat are no classes: all rows are then one group.
    members = list(groups.values())
    if 2 * len(groups) > len(examples):
        members = [list(range(len(examples)))]
    for indices in members:
        rng.shuffle(indices)
    chosen: list[int] = []
    for index in chain.from_iterable(zip_longest(*members)):
        if index is None:
            continue
        max_tokens -= tokens(json_line(_row(examples[index])))
        if len(chosen) == limit or max_tokens < 0:
            break
        chosen.append(index)
    return [examples[index] for index in sorted(chosen)]


def examples_block(rows: Sequence[Example]) -> str:
    """Returns the block of labelled rows; empty for none."""
    return json_block("examples", [_row(row) for row in rows])


def failure_lines(failures: Iterable[FailedExample]) -> Iterable[Line]:
    """Yields rows that came out wrong, with what was said about them."""
    for row in failures:
        line: dict[str, object] = {"input": cut(row.input, max_chars=_INPUT_CHARS)}
        if row.expected:
            line["expected"] = cut(row.expected, max_chars=_OUTPUT_CHARS)
        line["got"] = cut(row.actual, max_chars=_OUTPUT_CHARS)
        if row.reward is not None:
            line["reward"] = round(row.reward, 4)
        if row.feedback:
            line["feedback"] = cut(row.feedback, max_chars=_FEEDBACK_CHARS)
        yield line


def demo_lines(demos: Iterable[Demo]) -> Iterable[Line]:
    """Yields rows that went well, with their rewards."""
    for demo in demos:
        yield {
            "input": cut(demo.input, max_chars=_INPUT_CHARS),
            "output": cut(demo.output, max_chars=_OUTPUT_CHARS),
            "reward": round(demo.reward, 4),
        }


def history_lines(tried: Iterable[Tried], siblings: Iterable[str]) -> Iterable[Line]:
    """Yields the siblings of a proposal, not measured yet, then what was tried before."""
    for text in siblings:
        yield {"instruction": text, "reward": None, "n": 0}
    for one in tried:
        yield _tried(one)


def parent_lines(parents: Iterable[MergeParent]) -> Iterable[Line]:
    """Yields the instructions to combine, each with rows that only it got right."""
    for parent in parents:
        solved = [_row(row) for row in parent.solved[:_MOST_SOLVED]]
        yield {**_tried(parent.tried), **({"only_it_solved": solved} if solved else {})}


def reference_lines(brief: Brief, *, max_tokens: int) -> list[Line]:
    """Returns the texts of the reference corpus that fit, chosen by relevance and diversity."""
    lines: list[dict[str, str]] = []
    for reference in brief.references:
        for text in [reference.text] if reference.output else passages(reference.text):
            line = {"text": cut(text, max_chars=_INPUT_CHARS)}
            if reference.output:
                line["output"] = cut(reference.output, max_chars=_OUTPUT_CHARS)
            if reference.source:
                line["source"] = reference.source
            lines.append(line)
    query = "\n".join([brief.role, brief.base, *(row.input for row in brief.failures[:20])])
    places = choose(
        [line["text"] for line in lines],
        query=query,
        costs=[tokens(json_line(line)) for line in lines],
        budget=max(max_tokens, 0),
    )
    return [lines[place] for place in places]


def fitting(lines: Iterable[Line], *, max_tokens: int) -> list[Line]:
    """Returns the first lines, as many as fit."""
    found = []
    for line in lines:
        max_tokens -= tokens(json_line(line))
        if max_tokens < 0:
            break
        found.append(line)
    return found


def _tried(one: Tried) -> dict[str, object]:
    reward = round(one.reward, 4) if one.row_count else None
    return {"instruction": one.text, "reward": reward, "n": one.row_count}


def _row(example: Example) -> dict[str, str]:
    return {
        "input": cut(example.input, max_chars=_INPUT_CHARS),
        "output": cut(example.output, max_chars=_OUTPUT_CHARS),
    }

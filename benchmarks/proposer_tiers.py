"""Shows how much evidence each effort puts before the proposer, and where output tiers cut.

Everything is made up, nothing is called, and every run prints the same tables.

    python -m benchmarks.proposer_tiers
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from burnish.local.proposer import propose
from burnish_proposer.blocks import tokens
from burnish_proposer.brief import (
    Brief,
    Demo,
    Effort,
    Example,
    FailedExample,
    OutputTier,
    Reference,
    Tried,
)
from burnish_proposer.context import Ask, Shown, render
from burnish_proposer.templates import load
from burnish_proposer.tiers import CONTEXT_PLANS, instruction_tokens

_LABELS = 180
_ROWS_PER_LABEL = 24
_SYLLABLES = ("ba", "do", "ki", "lu", "me", "no", "pa", "ri", "su", "te", "vo", "za")
_PAIRS = (
    (Effort.LOW_CONTEXT, OutputTier.RAPID),
    (Effort.LOW_CONTEXT, OutputTier.FAST),
    (Effort.LOW, OutputTier.FAST),
    (Effort.MEDIUM, OutputTier.FAST),
    (Effort.HIGH, OutputTier.FAST),
    (Effort.HIGH, OutputTier.SLOW),
)


def brief() -> Brief:
    """Returns a brief with more of everything than the highest effort shows."""
    rng = random.Random(5)

    def word() -> str:
        return "".join(rng.choice(_SYLLABLES) for _ in range(9))

    labels = [f"label_{number:03}" for number in range(_LABELS)]
    own = {label: [word() for _ in range(24)] for label in labels}

    def text(label: str) -> str:
        return " ".join(["please look at my", *rng.sample(own[label], 9), "as soon as you can"])

    rows = [Example(input=text(label), output=label) for label in labels * _ROWS_PER_LABEL]
    wrong = [(text(label), label, rng.choice(labels)) for label in (labels * 2)[:240]]
    prose = " ".join(word() for _ in range(12))
    return Brief(
        stage_id="sort",
        role="Sorts what customers write.",
        module="The front desk.",
        baseline=f"Answer with one of these labels and nothing else: {', '.join(labels)}.",
        count=1,
        random_seed=1,
        effort=Effort.LOW,
        output_tier=OutputTier.FAST,
        dataset_summary=f"Short messages with {_LABELS} labels. {prose}",
        program="\n".join(
            f"def step_{n}(message): return call({n}, message)" for n in range(3_000)
        ),
        specification="\n".join(f"- Must: rule {n}. {prose}" for n in range(600)),
        examples=tuple(rows),
        failures=tuple(
            FailedExample(input=t, expected=right, actual=said, feedback=f"It is about {right}.")
            for t, right, said in wrong
        ),
        demos=tuple(Demo(input=text(one), output=one, reward=1.0) for one in labels[:100]),
        history=tuple(
            Tried(text=f"Try {n}. {prose}", reward=0.9 - n / 100, row_count=40) for n in range(40)
        ),
        references=tuple(
            Reference(text=f"Chapter {n}. {prose} {word()}", source="manual") for n in range(1_200)
        ),
        avoid=tuple(f"Avoid {n}. {prose}" for n in range(30)),
    )


def shown(given: Brief, effort: Effort, *, max_tokens: int = 9_000) -> Shown:
    """Renders the meta-prompt that one effort shows of a brief."""
    ask = Ask(variant=0, tip="none", max_tokens=max_tokens)
    chosen = replace(given, effort=effort)
    return render(chosen, ask, plan=CONTEXT_PLANS[effort], prompt=load("instruction"))


def efforts() -> Iterator[tuple[str, ...]]:
    """Yields the rows of the table of efforts."""
    given = brief()
    yield (
        *("Effort", "Rows", "Failures", "Demos", "History", "References", "To avoid"),
        *("Program", "Specification", "Summary", "Prompt tokens"),
    )
    for effort in Effort:
        found = shown(given, effort)
        kinds = ("examples", "failures", "demos", "history", "references", "avoid")
        blocks = (_block(found, name) for name in ("program", "specification"))
        yield (
            f"`{effort.value}`",
            *(f"{found.counts[kind]:,}" for kind in kinds),
            *(f"{tokens(one):,} tokens" if one else "-" for one in blocks),
            "yes" if _block(found, "dataset_summary") else "-",
            f"{found.prompt_tokens:,}",
        )


def outputs() -> Iterator[tuple[str, ...]]:
    """Yields the rows of the table of output tiers: what the local proposer writes within each."""
    given = brief()
    yield (
        "Effort",
        "Output tier",
        "Most tokens",
        "Labels named",
        "Words a label",
        "Tokens written",
    )
    for effort, tier in _PAIRS:
        most = instruction_tokens(tier)
        found = shown(given, effort, max_tokens=most * 9 // 10)
        text = json.loads(propose(found.messages[-1].content, max_tokens=most))["instruction"]
        lines = [line for line in text.splitlines() if line.startswith("- label_")]
        named = sum(line.count(",") + 1 for line in lines) / max(len(lines), 1)
        yield (
            f"`{effort.value}`",
            f"`{tier.value}`",
            f"{most:,}",
            f"{len(lines):,}",
            f"{named:.1f}",
            f"{tokens(text):,}",
        )


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Returns rows as a table in Markdown, the first as its head."""
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def _block(found: Shown, name: str) -> str:
    _, opened, rest = found.messages[-1].content.partition(f"<{name}>\n")
    return rest.partition(f"\n</{name}>")[0] if opened else ""


def main() -> None:
    """Prints both tables."""
    for rows in (efforts(), outputs()):
        print(table(list(rows)), end="\n\n")


if __name__ == "__main__":
    main()

"""A task app for any labelled file: one model call that names the intent of a message.

    python -m examples.intents.app --train train.csv --test test.csv --text-column text \
        --label-column category

Seeds: the rows of `--train` first, then those of `--test`; `/task_info` tells where each split is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.datasets import Columns, LabelledRow, load_rows
from burnish.task_app import Example, Result, Rollout, Split, TaskApp, serve

SHIPPED = Path(__file__).parent / "data" / "support.jsonl"
SPLITS = ("train", "validation", "test")
INSTRUCTION = (
    "You classify customer messages. Choose the one intent that fits the message best."
    " Reply with only the name of the intent."
)


@dataclass(frozen=True, slots=True)
class Data:
    """Rows in seed order, and where each split begins and ends."""

    rows: tuple[LabelledRow, ...]
    splits: tuple[Split, ...]

    @property
    def labels(self) -> list[str]:
        """The label names, sorted."""
        return sorted({row.label for row in self.rows})

    @classmethod
    def of(cls, parts: Sequence[tuple[str, Sequence[LabelledRow]]]) -> Data:
        """Lays parts end to end."""
        rows: list[LabelledRow] = []
        splits = []
        for name, part in parts:
            splits.append(Split(name=name, start=len(rows), end=len(rows) + len(part)))
            rows += part
        return cls(tuple(rows), tuple(splits))


def shipped_data() -> Data:
    """Returns the support intents that come with the project."""
    rows = load_rows(SHIPPED)
    return Data.of([(name, [row for row in rows if row.split == name]) for name in SPLITS])


def make_app(data: Data, *, task: str = "intents") -> TaskApp:
    """Returns the app: the user's program, which knows nothing of Burnish but its base URL."""
    listed = "\n".join(f"{n}. {label}" for n, label in enumerate(data.labels, start=1))
    app = TaskApp(
        id=task,
        description="Names the intent of a customer's message.",
        rows=data.rows,
        splits=data.splits,
        example=lambda row: Example(inputs={"input": row.text}, output=row.label),
    )

    @app.rollout
    async def classify(task: Rollout) -> Result:
        reply = await task.chat(
            [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": f"Message: {task.row.text}\n\nIntents:\n{listed}"},
            ]
        )
        answer = reply.text.strip()
        return Result(
            reward=float(answer == task.row.label),
            output={"answer": answer},
            reference={"answer": task.row.label},
        )

    return app


def main() -> None:
    """Serves the app."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, help="labelled rows to learn from")
    parser.add_argument("--test", type=Path, help="labelled rows to be judged on")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--port", type=int, default=8101)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    data = shipped_data()
    if options.train is not None:
        columns = Columns(text=options.text_column, label=options.label_column)
        parts = [("train", load_rows(options.train, columns=columns))]
        if options.test is not None:
            parts.append(("test", load_rows(options.test, columns=columns)))
        data = Data.of(parts)
    serve(make_app(data), port=options.port, ready_file=options.ready_file)


if __name__ == "__main__":
    main()

"""A task app for any labelled file: one model call that names the intent of a message.

    python -m examples.intents.app --train train.csv --test test.csv \
        --text-column text --label-column category

Seeds are rows: those of `--train` first, then `--validation`, then `--test`; `/task_info` tells
where each split is. Files are .csv, .tsv, .jsonl or .ndjson. Without any, the app serves the
support messages that come with the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.datasets import Columns, LabelledRow, load_rows, shuffled
from burnish.errors import BurnishError
from burnish.task_app import Example, Result, Rollout, Split, TaskApp, serve

SHIPPED = Path(__file__).parent / "data" / "support.jsonl"
SPLITS = ("train", "validation", "test")
LABEL_PLACES = ("user", "system")
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
    """Returns the support messages that come with the project."""
    rows = load_rows(SHIPPED)
    return Data.of([(name, [row for row in rows if row.split == name]) for name in SPLITS])


def make_app(data: Data, *, task: str = "intents", labels_in: str = LABEL_PLACES[0]) -> TaskApp:
    """Returns the app: the user's program, which knows nothing of Burnish but its base URL.

    Args:
        data: The rows.
        task: Id of the task.
        labels_in: Message that lists the labels, `user` or `system`.
    """
    listed = "Intents:\n" + "\n".join(f"{n}. {name}" for n, name in enumerate(data.labels, 1))
    in_system, in_user = ("", f"\n\n{listed}") if labels_in == "user" else (f"\n\n{listed}", "")
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
                {"role": "system", "content": INSTRUCTION + in_system},
                {"role": "user", "content": f"Message: {task.row.text}{in_user}"},
            ]
        )
        return Result(
            reward=float(reply.text == task.row.label),
            output={"answer": reply.text},
            reference={"answer": task.row.label},
        )

    return app


def read_data(options: argparse.Namespace) -> Data:
    """Returns the data that the command line asks for."""
    columns = Columns(text=options.text_column, label=options.label_column)
    files = {"train": options.train, "validation": options.validation, "test": options.test}
    given = {name: path for name, path in files.items() if path is not None}
    if not given:
        return shipped_data()
    # Files are often sorted by label, and a range of seeds should not be one label.
    return Data.of(
        [(name, shuffled(load_rows(path, columns=columns), seed=0)) for name, path in given.items()]
    )


def main() -> None:
    """Serves the app."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=Path, help="labelled rows to learn from")
    parser.add_argument("--validation", type=Path, help="labelled rows to compare candidates on")
    parser.add_argument("--test", type=Path, help="labelled rows to be judged on")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--labels-in", choices=LABEL_PLACES, default=LABEL_PLACES[0])
    parser.add_argument("--port", type=int, default=8101, help="0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help="told the address once it listens")
    options = parser.parse_args()
    try:
        data = read_data(options)
    except BurnishError as error:
        parser.exit(1, f"error: {error.message}\n")
    app = make_app(data, labels_in=options.labels_in)
    serve(app, port=options.port, ready_file=options.ready_file)


if __name__ == "__main__":
    main()

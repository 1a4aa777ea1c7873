"""Serves the LangChain program as a task app: each rollout gives it another address of the model.

python -m examples.langchain_program.app --port 8105
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import argparse
from pathlib import Path

from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from burnish.datasets import LabelledRow
from burnish.task_app import Example, Result, Rollout, TaskApp, serve
from examples.intents.app import shipped_data
from examples.langchain_program.program import chain

DATA = shipped_data()
INTENTS = "\n".join(f"- {label}" for label in DATA.labels)
# Each rollout has another address, and LangChain makes connections of its own for each it is given.
SHARED = {"http_client": DefaultHttpxClient(), "http_async_client": DefaultAsyncHttpxClient()}


def example(row: LabelledRow) -> Example:
    """Returns a labelled row."""
    return Example(inputs={"input": row.text}, output=row.label)


app = TaskApp(id="langchain-intents", rows=DATA.rows, splits=DATA.splits, example=example)


@app.rollout
async def rollout(task: Rollout) -> Result:
    """Runs the program on one row."""
    model = ChatOpenAI(model=task.model, base_url=task.inference_url, api_key="unused", **SHARED)
    answer = await chain(model).ainvoke({"message": task.row.text, "intents": INTENTS})
    return Result(reward=float(answer.strip() == task.row.label), output={"answer": answer})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8105)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    serve(app, port=options.port, ready_file=options.ready_file)

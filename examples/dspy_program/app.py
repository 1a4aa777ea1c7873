"""Serves the DSPy program as a task app: each rollout gives it another address of the model.

python -m examples.dspy_program.app --port 8104
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import argparse
import json
from pathlib import Path

import dspy

from burnish.datasets import LabelledRow
from burnish.task_app import Example, Result, Rollout, RolloutFailed, TaskApp, serve
from examples.dspy_program.program import classify
from examples.intents.app import shipped_data

DATA = shipped_data()
AGAIN = (dspy.LMRateLimitError, dspy.LMServerError, dspy.LMTimeoutError, dspy.LMTransportError)


def example(row: LabelledRow) -> Example:
    """Returns a labelled row, and the reply that a right answer is: demos have DSPy's form."""
    reply = {"role": "assistant", "content": json.dumps({"intent": row.label})}
    return Example(inputs={"input": row.text}, output=row.label, answer_messages=[reply])


app = TaskApp(id="dspy-intents", rows=DATA.rows, splits=DATA.splits, example=example)


@app.rollout
async def rollout(task: Rollout) -> Result:
    """Runs the program on one row."""
    # DSPy keeps answers by what the program sends, which is the same whatever the candidate is.
    lm = dspy.LM(f"openai/{task.model}", api_base=task.inference_url, api_key="unused", cache=False)
    try:
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
            answer = (await classify.acall(message=task.row.text)).intent
    except dspy.LMError as failed:
        # Not measured, which is something else than a wrong answer.
        again = isinstance(failed, AGAIN)
        raise RolloutFailed("the model call failed", retryable=again) from failed
    except dspy.AdapterParseError:
        answer = None
    return Result(reward=float(answer == task.row.label), output={"answer": answer})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8104)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    serve(app, port=options.port, ready_file=options.ready_file)

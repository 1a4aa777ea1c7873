"""A task app that says when each part of a rollout began and ended, for orchestration.py.

Times are those of `time.time`, so they can be laid beside the controller's on the same machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from burnish.task_app import Result, Rollout, TaskApp, serve

LABELS = ("billing", "outage", "router", "moving", "cancelling")
TOPICS = (
    "my bill is wrong",
    "no service at home",
    "the router blinks",
    "I move house",
    "cancel it",
)
SEEDS = 20_000


def make_app() -> TaskApp:
    """Returns the app: one model call that names one of five topics."""
    app = TaskApp(id="timed", description="Names one of five topics.", seed_count=SEEDS)
    listed = ", ".join(LABELS)

    @app.rollout
    async def classify(task: Rollout) -> Result:
        began = time.time()
        text = f"{TOPICS[task.seed % len(TOPICS)]}, case {task.seed}"
        messages = [
            {"role": "system", "content": f"Reply with only one of: {listed}."},
            {"role": "user", "content": text},
        ]
        called = time.time()
        reply = await task.chat(messages)
        answered = time.time()
        right = reply.text.strip() == LABELS[task.seed % len(LABELS)]
        output = {"began": began, "called": called, "answered": answered, "ended": time.time()}
        return Result(reward=float(right), output=output)

    return app


def main() -> None:
    """Serves the app."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    serve(make_app(), port=options.port, ready_file=options.ready_file)


if __name__ == "__main__":
    main()

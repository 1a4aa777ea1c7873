"""A task app with two model calls a row: route to a group, then name the intent within the group.

    python -m examples.two_stage.app --port 8103

The second call sees only the intents of the group that the first one named, so a wrong route cannot
be made good, and both prompts have to get better. The app tells what each call should have
answered under the name of its stage; a proposer can then learn from the right and the wrong answers
of each stage by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from burnish.task_app import Result, Rollout, TaskApp, serve
from examples.intents.app import Data, shipped_data

GROUPS = {
    "billing": ("charged_twice", "price_rise", "refund_missing"),
    "connection": ("conn_drops", "no_service", "svc_slow"),
    "device": ("device_return", "router_setup", "sim_inactive"),
    "contract": ("cancel_contract", "move_house", "pause_contract"),
    "service": ("complaint_followup", "other", "plan_change"),
}
ABOUT = {
    "billing": "charges, prices and refunds",
    "connection": "the line is slow, unstable or dead",
    "device": "routers, SIM cards and returns",
    "contract": "moving, pausing and leaving",
    "service": "everything else",
}
GROUP_OF = {intent: group for group, intents in GROUPS.items() for intent in intents}
STAGES = ("route", "intent")
ROUTE = (
    "You route customer messages to the team that can help. Reply with only the name of the group."
)
INTENT = (
    "You name what a customer wants. Choose the one intent that fits the message best."
    " Reply with only the name of the intent."
)


def listed_groups() -> str:
    """Returns the groups as the first call lists them."""
    return "\n".join(f"- {group}: {about}" for group, about in ABOUT.items())


def make_app(data: Data) -> TaskApp:
    """Returns the app."""
    app = TaskApp(
        id="two-stage-intents",
        description="Routes a customer's message to a group, then names the intent.",
        rows=data.rows,
        splits=data.splits,
        stage_ids=STAGES,
    )

    @app.rollout
    async def classify(task: Rollout) -> Result:
        message = f"Message: {task.row.text}"
        route = await task.chat(
            [
                {"role": "system", "content": ROUTE},
                {"role": "user", "content": f"{message}\n\nGroups:\n{listed_groups()}"},
            ]
        )
        intents = "\n".join(f"- {one}" for one in GROUPS.get(route.text, GROUP_OF))
        intent = await task.chat(
            [
                {"role": "system", "content": INTENT},
                {"role": "user", "content": f"{message}\n\nIntents:\n{intents}"},
            ]
        )
        return Result(
            reward=float(intent.text == task.row.label),
            output={"route": route.text, "intent": intent.text},
            reference={"route": GROUP_OF[task.row.label], "intent": task.row.label},
        )

    return app


def main() -> None:
    """Serves the app."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8103)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    serve(make_app(shipped_data()), port=options.port, ready_file=options.ready_file)


if __name__ == "__main__":
    main()

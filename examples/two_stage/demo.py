"""Shows two prompts of one program getting better together: instructions and demos of both stages.

python -m examples.two_stage.demo [--json] [--seed N] [--state-dir DIR]
"""

from __future__ import annotations

from collections.abc import Mapping

from examples.harness import Plan
from examples.show import Show, run
from examples.two_stage.app import INTENT, ROUTE, STAGES, listed_groups


def stages() -> tuple[Mapping[str, object], ...]:
    """Returns the call sites as a job file declares them, each with the messages that it sends."""
    sent = (
        (ROUTE, f"Message: {{input}}\n\nGroups:\n{listed_groups()}"),
        (INTENT, "Message: {input}\n\nIntents:\n{intents}"),
    )
    return tuple(
        {
            "id": stage,
            "messages": [
                {"role": "system", "pattern": system},
                {"role": "user", "pattern": user},
            ],
        }
        for stage, (system, user) in zip(STAGES, sent, strict=True)
    )


SHOW = Show(
    module="examples.two_stage.app",
    about="Shows two prompts of one program getting better together.",
    folder="two-stage",
    plan=Plan(),
    stages=stages(),
)

if __name__ == "__main__":
    raise SystemExit(run(SHOW))

"""Shows an unmodified app's prompt getting better, on one machine, without a key.

    python -m examples.intents.demo [--json] [--seed N] [--state-dir DIR]

Starts the whole suite and the intents app as processes, runs one MIPRO job on the support messages
that come with the project, and prints what it found.
"""

from __future__ import annotations

from examples.harness import Plan
from examples.show import Show, run

SHOW = Show(
    module="examples.intents.app",
    about="Shows an unmodified app's prompt getting better.",
    folder="demo",
    plan=Plan(),
)

if __name__ == "__main__":
    raise SystemExit(run(SHOW))

"""Shows the prompt of an unmodified LangChain program getting better.

python -m examples.langchain_program.demo [--python PYTHON] [--json] [--seed N]
"""

from __future__ import annotations

from examples.harness import ROOT, Plan
from examples.show import Show, run

SHOW = Show(
    module="examples.langchain_program.app",
    about="Shows the prompt of an unmodified LangChain program getting better.",
    folder="langchain-program",
    plan=Plan(bootstrap=40, online=40, validation=30, test=200, rollouts=200),
    python=str(ROOT / ".venv-clients" / "bin" / "python"),
)

if __name__ == "__main__":
    raise SystemExit(run(SHOW))

"""The DSPy and LangChain examples: a prompt is learnt, swapped on the wire, and gets better."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
# What each framework says around the instruction, which the candidate has to keep.
OWN = {
    "dspy_program": ("[[ ## message ## ]]", "Outputs will be a JSON object"),
    "langchain_program": ("Reply with only the name of the intent.",),
}

pytestmark = pytest.mark.slow


def prompts(state: Path) -> tuple[set[str], set[str]]:
    """The system messages that the program sent in a job, and those that the model got."""
    with closing(sqlite3.connect(state / "controller" / "controller.db")) as database:
        rows = database.execute("SELECT trace FROM calls WHERE role = 'task'").fetchall()
    traces = [ledger_v1.CallTrace.FromString(trace) for (trace,) in rows]
    return (
        {json.loads(trace.app_request)["messages"][0]["content"] for trace in traces},
        {json.loads(trace.provider_request)["messages"][0]["content"] for trace in traces},
    )


@pytest.mark.parametrize("example", OWN)
def test_the_prompt_of_an_unmodified_program_gets_better(example, tmp_path):
    if not PYTHON.exists():
        assert not os.environ.get("BURNISH_REQUIRE_TOOLS"), "run scripts/client_env.sh"
        pytest.skip("the clients' environment is not made: scripts/client_env.sh")
    options = ("--json", "--python", str(PYTHON), "--state-dir", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{example}.demo", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["difference"]["mean"] >= 0.08
    # Nothing was declared: the stage was learnt from what the framework sent.
    (stage,) = found["prompt"]["stages"]
    instruction = stage["instruction"]["content"]
    assert "You classify customer messages." in instruction
    assert all(text in instruction for text in OWN[example])
    sent, got = prompts(tmp_path)
    assert len(sent) == 1
    assert len(got) > 3
    assert instruction in got
    assert sent < got
    # One call a row: every answer was in the form that the framework reads.
    rollouts = sum(found["rollouts_by_phase"].values())
    assert found["usage_by_role"]["task"]["call_count"] == rollouts

"""`burnish gate` over a running suite: it records, passes what is the same, stops what is worse."""

import asyncio
import json
import os
import sys

JOB = """
[job]
task_app = "{url}"
model = {{ provider = "local", model = "local-reader" }}

[job.pools]
bootstrap = {{ start = 0, end = 10 }}
online = {{ start = 10, end = 40 }}
validation = {{ start = 40, end = 60 }}
test = {{ start = 300, end = 330 }}
"""


async def gate(suite, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish.cli", "gate", *arguments, "--json",
        env={**os.environ, "BURNISH_TARGET": suite.target, "BURNISH_AUTH_TOKEN": suite.token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, json.loads(out) if out else None, err.decode()


async def test_a_gate_records_a_baseline_passes_it_and_stops_what_does_worse(
    suite, intents_app, tmp_path
):
    config, kept = tmp_path / "job.toml", tmp_path / "kept"
    config.write_text(JOB.format(url=intents_app.url))
    common = (str(config), "--baseline", "production", "--baselines", str(kept))

    code, _, said = await gate(suite, *common)
    assert code == 2
    assert "--record" in said

    summary = tmp_path / "gate.md"
    code, recorded, said = await gate(suite, *common, "--record", "--summary", str(summary))
    assert code == 0, said
    assert (recorded["outcome"], recorded["rows"]) == ("recorded", 30)
    assert "recorded `production`" in summary.read_text()
    baseline = json.loads((kept / "production.json").read_text())
    assert list(baseline["rewards"]) == [str(seed) for seed in range(300, 330)]
    assert baseline["models"] == "local/local-reader"
    assert baseline["prompt"]

    code, same, said = await gate(suite, *common)
    assert code == 0, said
    assert (same["outcome"], same["lost"], same["diff"]) == ("no regression", [], "")

    # Somebody once had every row right.
    baseline["rewards"] = dict.fromkeys(baseline["rewards"], 1.0)
    baseline["prompt"] = "A better one."
    (kept / "production.json").write_text(json.dumps(baseline))
    code, worse, said = await gate(suite, *common, "--record", "--summary", str(summary))
    assert code == 3, said
    assert worse["outcome"] == "regression"
    assert len(worse["lost"]) >= 10
    assert "-A better one." in worse["diff"]
    assert "regression" in summary.read_text()
    # What did not pass is not recorded.
    assert json.loads((kept / "production.json").read_text()) == baseline

"""`burnish eval` measures prompts; a later job takes demos from its rollouts."""

import asyncio
import json
import os
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

JOB = """
[prompt_learning]
algorithm = "mipro"
task_app_url = "{url}"

[prompt_learning.policy]
provider = "local"
model = "local-reader"

[prompt_learning.mipro]
num_iterations = 2
num_evaluations_per_iteration = 2
batch_size = 5
bootstrap_train_seeds = {{start = 0, end = 5}}
online_pool = {{start = 60, end = 90}}
val_seeds = {{start = 300, end = 320}}
test_pool = {{start = 420, end = 440}}
"""
PROMPT = "Reply with only the intent.\n- router_setup: router, modem, cable\n- move_house: moving\n"


async def burnish(suite, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish.cli", *arguments, "--json",
        "--backend", suite.target, "--token", suite.token,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out)


async def test_an_evaluation_measures_two_prompts_and_feeds_a_later_bootstrap(
    suite, intents_app, tmp_path
):
    config, prompt = tmp_path / "job.toml", tmp_path / "prompt.txt"
    config.write_text(JOB.format(url=intents_app.url))
    prompt.write_text(PROMPT)
    traces = tmp_path / "traces.jsonl"
    measured = await burnish(
        suite, "eval", str(config), "--seeds", "0-39", "--prompt", str(prompt),
        "--traces", str(traces),
    )  # fmt: skip
    assert measured["reward"]["row_count"] == measured["prompt_reward"]["row_count"] == 40
    calls = [json.loads(line) for line in traces.read_text().splitlines()]
    assert len(calls) == 80
    assert len({call["candidate_id"] for call in calls}) == 2

    async def passed(*more):
        done = await burnish(
            suite, "train", str(config), "--results-dir", str(tmp_path / "results"), *more
        )
        seeds = [
            demo["seed"]
            for component in done["result"]["components"]
            for demo in component.get("demo_set", {}).get("demos", [])
            if demo["source"] == "bootstrapped"
        ]
        return set(seeds), done["result"]["rollouts_by_phase"]["bootstrap"]

    own, paid = await passed()
    fed, paid_again = await passed("--bootstrap-from", measured["job_id"])
    assert own <= set(range(5))
    assert fed - set(range(5))
    assert fed <= set(range(40))
    assert paid_again == paid

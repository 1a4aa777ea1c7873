"""A client in another language, made from `protos/` alone, runs a job on the real suite."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from burnish.suite import Suite
from examples.harness import app_process
from tests.node import packages

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "examples" / "node-client"
FILES = ("package.json", "package-lock.json", "jobs.mjs", "client.mjs")
JOB_SECONDS = 180.0

pytestmark = [pytest.mark.node, pytest.mark.slow]


@pytest.fixture(scope="session")
def client_folder() -> Path:
    """The client, copied elsewhere: it has to find everything by itself wherever it is."""
    return packages(CLIENT, name="client", files=FILES)


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    async with Suite(tmp_path / "state") as running:
        yield running


@dataclass
class NodeClient:
    """The client as a process that prints one JSON object a line."""

    folder: Path
    suite: Suite

    async def start(self, *arguments: str, token: str | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "node", "client.mjs", "--json", "--protos", str(ROOT / "protos"), *arguments,
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "BURNISH_TARGET": self.suite.target,
                "BURNISH_AUTH_TOKEN": self.suite.token if token is None else token,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )  # fmt: skip


@pytest.fixture
def node_client(client_folder: Path, suite: Suite) -> NodeClient:
    return NodeClient(client_folder, suite)


async def finish(process: asyncio.subprocess.Process) -> tuple[list[dict[str, Any]], str]:
    """Returns what the client printed; it is killed when it does not end."""
    try:
        out, err = await asyncio.wait_for(process.communicate(), JOB_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [json.loads(line) for line in out.splitlines()], err.decode()


def check_whole(lines: list[dict[str, Any]]) -> None:
    """Checks a job's lines: its name, every event once and in order, and what it found."""
    events = [line["event"] for line in lines if "event" in line]
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["state_changed"]["to_state"] == "JOB_STATE_SUCCEEDED"
    job, result = lines[-1]["job"], lines[-1]["result"]
    assert lines[0]["name"] == job["name"]
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert int(job["last_sequence"]) == len(events)
    tested = result["baseline"]["test_scores"], result["best"]["test_scores"]
    assert [row["seed"] for row in tested[0]] == [row["seed"] for row in tested[1]]
    assert len(tested[0]) == 60
    assert result["verdict"]


async def test_a_node_client_submits_a_job_and_watches_it_to_its_end(node_client, tmp_path):
    async with app_process("examples.intents.app", folder=tmp_path) as url:
        process = await node_client.start("--app", url)
        lines, errors = await finish(process)
    assert process.returncode == 0, errors
    check_whole(lines)


async def test_a_node_client_goes_on_where_it_was_when_the_controller_is_killed(
    node_client, tmp_path
):
    async with app_process("examples.intents.app", folder=tmp_path) as url:
        process = await node_client.start("--app", url)
        assert process.stdout is not None
        # The job's name, then a few events: it is under way, and far from done.
        first = [json.loads(await process.stdout.readline()) for _ in range(6)]
        node_client.suite.processes["controller"].kill()
        lines, errors = await finish(process)
    assert process.returncode == 0, errors
    assert node_client.suite.processes["controller"].restarts == 1
    check_whole([*first, *lines])


async def test_a_node_client_is_told_what_is_wrong(node_client, tmp_path):
    async with app_process("examples.intents.app", folder=tmp_path) as url:
        refused = await node_client.start("--app", url, token="wrong")
        lines, errors = await finish(refused)
        assert (refused.returncode, lines) == (1, [])
        assert "authorization: Bearer" in errors
        away = await node_client.start("--app", "http://127.0.0.1:1")
        lines, errors = await finish(away)
        assert (away.returncode, lines) == (1, [])
        assert errors.startswith("error: ")
